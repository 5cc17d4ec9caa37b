//! What the aggregators that every runtime knows make of outcomes.

use coditect_core::aggregate::reduce;
use coditect_core::prelude::*;
use coditect_core::{Error, FailureKind};

use crate::stage::{failure, within};

/// Answers with its input, or fails where it is odd.
const EVEN: Call<u64, u64> = Call::new("even");

async fn even(x: u64) -> Result<u64, AgentError> {
    if x % 2 == 1 {
        return Err(AgentError::permanent(format!("{x} is odd")));
    }
    Ok(x)
}

async fn runtime() -> Result<Runtime, Error> {
    Runtime::builder()
        .agent(agent("even", even))
        .aggregator("sum", || reduce(100_u64, |sum, x: u64| sum + x))
        .start()
        .await
}

async fn run<O>(
    runtime: &Runtime,
    inputs: &[u64],
    aggregation: Aggregation<u64, O>,
) -> Result<Result<O, Error>, Error>
where
    O: serde::de::DeserializeOwned + Send + 'static,
{
    let mut plan = Plan::builder();
    let tasks: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(key, x)| plan.task(format!("task-{key}"), &EVEN, *x))
        .collect();
    let run = runtime
        .submit_plan(plan.aggregate(aggregation, tasks)?)
        .await?;
    Ok(within(run.result()).await)
}

#[tokio::test(start_paused = true)]
async fn collect_all_keeps_the_order_of_the_plan_and_fails_with_the_first_failure()
-> Result<(), Error> {
    let runtime = runtime().await?;
    assert_eq!(
        run(&runtime, &[8, 2, 6, 4], collect_all()).await??,
        [8, 2, 6, 4]
    );
    let why = failure(run(&runtime, &[8, 3, 6], collect_all()).await?);
    let text = why.to_string();
    assert!(
        text.contains("3 is odd") && text.contains("task-1"),
        "{text}"
    );
    assert!(text.contains("1 of 3 tasks failed"), "{text}");
    assert!(run(&runtime, &[], collect_all()).await??.is_empty());
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn collect_succeeded_leaves_failures_out_even_if_nothing_is_left() -> Result<(), Error> {
    let runtime = runtime().await?;
    assert_eq!(
        run(&runtime, &[8, 3, 6, 5], collect_succeeded()).await??,
        [8, 6]
    );
    assert!(
        run(&runtime, &[1, 3], collect_succeeded())
            .await??
            .is_empty()
    );
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn first_success_ignores_failures_until_all_have_failed() -> Result<(), Error> {
    let runtime = runtime().await?;
    assert_eq!(run(&runtime, &[1, 3, 4, 5], first_success()).await??, 4);
    let why = failure(run(&runtime, &[1, 3], first_success()).await?);
    assert_eq!(why.kind, FailureKind::Permanent);
    let text = why.to_string();
    assert!(
        text.contains("2 of 2 tasks failed") && text.contains("is odd"),
        "{text}"
    );
    failure(run(&runtime, &[], first_success()).await?);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_quorum_is_reached_or_fails_with_how_many_were_missing() -> Result<(), Error> {
    let runtime = runtime().await?;
    let three = run(&runtime, &[2, 1, 4, 3, 6], quorum(3)).await??;
    assert_eq!(three, [2, 4, 6]);
    let why = failure(run(&runtime, &[2, 1, 4, 3], quorum(3)).await?);
    let text = why.to_string();
    assert!(
        text.contains("2 of 4 tasks failed, 3 had to succeed"),
        "{text}"
    );
    failure(run(&runtime, &[2, 4], quorum(3)).await?);
    assert!(run(&runtime, &[1], quorum(0)).await??.is_empty());
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_majority_is_of_all_tasks_and_failures_are_no_votes() -> Result<(), Error> {
    let runtime = runtime().await?;
    assert_eq!(run(&runtime, &[4, 2, 4, 1, 4], majority_vote()).await??, 4);
    let why = failure(run(&runtime, &[4, 4, 1, 3], majority_vote()).await?);
    let text = why.to_string();
    assert!(text.contains("no majority among 4 votes"), "{text}");
    failure(run(&runtime, &[2, 4], majority_vote()).await?);
    failure(run(&runtime, &[], majority_vote()).await?);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_reduction_folds_every_output_and_fails_with_the_first_failure() -> Result<(), Error> {
    let runtime = runtime().await?;
    let sum = || Aggregation::<u64, u64>::named("sum");
    assert_eq!(run(&runtime, &[2, 4, 6], sum()).await??, 112);
    assert_eq!(run(&runtime, &[], sum()).await??, 100);
    let why = failure(run(&runtime, &[2, 5], sum()).await?);
    assert!(why.to_string().contains("5 is odd"), "{why}");
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn an_aggregation_is_told_only_of_what_it_is_over() -> Result<(), Error> {
    let runtime = runtime().await?;
    let mut plan = Plan::builder();
    let first = plan.task("first", &EVEN, 2);
    plan.task("aside", &EVEN, 3);
    let second = plan.task("second", &EVEN, &first);
    let plan = plan.aggregate(collect_all(), [second.clone(), first, second])?;
    let run = runtime.submit_plan(plan).await?;
    assert_eq!(
        within(run.result()).await?,
        [2, 2],
        "each task once, in the plan's order"
    );
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_skipped_task_counts_as_a_failure() -> Result<(), Error> {
    let runtime = runtime().await?;
    let mut plan = Plan::builder();
    let bad = plan.task("bad", &EVEN, 3);
    let skipped = plan.task("skipped", &EVEN, &bad);
    let good = plan.task("good", &EVEN, 4);
    let run = runtime
        .submit_plan(plan.aggregate(quorum(2), [bad, skipped, good])?)
        .await?;
    let why = failure(within(run.result()).await);
    assert!(why.to_string().contains("2 of 3 tasks failed"), "{why}");
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_nested_plan_may_aggregate_and_its_caller_gets_the_result() -> Result<(), Error> {
    let vote = async |_: TaskContext, inputs: Vec<u64>| {
        let mut plan = Plan::builder();
        let tasks: Vec<_> = inputs
            .into_iter()
            .enumerate()
            .map(|(key, x)| plan.task(format!("{key}"), &EVEN, x))
            .collect();
        plan.aggregate(majority_vote(), tasks)
    };
    let runtime = Runtime::builder()
        .agent(agent("even", even))
        .orchestrator(orchestrator("vote", vote))
        .start()
        .await?;
    let mut plan = Plan::builder();
    let vote: Call<Vec<u64>, u64> = call("vote");
    let six = plan.task("six", &vote, vec![6, 6, 2]);
    let six = plan.task("next", &EVEN, six);
    let none = plan.task("none", &vote, vec![6, 4, 2]);
    let run = runtime
        .submit_plan(plan.aggregate(collect_succeeded(), [six, none])?)
        .await?;
    assert_eq!(within(run.result()).await?, [6]);
    runtime.shutdown().await
}
