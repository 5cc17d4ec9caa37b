//! Retry budgets: what is beyond them waits, and nothing fails for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::resilience::{Backoff, BudgetPolicy, Jitter};
use coditect_core::{Error, ErrorKind, RetryPolicy, TaskReport, TaskState};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::stage::{Notes, failure, within};

const WORK: Call<u64, u64> = Call::new("work");

/// An agent that fails while it is sick, and notes when each attempt began.
fn agent_of(sick: &Arc<AtomicBool>, notes: &Notes<(u32, Instant)>) -> impl Agent + use<> {
    let (sick, notes) = (Arc::clone(sick), notes.clone());
    let handler = move |context: TaskContext, x: u64| {
        notes.push((context.attempt(), Instant::now()));
        std::future::ready(match sick.load(Ordering::SeqCst) {
            true => Err(AgentError::retryable("sick")),
            false => Ok(x),
        })
    };
    agent("work", handler).with_breaker(None)
}

fn budget(per_success: f64, capacity: u32, reserve: u32) -> BudgetPolicy {
    let policy = BudgetPolicy::new(per_success, capacity).unwrap();
    policy.with_reserve_per_second(reserve)
}

fn plan(tasks: u64, attempts: u32, deadline: Option<Duration>) -> Plan<Vec<u64>> {
    let soon = Backoff::constant(Duration::from_millis(100)).with_jitter(Jitter::None);
    let retry = RetryPolicy::builder(attempts)
        .backoff(soon)
        .build()
        .unwrap();
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..tasks)
        .map(|number| {
            let task = plan.task(number.to_string(), &WORK, number);
            plan.configure(&task, |task| {
                let task = task.retry(retry);
                match deadline {
                    Some(deadline) => task.deadline(deadline),
                    None => task,
                }
            });
            task
        })
        .collect();
    plan.aggregate(collect_all(), tasks).unwrap()
}

fn retries(notes: &Notes<(u32, Instant)>) -> usize {
    notes
        .all()
        .iter()
        .filter(|(attempt, _)| *attempt > 1)
        .count()
}

#[tokio::test(start_paused = true)]
async fn retries_beyond_the_budget_wait_and_successes_pay_for_them() -> Result<(), Error> {
    let (sick, notes) = (Arc::new(AtomicBool::new(true)), Notes::new());
    let runtime = Runtime::builder()
        .partitions(1)
        .retry_budget("work", budget(1.0, 5, 1))
        .agent(agent_of(&sick, &notes))
        .start()
        .await?;
    let run = runtime.submit_plan(plan(40, 1_000, None)).await?;
    tokio::time::sleep(Duration::from_millis(10_050)).await;
    let (all, again) = (notes.all().len(), retries(&notes));
    assert_eq!(all - again, 40, "first attempts are no retries");
    assert!(
        (14..=16).contains(&again),
        "5 saved up and one a second: {again}"
    );
    sick.store(false, Ordering::SeqCst);
    let began = Instant::now();
    assert_eq!(within(run.result()).await?.len(), 40);
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "each success lets the next one go: {:?}",
        began.elapsed()
    );
    let per_task = notes.all().iter().map(|(attempt, _)| *attempt).max();
    assert!(
        per_task < Some(20),
        "waiting spends no attempt: {per_task:?}"
    );
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_capability_without_a_budget_is_retried_as_its_tasks_say() -> Result<(), Error> {
    let (sick, notes) = (Arc::new(AtomicBool::new(true)), Notes::new());
    let runtime = Runtime::builder()
        .retry_budget("work", None)
        .agent(agent_of(&sick, &notes))
        .start()
        .await?;
    let run = runtime.submit_plan(plan(40, 11, None)).await?;
    let began = Instant::now();
    failure(within(run.result()).await);
    assert_eq!(retries(&notes), 400);
    assert!(began.elapsed() < Duration::from_secs(2));
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_what_waits_for_its_budget_and_others_move_up() -> Result<(), Error> {
    let (sick, notes) = (Arc::new(AtomicBool::new(true)), Notes::new());
    let runtime = Runtime::builder()
        .partitions(1)
        .retry_budget("work", budget(0.0, 1, 1))
        .agent(agent_of(&sick, &notes))
        .start()
        .await?;
    let short = plan(30, 1_000, Some(Duration::from_secs(5)));
    let short = runtime.submit_plan(short).await?;
    let began = Instant::now();
    failure(within(short.result()).await);
    let report = short.report().await?;
    let failed = |task: &TaskReport| task.state == TaskState::Failed;
    assert!(report.tasks.iter().all(failed));
    assert_eq!(began.elapsed().as_secs(), 5);
    // Nobody is waited for who has gone.
    let before = retries(&notes);
    let run = runtime.submit_plan(plan(1, 4, None)).await?;
    let began = Instant::now();
    failure(within(run.result()).await);
    assert_eq!(retries(&notes) - before, 3);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_asked_for_passes_before_its_retry_is_paid_for() -> Result<(), Error> {
    let began = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&began);
    let handler = move |context: TaskContext, x: u64| {
        noted.lock().push(Instant::now());
        let first = context.attempt() == 1;
        std::future::ready(match first {
            true => Err(AgentError::retryable("busy").retry_after(Duration::from_secs(60))),
            false => Ok(x),
        })
    };
    let runtime = Runtime::builder()
        .retry_budget("work", budget(0.0, 1, 1))
        .agent(agent("work", handler))
        .start()
        .await?;
    within(runtime.submit_plan(plan(1, 3, None)).await?.result()).await?;
    let began = began.lock().clone();
    assert_eq!((began[1] - began[0]).as_secs(), 60);
    runtime.shutdown().await
}

#[tokio::test]
async fn a_budget_that_nothing_pays_into_is_refused() {
    for policy in [budget(1.0, 5, 0), budget(1.0, 0, 5)] {
        let started = Runtime::builder()
            .retry_budget("work", policy)
            .start()
            .await;
        assert_eq!(started.unwrap_err().kind(), ErrorKind::Invalid);
    }
}
