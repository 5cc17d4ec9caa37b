//! An agent that fails altogether for half a minute, over RabbitMQ, and another beside it that does not.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::resilience::{Backoff, BreakerState};
use coditect_core::{Error, RetryPolicy, RuntimeBuilder};
use coditect_harness::{RabbitMq, required};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

const SICK: Call<u64, u64> = Call::new("sick");
const WELL: Call<u64, u64> = Call::new("well");

/// How many tasks of the agent that fails are submitted each second, and how many of the other.
const RATE: (u64, u64) = (100, 20);
const BEFORE: Duration = Duration::from_secs(10);
const OUTAGE: Duration = Duration::from_secs(30);
const AFTER: Duration = Duration::from_secs(10);
/// What latencies are measured in.
const WINDOW: Duration = Duration::from_secs(5);
/// What a task of the agent that works takes, so that its latency is its own and not that of a crowded machine.
const WORK: Duration = Duration::from_millis(250);
/// How long anything may take in the end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A call of the agent that fails: when, which attempt, and whether it succeeded.
type Seen = Arc<Mutex<Vec<(Instant, u32, bool)>>>;

fn agents(broken: (Instant, Instant), seen: &Seen) -> (impl Agent, impl Agent) {
    let seen = Arc::clone(seen);
    let sick = move |context: TaskContext, x: u64| {
        let now = Instant::now();
        let fails = (broken.0..broken.1).contains(&now);
        seen.lock().push((now, context.attempt(), !fails));
        std::future::ready(match fails {
            true => Err(AgentError::retryable("out of order")),
            false => Ok(x),
        })
    };
    let well = async |x: u64| {
        tokio::time::sleep(WORK).await;
        Ok::<_, AgentError>(x)
    };
    (agent("sick", sick), agent("well", well))
}

fn one(call: &Call<u64, u64>, number: u64) -> Plan<u64> {
    let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(2)).unwrap();
    let retry = RetryPolicy::builder(1_000)
        .backoff(backoff)
        .build()
        .unwrap();
    let mut plan = Plan::builder();
    let task = plan.task("task", call, number);
    plan.configure(&task, |task| task.retry(retry));
    plan.output(task).unwrap()
}

/// Submits so many runs a second until a moment; says for each when it was submitted and how long it took.
async fn load(
    runtime: Runtime,
    call: Call<u64, u64>,
    rate: u64,
    until: Instant,
) -> Vec<(Instant, Duration)> {
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(rate).unwrap());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut runs = JoinSet::new();
    let mut number = 0;
    while Instant::now() < until {
        ticks.tick().await;
        number += 1;
        let (runtime, plan) = (runtime.clone(), one(&call, number));
        runs.spawn(async move {
            let began = Instant::now();
            let run = runtime.submit_plan(plan).await?;
            let answer = run.result().await?;
            assert_eq!(answer, number);
            Ok::<_, Error>((began, began.elapsed()))
        });
    }
    let ended = timeout(PATIENCE, runs.join_all()).await;
    let ended = ended.expect("every task that was accepted ends");
    ended.into_iter().collect::<Result<_, _>>().unwrap()
}

/// The 99th percentile of the latencies of what was submitted in a span of time: that of the median of its windows, as
/// one moment in which the machine did something else is not what is measured.
fn p99(latencies: &[(Instant, Duration)], from: Instant, to: Instant) -> Duration {
    let mut windows = Vec::new();
    let mut begin = from;
    while begin < to {
        let end = begin + WINDOW;
        let within = latencies.iter().filter(|(at, _)| (begin..end).contains(at));
        let mut within: Vec<_> = within.map(|(_, took)| *took).collect();
        within.sort_unstable();
        windows.push(within[within.len() * 99 / 100]);
        begin = end;
    }
    windows.sort_unstable();
    windows[(windows.len() - 1) / 2]
}

fn runtime(url: String) -> RuntimeBuilder {
    let soon = Duration::from_secs(1);
    Runtime::builder().bus(url).drain_limit(soon).grace(soon)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_left_alone_found_out_soon_after_and_felt_by_nobody_else() -> Result<(), Error>
{
    let Some(broker) = required(RabbitMq::shared()).await else {
        return Ok(());
    };
    let _alone = crate::ALONE.lock().await;
    let vhost = broker.vhost().await.unwrap();
    let coordinator = runtime(vhost.url()).start().await?;
    // What is declared for the first time, and what a machine does when it begins, is not measured.
    let start = Instant::now() + Duration::from_secs(3);
    let broken = (start + BEFORE, start + BEFORE + OUTAGE);
    let end = broken.1 + AFTER;
    let seen: Seen = Arc::default();
    let (sick, well) = agents(broken, &seen);
    let worker = runtime(vhost.url()).worker_only();
    let worker = worker.agent(sick).agent(well).start().await?;
    let sick = tokio::spawn(load(coordinator.clone(), SICK, RATE.0, end));
    let well = tokio::spawn(load(coordinator.clone(), WELL, RATE.1, end));
    let (sick, well) = (sick.await.unwrap(), well.await.unwrap());

    let calls = seen.lock().clone();
    let count = |from: Instant, to: Instant| {
        let within = calls.iter().filter(|(at, ..)| (from..to).contains(at));
        within.count()
    };
    let before = count(start, broken.0) as f64 / BEFORE.as_secs_f64();
    let during = count(broken.0, broken.1) as f64 / OUTAGE.as_secs_f64();
    let offered = sick
        .iter()
        .filter(|(at, _)| (broken.0..broken.1).contains(at))
        .count();
    let again = calls
        .iter()
        .filter(|(at, attempt, _)| (broken.0..broken.1).contains(at) && *attempt > 1)
        .count();
    let healed = calls
        .iter()
        .find(|(at, _, succeeded)| *at >= broken.1 && *succeeded);
    let healed = healed.expect("it was found out").0 - broken.1;
    let (quiet, loud) = (p99(&well, start, broken.0), p99(&well, broken.0, broken.1));
    let fall = 100.0 * (1.0 - during / before);
    let added = 100.0 * again as f64 / offered as f64;
    println!(
        "outage of {OUTAGE:?} over RabbitMQ, {} tasks accepted, all done",
        sick.len() + well.len()
    );
    println!(
        "  calls per second to the agent: {before:.1} before, {during:.2} during: {fall:.1} % less"
    );
    println!("  retries during it: {again} for {offered} tasks submitted, {added:.1} % more load");
    println!("  first success {healed:?} after it had healed");
    println!("  p99 of the other capability in {WINDOW:?}: {quiet:?} before, {loud:?} during");

    assert!(fall > 95.0, "{fall}");
    assert!(added < 10.0, "{added}");
    assert!(healed < Duration::from_secs(2), "{healed:?}");
    assert!(loud < quiet.mul_f64(1.2), "{quiet:?} became {loud:?}");
    assert_eq!(
        worker.breaker("sick", "sick")?.state(),
        BreakerState::Closed
    );
    worker.shutdown().await?;
    coordinator.shutdown().await
}
