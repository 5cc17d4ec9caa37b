//! Runs in one process with nothing installed: the whole path from a task to its result.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Error, ErrorKind, FailureKind};

const SQUARE: Call<u64, u64> = Call::new("square");
const SUM: Call<Vec<u64>, u64> = Call::new("sum");

async fn square(x: u64) -> Result<u64, AgentError> {
    Ok(x * x)
}

async fn sum(numbers: Vec<u64>) -> Result<u64, AgentError> {
    Ok(numbers.iter().sum())
}

async fn squares(_: TaskContext, upto: u64) -> Result<Plan<u64>, AgentError> {
    let mut plan = Plan::builder();
    let squares: Vec<_> = (1..=upto)
        .map(|x| plan.task(format!("square-{x}"), &SQUARE, x))
        .collect();
    let total = plan.task("total", &SUM, squares);
    Ok(plan.output(total)?)
}

async fn runtime() -> Result<Runtime, Error> {
    Runtime::builder()
        .agent(agent("square", square))
        .agent(agent("sum", sum))
        .orchestrator(orchestrator("squares", squares))
        .start()
        .await
}

#[tokio::test]
async fn one_call_is_answered() -> Result<(), Error> {
    let runtime = runtime().await?;
    assert_eq!(runtime.run(&SQUARE, 7_u64).await?, 49);
    runtime.shutdown().await
}

#[tokio::test]
async fn a_task_is_decomposed_carried_out_and_aggregated() -> Result<(), Error> {
    let runtime = runtime().await?;
    let total: u64 = runtime.run(&call::<u64, u64>("squares"), 10_u64).await?;
    assert_eq!(total, 385);
    runtime.shutdown().await
}

#[tokio::test]
async fn a_request_is_answered_without_a_run() -> Result<(), Error> {
    let runtime = runtime().await?;
    assert_eq!(runtime.request(&SQUARE, 9_u64).await?, 81);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn an_unserved_task_waits_and_fails_at_its_deadline_with_that_reason() -> Result<(), Error> {
    let runtime = runtime().await?;
    let run = runtime
        .submit(&call::<u64, u64>("cube"), 3_u64)
        .deadline(Duration::from_secs(5))
        .await?;
    let mut events = run.events().await?;
    let mut unserved = None;
    while let Some(event) = events.next().await? {
        if let RunEventKind::Unserved(task) = event.kind {
            unserved = Some(task.capability);
        }
    }
    assert_eq!(unserved.as_deref(), Some("cube"));
    let error = run.result().await.expect_err("nobody offers it");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    let failure = error.failure().expect("a run's failure");
    assert_eq!(failure.kind, FailureKind::Unserved);
    assert!(
        failure.message.contains("no agent offers `cube`"),
        "{failure}"
    );
    runtime.shutdown().await
}
