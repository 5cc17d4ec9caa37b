//! The embedded runtime against what a hand-written tokio program needs for the same work.
//!
//! Prints for each measurement the median of several rounds, in which ours and the bare version take
//! turns, and the ratio of the two medians. `cargo bench -p coditect-core --bench runtime`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coditect_core::prelude::*;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

type Failed = Box<dyn std::error::Error + Send + Sync>;

const ROUNDS: usize = 7;
/// The graph: layers of tasks, each of which waits for three of the layer above.
const LAYERS: usize = 100;
const WIDTH: usize = 1000;
const REQUESTS: usize = 20_000;
const AGENTS: u32 = 10_000;

const NOOP: Call<(), ()> = Call::new("noop");
const ECHO: Call<u64, u64> = Call::new("echo");

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failed> {
    // First, while the process has no memory that was used and given back.
    idle_agents().await?;
    let runtime = Runtime::builder()
        .agent(agent("noop", async |(): ()| Ok::<_, AgentError>(())))
        .agent(agent("echo", async |x: u64| Ok::<_, AgentError>(x)))
        .start()
        .await?;
    graph(&runtime).await?;
    // A spawned task, as in a server: the main future of a multi-threaded runtime has a thread of its
    // own, and to wake that costs more than a whole request.
    let asker = runtime.clone();
    tokio::spawn(async move { request_reply(&asker).await }).await??;
    runtime.shutdown().await?;
    Ok(())
}

/// What an agent costs that has nothing to do, from the memory of the whole process.
async fn idle_agents() -> Result<(), Failed> {
    let before = resident_kib()?;
    let mut builder = Runtime::builder();
    for number in 0..AGENTS {
        let noop = agent(format!("idle-{number}"), async |(): ()| {
            Ok::<_, AgentError>(())
        });
        builder = builder.agent(noop);
    }
    let begun = Instant::now();
    let runtime = builder.start().await?;
    let started = begun.elapsed();
    let after = resident_kib()?;
    println!(
        "{AGENTS} idle agents: {:.1} KiB each, started in {:.2} s",
        after.saturating_sub(before) as f64 / f64::from(AGENTS),
        started.as_secs_f64(),
    );
    runtime.shutdown().await?;
    Ok(())
}

/// The resident memory of this process, where Linux tells it.
fn resident_kib() -> Result<u64, Failed> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(number.ok_or("no VmRSS in /proc/self/status")?.parse()?)
}

async fn graph(runtime: &Runtime) -> Result<(), Failed> {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        runtime
            .submit_plan(layered_plan()?)
            .await?
            .settled()
            .await?;
        ours.push(begun.elapsed());
        let begun = Instant::now();
        bare_graph().await;
        bare.push(begun.elapsed());
    }
    let tasks = (LAYERS * WIDTH) as f64;
    let (ours, bare) = (median(ours), median(bare));
    println!(
        "graph of {tasks} no-op tasks, 3 upstreams each: {:.0} tasks/s; bare tokio graph {:.0} tasks/s; \
         ratio {:.3}",
        tasks / ours.as_secs_f64(),
        tasks / bare.as_secs_f64(),
        bare.as_secs_f64() / ours.as_secs_f64(),
    );
    Ok(())
}

/// Which tasks of the layer above a task waits for.
fn upstreams(index: usize) -> [usize; 3] {
    [index, (index * 7 + 1) % WIDTH, (index * 13 + 5) % WIDTH]
}

fn layered_plan() -> Result<Plan<()>, coditect_core::Error> {
    let mut plan = Plan::builder();
    let mut above: Vec<TaskRef<()>> = Vec::new();
    for layer in 0..LAYERS {
        let tasks: Vec<_> = (0..WIDTH)
            .map(|index| plan.task(format!("{layer}-{index}"), &NOOP, ()))
            .collect();
        if layer > 0 {
            for (index, task) in tasks.iter().enumerate() {
                for upstream in upstreams(index) {
                    plan.after(task, &above[upstream]);
                }
            }
        }
        above = tasks;
    }
    plan.output(())
}

/// The same graph by hand: a counter per task, and a spawned task per task.
async fn bare_graph() {
    let mut downstream: Vec<Vec<usize>> = vec![Vec::new(); LAYERS * WIDTH];
    let mut waits = vec![0; LAYERS * WIDTH];
    for layer in 1..LAYERS {
        for index in 0..WIDTH {
            for upstream in upstreams(index) {
                downstream[(layer - 1) * WIDTH + upstream].push(layer * WIDTH + index);
                waits[layer * WIDTH + index] += 1;
            }
        }
    }
    let waits: Arc<[AtomicUsize]> = waits.into_iter().map(AtomicUsize::new).collect();
    let downstream: Arc<[Vec<usize>]> = downstream.into();
    let (done, mut all) = mpsc::channel(1024);
    for root in 0..WIDTH {
        spawn_bare(
            root,
            Arc::clone(&waits),
            Arc::clone(&downstream),
            done.clone(),
        );
    }
    drop(done);
    while all.recv().await.is_some() {}
}

fn spawn_bare(
    task: usize,
    waits: Arc<[AtomicUsize]>,
    downstream: Arc<[Vec<usize>]>,
    done: mpsc::Sender<usize>,
) {
    tokio::spawn(async move {
        for next in &downstream[task] {
            if waits[*next].fetch_sub(1, Ordering::AcqRel) == 1 {
                spawn_bare(
                    *next,
                    Arc::clone(&waits),
                    Arc::clone(&downstream),
                    done.clone(),
                );
            }
        }
        // The receiver outlives every task.
        let _ = done.send(task).await;
    });
}

async fn request_reply(runtime: &Runtime) -> Result<(), Failed> {
    let (questions, mut asked) = mpsc::channel::<(u64, oneshot::Sender<u64>)>(64);
    let echo = tokio::spawn(async move {
        while let Some((x, answer)) = asked.recv().await {
            // Whoever asked waits.
            let _ = answer.send(x);
        }
    });
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for x in 0..REQUESTS as u64 {
        let begun = Instant::now();
        let answer = runtime.request(&ECHO, x).await?;
        ours.push(begun.elapsed());
        assert_eq!(answer, x);
        let begun = Instant::now();
        let (sender, receiver) = oneshot::channel();
        questions.send((x, sender)).await?;
        let answer = receiver.await?;
        bare.push(begun.elapsed());
        assert_eq!(answer, x);
    }
    drop(questions);
    echo.await?;
    let (p99, bare_p99) = (quantile(&mut ours, 0.99), quantile(&mut bare, 0.99));
    let (ours, bare) = (median(ours), median(bare));
    println!(
        "request-reply through the typed API: p50 {:.2} µs, p99 {:.2} µs; bare tokio channel p50 {:.2} µs, \
         p99 {:.2} µs; ratio of p50 {:.2}",
        micros(ours),
        micros(p99),
        micros(bare),
        micros(bare_p99),
        micros(ours) / micros(bare),
    );
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    quantile(&mut times, 0.5)
}

fn quantile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * share) as usize]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
