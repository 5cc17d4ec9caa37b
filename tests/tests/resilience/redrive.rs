//! Tasks that are put back by themselves: after their delays, so often, for such failures, and whoever owns their run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::resilience::BudgetPolicy;
use coditect_core::{Error, FailureKind, Redrive, RedrivePolicy, SetAsideFilter};
use tokio::time::Instant;

use crate::stage::{Notes, Shared, failure, within};

const WORK: Call<u64, u64> = Call::new("work");
const MINUTE: Duration = Duration::from_secs(60);

/// Once, without retries of its own.
fn once() -> Result<Plan<u64>, Error> {
    let mut plan = Plan::builder();
    let task = plan.task("task", &WORK, 7);
    plan.configure(&task, |task| task.max_attempts(1));
    plan.output(task)
}

fn policy() -> Result<RedrivePolicy, Error> {
    RedrivePolicy::new([MINUTE, 10 * MINUTE])
}

#[tokio::test(start_paused = true)]
async fn a_task_is_put_back_after_each_delay_and_then_fails() -> Result<(), Error> {
    let (begin, calls) = (Instant::now(), Notes::new());
    let noted = calls.clone();
    let handler = move |_: u64| {
        noted.push(begin.elapsed().as_secs());
        std::future::ready(Err::<u64, _>(AgentError::retryable("not yet")))
    };
    let worker = agent("work", handler);
    let runtime = Runtime::builder().agent(worker).redrive("work", policy()?);
    let runtime = runtime.start().await?;
    let run = runtime.submit_plan(once()?).await?;
    tokio::time::sleep(MINUTE / 2).await;
    let dead = runtime.dead_letters();
    let page = dead.list(&SetAsideFilter::all(), None).await?;
    let [letter] = &page.letters[..] else {
        panic!("{page:?}");
    };
    let waits = letter.redrive_at().expect("it is put back by itself");
    assert_eq!(waits.saturating_since(letter.failed_at()), MINUTE);
    assert_eq!((letter.attempts(), letter.redriven_from()), (1, None));

    assert_eq!(failure(within(run.result()).await).message, "not yet");
    assert_eq!(calls.all(), [0, 60, 660]);
    let page = dead.list(&SetAsideFilter::all(), None).await?;
    assert_eq!(page.letters[0].redrive_at(), None);
    assert_eq!(page.letters[0].redriven_from(), Some("2"));
    let report = run.report().await?;
    assert!(!report.tasks[0].by_person, "nobody had a hand in it");
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn other_failures_and_other_capabilities_are_left_alone() -> Result<(), Error> {
    let handler = |_: u64| std::future::ready(Err::<u64, _>(AgentError::permanent("never")));
    let flaky = |_: u64| std::future::ready(Err::<u64, _>(AgentError::retryable("not now")));
    let runtime = Runtime::builder()
        .agent(agent("work", handler))
        .agent(agent("flaky", flaky))
        .redrive_all(policy()?)
        .redrive("flaky", None)
        .start()
        .await?;
    let begin = Instant::now();
    for call in [WORK, Call::new("flaky")] {
        failure(within(runtime.run(&call, 1)).await);
    }
    assert!(begin.elapsed() < MINUTE);
    runtime.shutdown().await?;

    let named = policy()?.with_kinds([FailureKind::Permanent]);
    let worker = agent("work", handler);
    let runtime = Runtime::builder()
        .agent(worker)
        .redrive_all(named)
        .start()
        .await?;
    let begin = Instant::now();
    failure(within(runtime.run(&WORK, 1)).await);
    assert!(begin.elapsed() >= 11 * MINUTE);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn who_does_not_want_to_wait_puts_it_back_at_once() -> Result<(), Error> {
    let well = Arc::new(AtomicBool::new(false));
    let is_well = Arc::clone(&well);
    let handler = move |x: u64| {
        let answer = match is_well.load(Ordering::SeqCst) {
            true => Ok(x),
            false => Err(AgentError::retryable("not yet")),
        };
        std::future::ready(answer)
    };
    let worker = agent("work", handler);
    let runtime = Runtime::builder()
        .agent(worker)
        .redrive_all(policy()?)
        .start()
        .await?;
    let begin = Instant::now();
    let run = runtime.submit_plan(once()?).await?;
    tokio::time::sleep(MINUTE / 2).await;
    well.store(true, Ordering::SeqCst);
    let dead = runtime.dead_letters();
    let changed = Redrive::default().with_input(&8_u64)?;
    let done = dead.redrive_all(&SetAsideFilter::all(), &changed).await?;
    assert_eq!(done.redriven, 1);
    assert_eq!(within(run.result()).await?, 8);
    assert!(begin.elapsed() < MINUTE);
    let report = run.report().await?;
    assert_eq!((report.attempts, report.tasks[0].by_person), (2, true));
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_the_run_over_puts_it_back_when_it_is_due() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let (begin, calls) = (Instant::now(), Notes::new());
    let noted = calls.clone();
    let handler = move |x: u64| {
        noted.push(begin.elapsed().as_secs());
        let answer = match noted.all().len() {
            1 => Err(AgentError::retryable("not yet")),
            _ => Ok(x),
        };
        std::future::ready(answer)
    };
    let worker = shared.runtime().worker_only().agent(agent("work", handler));
    let worker = worker.start().await?;
    let first = shared.runtime().redrive_all(policy()?).start().await?;
    // One that would put nothing back by itself: what was written down holds. Its clock begins with the real time, so that it
    // has to be there before much of the paused time has passed.
    let second = shared.runtime().start().await?;
    let run = first.submit_plan(once()?).await?;
    tokio::time::sleep(MINUTE / 2).await;
    assert_eq!(calls.all().len(), 1);
    drop(first);
    let run = second.attach::<u64>(run.id());
    assert_eq!(within(run.result()).await?, 7);
    assert_eq!(calls.all().len(), 2);
    // The two clocks began some real milliseconds apart.
    assert!((58..62).contains(&calls.all()[1]), "{:?}", calls.all());
    second.shutdown().await?;
    worker.shutdown().await
}

fn once_each(x: impl IntoIterator<Item = u64>) -> Result<Plan<Vec<u64>>, Error> {
    let mut plan = Plan::builder();
    let mut tasks = Vec::new();
    for x in x {
        let task = plan.task(x.to_string(), &WORK, x);
        plan.configure(&task, |task| task.max_attempts(1));
        tasks.push(task);
    }
    plan.output(tasks)
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_budget_is_redriven_with_an_input_that_a_takeover_keeps()
-> Result<(), Error> {
    let (sick, calls) = (Arc::new(AtomicBool::new(true)), Notes::new());
    let shared = Shared::new();
    let start = || {
        let (sick, calls) = (Arc::clone(&sick), calls.clone());
        let work = agent("work", move |x: u64| {
            calls.push(x);
            std::future::ready(match sick.load(Ordering::SeqCst) {
                true => Err(AgentError::retryable("not yet")),
                false => Ok(x),
            })
        });
        let budget = BudgetPolicy::new(0.0, 1).unwrap();
        let policy = RedrivePolicy::new([MINUTE]).unwrap();
        let runtime = shared.runtime().agent(work.with_breaker(None));
        runtime
            .redrive("work", policy)
            .retry_budget("work", budget.with_reserve_per_second(1))
            .start()
    };
    let first = start().await?;
    let run = first.submit_plan(once_each(1..=5)?).await?;
    tokio::time::sleep(MINUTE / 2).await;
    sick.store(false, Ordering::SeqCst);
    // By then the budget has paid for some of them.
    tokio::time::sleep(MINUTE / 2 + Duration::from_millis(1_500)).await;
    let again = calls.all()[5..].to_vec();
    let waits = (1..=5).rfind(|x| !again.contains(x));
    let waits = waits.filter(|_| !again.is_empty()).expect("some wait");
    run.pause("for now").await?;
    run.redrive_with(&waits.to_string(), &70_u64).await?;
    tokio::time::sleep(MINUTE).await;
    let id = run.id();
    first.shutdown().await?;

    let second = start().await?;
    let run = second.attach::<Vec<u64>>(id);
    run.resume().await?;
    assert_eq!(
        within(run.result()).await?.iter().sum::<u64>(),
        15 - waits + 70
    );
    second.shutdown().await
}
