//! Twice as much work as there are slots for, over RabbitMQ: what is urgent keeps its latency, the rest waits and is done.

use std::time::Duration;

use coditect_core::bus::QueueName;
use coditect_core::prelude::*;
use coditect_core::{Error, Priority};
use coditect_harness::{RabbitMq, required};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

const WORK: Call<u64, u64> = Call::new("work");
/// How long a task takes, and how many are done at once: 200 a second.
const TAKES: Duration = Duration::from_millis(50);
const SLOTS: usize = 10;
/// Urgent tasks a second, and how many others come in one plan, five times a second: 400 a second together.
const URGENT: u64 = 50;
const OTHERS: u64 = 70;
/// How many tasks of a capability are on the bus at once.
const WINDOW: usize = 64;
const LOAD: Duration = Duration::from_secs(10);
/// How long anything may take in the end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Submits urgent tasks for a while; says how long each took.
async fn urgent(runtime: Runtime) -> Vec<Duration> {
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(URGENT).unwrap());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut runs, end) = (JoinSet::new(), Instant::now() + LOAD);
    while Instant::now() < end {
        ticks.tick().await;
        let runtime = runtime.clone();
        runs.spawn(async move {
            let began = Instant::now();
            let run = runtime.submit(&WORK, 1).priority(Priority::P0).await?;
            run.result().await?;
            Ok::<_, Error>(began.elapsed())
        });
    }
    let ended = timeout(PATIENCE, runs.join_all()).await;
    let ended = ended.expect("every task that was accepted ends");
    ended.into_iter().collect::<Result<_, _>>().unwrap()
}

/// Submits plans of tasks that are not urgent for a while; says how many tasks there were and how long each plan took.
async fn others(runtime: Runtime) -> (u64, Vec<Duration>) {
    let mut ticks = interval(Duration::from_millis(200));
    let (mut runs, end) = (JoinSet::new(), Instant::now() + LOAD);
    let mut tasks = 0;
    while Instant::now() < end {
        ticks.tick().await;
        tasks += OTHERS;
        let runtime = runtime.clone();
        runs.spawn(async move {
            let mut plan = Plan::builder();
            let all: Vec<_> = (0..OTHERS)
                .map(|number| plan.task(number.to_string(), &WORK, number))
                .collect();
            let plan: Plan<Vec<u64>> = plan.aggregate(collect_all(), all)?;
            let began = Instant::now();
            let run = runtime.submit_plan(plan).priority(Priority::P2).await?;
            assert_eq!(run.result().await?, (0..OTHERS).collect::<Vec<_>>());
            Ok::<_, Error>(began.elapsed())
        });
    }
    let ended = timeout(PATIENCE, runs.join_all()).await;
    let ended = ended.expect("every task that was accepted ends");
    (tasks, ended.into_iter().collect::<Result<_, _>>().unwrap())
}

fn quantile(mut took: Vec<Duration>, percent: usize) -> Duration {
    took.sort_unstable();
    took[took.len() * percent / 100]
}

/// The memory of this process, in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.unwrap().split_whitespace().nth(1);
    number.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_urgent_keeps_its_latency_and_nothing_that_was_accepted_is_lost()
-> Result<(), Error> {
    let Some(broker) = required(RabbitMq::shared()).await else {
        return Ok(());
    };
    let _alone = crate::ALONE.lock().await;
    let vhost = broker.vhost().await.unwrap();
    let soon = Duration::from_secs(1);
    let runtime = || {
        let builder = Runtime::builder().bus(vhost.url());
        builder
            .drain_limit(soon)
            .grace(soon)
            .dispatch_window(WINDOW)
    };
    let coordinator = runtime().start().await?;
    let handler = async |x: u64| {
        sleep(TAKES).await;
        Ok::<_, AgentError>(x)
    };
    let work = agent("work", handler).with_concurrency(SLOTS);
    let worker = runtime().worker_only().agent(work).start().await?;

    let quiet = quantile(urgent(coordinator.clone()).await, 99);
    let load = tokio::spawn(others(coordinator.clone()));
    // The load is there before it is measured what it does.
    sleep(Duration::from_secs(1)).await;
    let first = memory();
    let urgent = tokio::spawn(urgent(coordinator.clone()));
    let queue: QueueName = "capability.work.v1".parse().unwrap();
    let (mut deepest, end) = (0, Instant::now() + LOAD);
    while Instant::now() < end {
        let stats = coordinator.bus().stats(&queue).await?;
        deepest = deepest.max(stats.ready() + stats.unacked);
        sleep(Duration::from_millis(200)).await;
    }
    let last = memory();
    let loud = quantile(urgent.await.unwrap(), 99);
    let (tasks, others) = load.await.unwrap();
    let slowest = quantile(others, 50);
    let grown = last.saturating_sub(first);

    println!("twice the capacity over RabbitMQ for {LOAD:?}, {tasks} tasks of P2, all done");
    println!("  p99 of P0: {quiet:?} alone, {loud:?} under the load");
    println!("  half of the plans of P2 took more than {slowest:?}");
    println!("  at the broker waited {deepest} messages at most; memory grew by {grown} KiB");
    assert!(loud < quiet + 4 * TAKES, "{quiet:?} became {loud:?}");
    assert!(slowest > Duration::from_secs(1), "{slowest:?}");
    assert!(deepest <= 2 * WINDOW, "{deepest}");
    assert!(grown < 32 * 1024, "{grown} KiB");
    worker.shutdown().await?;
    coordinator.shutdown().await
}
