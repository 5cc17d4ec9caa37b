//! Ten thousand runs at once at one coordinator, with the journal in memory and in a file, against as many tasks of bare tokio.
//!
//! All runs are submitted while no handler answers, so that each of them is open and known to the coordinator; then
//! all handlers answer, and the runs end. `cargo bench -p coditect-core --bench runs` prints how long each half takes, what
//! an open run costs in memory, and for how long no run ended that could: the longest pause between two ends.
#![allow(missing_docs, reason = "a program, not a library")]
#![allow(
    clippy::unwrap_used,
    reason = "a program that ends when something is wrong"
)]

use std::sync::Arc;
use std::time::Duration;

use coditect_core::dag::journal::RunState;
use coditect_core::prelude::*;
use coditect_core::{RunFilter, RuntimeBuilder};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

const RUNS: usize = 10_000;
/// Tasks of a run, one after the other.
const STEPS: usize = 3;
/// How many tasks are worked on at once.
const SLOTS: usize = 256;
/// How many submit at once.
const CLIENTS: usize = 64;

const STEP: Call<u64, u64> = Call::new("step");

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    println!("{RUNS} runs of {STEPS} tasks, all open before the first ends");
    let bare = bare().await;
    println!("bare tokio: ended in {bare:.2?}");
    measure("memory", Runtime::builder(), bare).await;
    #[cfg(feature = "embedded")]
    {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("file:{}", folder.path().join("runs").display());
        measure("file", Runtime::builder().state(file), bare).await;
    }
}

async fn measure(name: &str, builder: RuntimeBuilder, bare: Duration) {
    let open = watch::Sender::new(false);
    let opened = open.subscribe();
    let step = agent("step", move |x: u64| {
        let mut opened = opened.clone();
        async move {
            opened.wait_for(|open| *open).await?;
            Ok::<_, AgentError>(x + 1)
        }
    });
    let builder = builder.agent(step.with_concurrency(SLOTS));
    // They are looked at when all have ended.
    let builder = builder.retention(2 * RUNS as u64, Duration::from_secs(3_600));
    let runtime = builder.start().await.unwrap();
    let before = resident_kib();
    let begun = Instant::now();
    let runs = submit(&runtime).await;
    while count(&runtime, RunState::Running).await < RUNS {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (submitted, memory) = (begun.elapsed(), resident_kib().saturating_sub(before));
    let (ended, mut ends) = mpsc::channel(RUNS);
    let mut waiting = JoinSet::new();
    for run in runs {
        let ended = ended.clone();
        waiting.spawn(async move {
            assert_eq!(run.result().await.unwrap(), STEPS as u64);
            // The receiver outlives all.
            let _ = ended.send(Instant::now()).await;
        });
    }
    drop(ended);
    // All wait before the first can end.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    open.send_replace(true);
    let (mut last, mut pause) = (begun, Duration::ZERO);
    while let Some(at) = ends.recv().await {
        pause = pause.max(at.saturating_duration_since(last));
        last = last.max(at);
    }
    let took = begun.elapsed();
    waiting.join_all().await;
    println!(
        "{name}: taken up in {submitted:.2?} ({:.0} runs/s), {:.1} KiB for each open run; ended in {took:.2?} ({:.0} tasks/s), \
         longest pause {pause:.2?}; ratio to bare tokio {:.2}",
        RUNS as f64 / submitted.as_secs_f64(),
        memory as f64 / RUNS as f64,
        (RUNS * STEPS) as f64 / took.as_secs_f64(),
        bare.as_secs_f64() / took.as_secs_f64(),
    );
    runtime.shutdown().await.unwrap();
}

fn plan() -> Plan<u64> {
    let mut plan = Plan::<()>::builder();
    let mut last = plan.task("0", &STEP, 0);
    for number in 1..STEPS {
        last = plan.task(number.to_string(), &STEP, last);
    }
    plan.output(last).unwrap()
}

async fn submit(runtime: &Runtime) -> Vec<RunHandle<u64>> {
    let mut submitting = JoinSet::new();
    for _ in 0..CLIENTS {
        let runtime = runtime.clone();
        submitting.spawn(async move {
            let mut runs = Vec::new();
            for _ in 0..RUNS / CLIENTS {
                runs.push(runtime.submit_plan(plan()).await.unwrap());
            }
            runs
        });
    }
    let mut runs: Vec<_> = submitting.join_all().await.into_iter().flatten().collect();
    while runs.len() < RUNS {
        runs.push(runtime.submit_plan(plan()).await.unwrap());
    }
    runs
}

async fn count(runtime: &Runtime, state: RunState) -> usize {
    let filter = RunFilter {
        state: Some(state),
        ..RunFilter::default()
    };
    runtime.runs(filter).await.unwrap().len()
}

/// The least that does the same: a task for each run, slots, and a channel for each step to who does it.
async fn bare() -> Duration {
    let slots = Arc::new(Semaphore::new(0));
    let mut runs = JoinSet::new();
    for _ in 0..RUNS {
        let slots = Arc::clone(&slots);
        runs.spawn(async move {
            let mut x = 0_u64;
            for _ in 0..STEPS {
                let slot = Arc::clone(&slots).acquire_owned().await.unwrap();
                x = tokio::spawn(async move {
                    let _slot = slot;
                    x + 1
                })
                .await
                .unwrap();
            }
            assert_eq!(x, STEPS as u64);
        });
    }
    tokio::task::yield_now().await;
    let begun = Instant::now();
    slots.add_permits(SLOTS);
    runs.join_all().await;
    begun.elapsed()
}

/// The resident memory of this process, as Linux tells it.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}
