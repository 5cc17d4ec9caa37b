//! What a limit of the deployment costs, and how much of it is used.
//!
//! Prints the tasks a second of the same runs without a limit, with one that nothing reaches, and the ratio of the two; then the time
//! in which tasks of some milliseconds pass a limit that all wait for, over one process and over three that share a store, beside
//! tokio's semaphore with as many permits. `cargo bench -p coditect-core --bench limits`.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::bus::{MemoryBus, MessageBus};
use coditect_core::dag::journal::{MemoryConfig, MemoryJournal, PartitionCount, RunJournal};
use coditect_core::prelude::*;
use coditect_core::registry::{MemoryRegistry, Registry};
use coditect_core::state::{MemoryStore, StateStore};
use coditect_core::{Dispatch, Limit, RuntimeBuilder};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

type Failed = Box<dyn std::error::Error + Send + Sync>;

const ROUNDS: usize = 5;
/// As many as where runs are kept elsewhere; each has a share of the limit.
const PARTITIONS: u16 = 8;
const RUNS: usize = 16;
const NOOPS: usize = 5_000;
const NAPS: usize = 250;
/// How long a task naps that all wait for.
const NAP: Duration = Duration::from_millis(5);

const NOOP: Call<(), ()> = Call::new("noop");
const NAPPING: Call<(), ()> = Call::new("nap");

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failed> {
    unreached().await?;
    for limit in [4, 16, 64] {
        for processes in [1, 3] {
            reached(limit, processes).await?;
        }
    }
    Ok(())
}

fn agents(builder: RuntimeBuilder) -> RuntimeBuilder {
    let nap = async |(): ()| {
        sleep(NAP).await;
        Ok::<_, AgentError>(())
    };
    builder
        .agent(agent("noop", async |(): ()| Ok::<_, AgentError>(())))
        .agent(agent("nap", nap).with_concurrency(1_000))
}

async fn unreached() -> Result<(), Failed> {
    let free = agents(Runtime::builder()).start().await?;
    let limits = [
        Limit::capability("noop", 1_000_000),
        Limit::each_tenant(1_000_000),
    ];
    let limited = limits
        .into_iter()
        .fold(agents(Runtime::builder()), RuntimeBuilder::limit);
    let limited = limited.start().await?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(time(std::slice::from_ref(&free), &NOOP, NOOPS).await?);
        with.push(time(std::slice::from_ref(&limited), &NOOP, NOOPS).await?);
    }
    let (without, with) = (median(without), median(with));
    let tasks = (RUNS * NOOPS) as f64;
    println!(
        "{RUNS} runs of {NOOPS} no-op tasks: {:.0} tasks/s without a limit, {:.0} under two that are not reached; ratio {:.2}",
        tasks / without.as_secs_f64(),
        tasks / with.as_secs_f64(),
        without.as_secs_f64() / with.as_secs_f64(),
    );
    free.shutdown().await?;
    limited.shutdown().await?;
    Ok(())
}

async fn reached(limit: u32, processes: usize) -> Result<(), Failed> {
    let bus: Arc<dyn MessageBus> = Arc::new(MemoryBus::new());
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
    let partitions = PartitionCount::new(PARTITIONS).ok_or("no partitions")?;
    let config = MemoryConfig::default().with_partitions(partitions);
    let journal: Arc<dyn RunJournal> = Arc::new(MemoryJournal::new(config));
    let mut runtimes = Vec::new();
    for _ in 0..processes {
        let builder = Runtime::builder()
            .bus(Arc::clone(&bus))
            .registry(Arc::clone(&registry))
            .state((Arc::clone(&journal), Arc::clone(&store)))
            .dispatch(Dispatch::LocalFirst)
            .limit(Limit::capability("nap", limit));
        runtimes.push(agents(builder).start().await?);
    }
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(time(&runtimes, &NAPPING, NAPS).await?);
        bare.push(by_hand(limit).await?);
    }
    let (ours, bare) = (median(ours), median(bare));
    println!(
        "limit {limit:>2}, {processes} process(es), {} tasks of {NAP:?}: {:.2} s; tokio's semaphore {:.2} s; ratio {:.2}",
        RUNS * NAPS,
        ours.as_secs_f64(),
        bare.as_secs_f64(),
        bare.as_secs_f64() / ours.as_secs_f64(),
    );
    for runtime in runtimes {
        runtime.shutdown().await?;
    }
    Ok(())
}

/// How long it takes until so many tasks of each run have ended.
async fn time(runtimes: &[Runtime], call: &Call<(), ()>, tasks: usize) -> Result<Duration, Failed> {
    let begun = Instant::now();
    let mut runs = Vec::new();
    for number in 0..RUNS {
        let mut plan = Plan::builder();
        for task in 0..tasks {
            plan.task(format!("{task}"), call, ());
        }
        let runtime = &runtimes[number % runtimes.len()];
        runs.push(runtime.submit_plan(plan.output(())?).await?);
    }
    for run in runs {
        run.settled().await?;
    }
    Ok(begun.elapsed())
}

async fn by_hand(limit: u32) -> Result<Duration, Failed> {
    let begun = Instant::now();
    let permits = Arc::new(Semaphore::new(limit as usize));
    let mut tasks = JoinSet::new();
    for _ in 0..RUNS * NAPS {
        let permits = Arc::clone(&permits);
        tasks.spawn(async move {
            let _permit = permits.acquire().await;
            sleep(NAP).await;
        });
    }
    while let Some(done) = tasks.join_next().await {
        done?;
    }
    Ok(begun.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
