//! Attempts: when they follow each other, what ends them, and how long all of it may take.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::resilience::{Backoff, Jitter};
use coditect_core::{
    Dispatch, Error, ErrorKind, FailureKind, RetryPolicy, TaskSettings, TaskState,
};
use tokio::time::Instant;

use crate::stage::{Notes, failure, follow, within};

const TRY: Call<u64, u64> = Call::new("try");
const EVERYWHERE: [Dispatch; 2] = [Dispatch::LocalOnly, Dispatch::Bus];

/// Fails as often as its input says, and notes when each attempt began.
async fn runtime(
    dispatch: Dispatch,
    fail: fn() -> AgentError,
) -> Result<(Runtime, Notes<(u32, Instant)>), Error> {
    let notes = Notes::new();
    let noted = notes.clone();
    let handler = move |context: TaskContext, failures: u64| {
        noted.push((context.attempt(), Instant::now()));
        let failed = u64::from(context.attempt()) <= failures;
        std::future::ready(if failed { Err(fail()) } else { Ok(failures) })
    };
    let runtime = Runtime::builder()
        .agent(agent("try", handler))
        .dispatch(dispatch)
        .start()
        .await?;
    Ok((runtime, notes))
}

fn plan(
    failures: u64,
    change: impl FnOnce(TaskSettings) -> TaskSettings,
) -> Result<Plan<u64>, Error> {
    let mut plan = Plan::builder();
    let task = plan.task("task", &TRY, failures);
    plan.configure(&task, change);
    plan.output(task)
}

fn policy(attempts: u32, backoff: Backoff) -> RetryPolicy {
    RetryPolicy::builder(attempts)
        .backoff(backoff)
        .build()
        .expect("there are attempts")
}

fn doubling() -> Backoff {
    let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
    backoff.expect("it grows").with_jitter(Jitter::None)
}

/// How long after the one before each attempt began, in milliseconds.
fn gaps(notes: &Notes<(u32, Instant)>) -> Vec<u128> {
    let all = notes.all();
    all.windows(2)
        .map(|pair| (pair[1].1 - pair[0].1).as_millis())
        .collect()
}

fn about(gaps: &[u128], wanted: &[u128]) {
    let near = |(gap, wanted): (&u128, &u128)| gap >= wanted && *gap <= wanted + 50;
    assert!(
        gaps.len() == wanted.len() && gaps.iter().zip(wanted).all(near),
        "{gaps:?} for {wanted:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn attempts_are_numbered_and_wait_as_the_backoff_says() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let (runtime, notes) = runtime(dispatch, || AgentError::retryable("again")).await?;
        let run = runtime
            .submit_plan(plan(5, |task| task.retry(policy(6, doubling())))?)
            .await?;
        assert_eq!(within(run.result()).await?, 5);
        let numbers: Vec<_> = notes
            .all()
            .into_iter()
            .map(|(attempt, _)| attempt)
            .collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
        about(&gaps(&notes), &[1_000, 2_000, 4_000, 5_000, 5_000]);
        let told: Vec<_> = follow(&run)
            .await?
            .into_iter()
            .filter_map(|event| match event.kind {
                RunEventKind::Retrying(info, _, at) => Some((
                    info.attempt.get(),
                    at.saturating_since(event.at).as_millis(),
                )),
                _ => None,
            })
            .collect();
        assert_eq!(
            told,
            [(1, 1_000), (2, 2_000), (3, 4_000), (4, 5_000), (5, 5_000)]
        );
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_task_out_of_attempts_fails_with_its_last_failure() -> Result<(), Error> {
    let (runtime, notes) = runtime(Dispatch::LocalOnly, || AgentError::retryable("again")).await?;
    let run = runtime
        .submit_plan(plan(9, |task| task.max_attempts(3))?)
        .await?;
    let result = within(run.result()).await;
    assert_eq!(
        result.as_ref().expect_err("it failed").kind(),
        ErrorKind::Failed
    );
    let why = failure(result);
    assert_eq!((why.kind, &*why.message), (FailureKind::Error, "again"));
    assert_eq!(notes.all().len(), 3);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn one_attempt_is_no_retry() -> Result<(), Error> {
    let (runtime, notes) = runtime(Dispatch::LocalOnly, || AgentError::retryable("again")).await?;
    let run = runtime
        .submit_plan(plan(1, |task| task.max_attempts(1))?)
        .await?;
    failure(within(run.result()).await);
    assert_eq!(notes.all().len(), 1);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_spends_no_further_attempt() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let (runtime, notes) = runtime(dispatch, || AgentError::permanent("never")).await?;
        let run = runtime
            .submit_plan(plan(1, |task| task.max_attempts(5))?)
            .await?;
        let why = failure(within(run.result()).await);
        assert_eq!((why.kind, &*why.message), (FailureKind::Permanent, "never"));
        assert_eq!(notes.all().len(), 1);
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_agent_may_say_when_to_come_back() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let fail = || AgentError::retryable("busy").retry_after(Duration::from_secs(90));
        let (runtime, notes) = runtime(dispatch, fail).await?;
        let run = runtime
            .submit_plan(plan(2, |task| task.retry(policy(3, doubling())))?)
            .await?;
        assert_eq!(within(run.result()).await?, 2);
        about(&gaps(&notes), &[90_000, 90_000]);
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_after_the_time_for_all_of_them() -> Result<(), Error> {
    let (runtime, notes) = runtime(Dispatch::LocalOnly, || AgentError::retryable("again")).await?;
    let policy = RetryPolicy::builder(100)
        .backoff(Backoff::constant(Duration::from_secs(10)))
        .max_elapsed(Duration::from_secs(35))
        .build()
        .expect("there are attempts");
    let run = runtime
        .submit_plan(plan(99, |task| task.retry(policy))?)
        .await?;
    failure(within(run.result()).await);
    about(&gaps(&notes), &[10_000, 10_000, 10_000]);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn the_causes_of_an_error_travel_with_it() -> Result<(), Error> {
    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);
    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no page number")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    for dispatch in EVERYWHERE {
        let handler = async |text: String| text.parse::<u64>().map_err(Outer);
        let runtime = Runtime::builder()
            .agent(agent("parse", handler))
            .dispatch(dispatch)
            .start()
            .await?;
        let mut plan = Plan::builder();
        let task = plan.task("page", &call::<String, u64>("parse"), "x".to_owned());
        plan.configure(&task, |task| task.max_attempts(1));
        let run = runtime.submit_plan(plan.output::<u64>(task)?).await?;
        let why = failure(within(run.result()).await);
        assert_eq!(
            why.to_string(),
            "task `page`: no page number: invalid digit found in string"
        );
        runtime.shutdown().await?;
    }
    Ok(())
}

async fn sleepers(dispatch: Dispatch) -> Result<Runtime, Error> {
    let sleep = async |seconds: u64| {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok::<_, AgentError>(seconds)
    };
    Runtime::builder()
        .agent(
            agent("try", sleep)
                .with_card(AgentCard::new("try").with_timeout(Duration::from_secs(100))),
        )
        .grace(Duration::from_millis(1))
        .dispatch(dispatch)
        .start()
        .await
}

#[tokio::test(start_paused = true)]
async fn the_plans_timeout_comes_before_the_agents_own() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let runtime = sleepers(dispatch).await?;
        let began = Instant::now();
        let run = runtime
            .submit_plan(plan(200, |task| task.max_attempts(1))?)
            .await?;
        assert_eq!(
            failure(within(run.result()).await).kind,
            FailureKind::Timeout
        );
        assert_eq!(began.elapsed().as_secs(), 100);
        let longer = |task: TaskSettings| task.timeout(Duration::from_secs(300)).max_attempts(1);
        let run = runtime.submit_plan(plan(200, longer)?).await?;
        assert_eq!(within(run.result()).await?, 200);
        let began = Instant::now();
        let shorter = |task: TaskSettings| task.timeout(Duration::from_secs(7)).max_attempts(1);
        let run = runtime.submit_plan(plan(200, shorter)?).await?;
        assert_eq!(
            failure(within(run.result()).await).kind,
            FailureKind::Timeout
        );
        assert_eq!(began.elapsed().as_secs(), 7);
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_tasks_deadline_covers_its_waiting_and_all_its_attempts() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let (runtime, notes) = runtime(dispatch, || AgentError::retryable("again")).await?;
        let began = Instant::now();
        let every = |seconds| policy(100, Backoff::constant(Duration::from_secs(seconds)));
        let run = runtime
            .submit_plan(plan(99, |task| {
                task.retry(every(10)).deadline(Duration::from_secs(25))
            })?)
            .await?;
        let result = within(run.result()).await;
        assert_eq!(
            result.as_ref().expect_err("late").kind(),
            ErrorKind::DeadlineExceeded
        );
        let why = failure(result);
        assert_eq!(why.kind, FailureKind::DeadlineExceeded);
        assert!(
            why.to_string().contains("again"),
            "it says what went wrong before: {why}"
        );
        assert_eq!(began.elapsed().as_secs(), 25);
        assert_eq!(notes.all().len(), 3);
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_tasks_deadline_ends_it_while_it_runs() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let runtime = sleepers(dispatch).await?;
        let mut plan = Plan::builder();
        let late = plan.task("late", &TRY, 60);
        plan.configure(&late, |task| task.deadline(Duration::from_secs(20)));
        let fine = plan.task("fine", &TRY, 30);
        let run = runtime
            .submit_plan(plan.aggregate(collect_succeeded(), [late, fine])?)
            .await?;
        let began = Instant::now();
        assert_eq!(within(run.result()).await?, [30]);
        assert_eq!(began.elapsed().as_secs(), 30);
        let settled = follow(&run)
            .await?
            .into_iter()
            .find_map(|event| match event.kind {
                RunEventKind::Settled(info, TaskState::Failed, failure) if info.path == "late" => {
                    failure
                }
                _ => None,
            });
        assert_eq!(
            settled.expect("it failed").kind,
            FailureKind::DeadlineExceeded
        );
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_runs_deadline_ends_all_of_it_and_tells_what_it_waited_for() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let runtime = sleepers(dispatch).await?;
        let mut plan = Plan::builder();
        let quick = plan.task("quick", &TRY, 1);
        let slow = plan.task("slow", &TRY, 90);
        plan.after(&slow, &quick);
        let never = plan.task("never", &TRY, &slow);
        let began = Instant::now();
        let run = runtime
            .submit_plan(plan.output::<u64>(never)?)
            .deadline(Duration::from_secs(40))
            .await?;
        let result = within(run.result()).await;
        assert_eq!(began.elapsed().as_secs(), 40);
        assert_eq!(
            result.as_ref().expect_err("late").kind(),
            ErrorKind::DeadlineExceeded
        );
        let why = failure(result);
        assert!(why.message.contains("1 tasks were running"), "{why}");
        let report = run.report().await?;
        let states: Vec<_> = report.tasks.iter().map(|task| task.state).collect();
        assert_eq!(states[0], TaskState::Succeeded);
        assert!(states.iter().all(|state| state.is_final()), "{states:?}");
        runtime.shutdown().await?;
    }
    Ok(())
}
