//! Orchestrators in orchestrators, and the limits of what plans may add.

use coditect_core::prelude::*;
use coditect_core::{Error, ErrorKind, FailureKind, RunLimits, TaskState};

use crate::stage::{Count, failure, follow, within};

const LEAF: Call<u64, u64> = Call::new("leaf");
const NEST: Call<u64, u64> = Call::new("nest");
const FAN: Call<u64, Vec<u64>> = Call::new("fan");

/// As many plans below each other as the number says, and a leaf in the innermost.
async fn nest(_: TaskContext, depth: u64) -> Result<Plan<u64>, AgentError> {
    let mut plan = Plan::builder();
    let inner = if depth > 1 {
        plan.task("inner", &NEST, depth - 1)
    } else {
        plan.task("leaf", &LEAF, 7)
    };
    Ok(plan.output(inner)?)
}

async fn fan(_: TaskContext, width: u64) -> Result<Plan<Vec<u64>>, AgentError> {
    let mut plan = Plan::builder();
    let leaves: Vec<_> = (0..width)
        .map(|x| plan.task(format!("leaf-{x}"), &LEAF, x))
        .collect();
    Ok(plan.output(leaves)?)
}

async fn runtime(leaves: &Count) -> Result<Runtime, Error> {
    let leaves = leaves.clone();
    Runtime::builder()
        .agent(agent("leaf", move |x: u64| {
            leaves.add();
            std::future::ready(Ok::<_, AgentError>(x))
        }))
        .orchestrator(orchestrator("nest", nest))
        .orchestrator(orchestrator("fan", fan))
        .orchestrator(orchestrator("known", async |_, x: u64| Plan::answer(x + 1)))
        .start()
        .await
}

#[tokio::test]
async fn plans_nest_and_their_answers_come_back_up() -> Result<(), Error> {
    let runtime = runtime(&Count::default()).await?;
    let run = runtime.submit(&NEST, 8).await?;
    assert_eq!(run.result().await?, 7);
    let report = run.report().await?;
    assert_eq!(report.tasks.len(), 9);
    let leaf = report.tasks.last().expect("there are nine");
    assert_eq!(leaf.path, format!("nest/{}leaf", "inner/".repeat(7)));
    assert!(
        report
            .tasks
            .iter()
            .all(|task| task.state == TaskState::Succeeded)
    );
    runtime.shutdown().await
}

#[tokio::test]
async fn an_orchestrator_may_know_the_answer() -> Result<(), Error> {
    let runtime = runtime(&Count::default()).await?;
    assert_eq!(runtime.run(&call::<u64, u64>("known"), 1).await?, 2);
    let mut plan = Plan::builder();
    let known = plan.task("known", &call::<u64, u64>("known"), 1);
    let next = plan.task("next", &LEAF, known);
    let run = runtime.submit_plan(plan.output::<u64>(next)?).await?;
    assert_eq!(run.result().await?, 2);
    assert!(runtime.run(&FAN, 0).await?.is_empty());
    runtime.shutdown().await
}

#[tokio::test]
async fn a_plan_nested_too_deep_fails_with_the_limit_and_runs_nothing() -> Result<(), Error> {
    let leaves = Count::default();
    let runtime = runtime(&leaves).await?;
    let run = runtime.submit(&NEST, 9).await?;
    let result = run.result().await;
    assert_eq!(
        result.as_ref().expect_err("too deep").kind(),
        ErrorKind::Invalid
    );
    let why = failure(result);
    assert_eq!(why.kind, FailureKind::InvalidPlan);
    assert!(why.to_string().contains('8'), "{why}");
    assert_eq!(leaves.get(), 0);

    let limits = RunLimits::default().with_max_depth(2);
    let run = runtime.submit(&NEST, 2).limits(limits).await?;
    assert_eq!(run.result().await?, 7);
    let run = runtime.submit(&NEST, 3).limits(limits).await?;
    assert_eq!(failure(run.result().await).kind, FailureKind::InvalidPlan);
    assert_eq!(leaves.get(), 1);
    runtime.shutdown().await
}

#[tokio::test]
async fn a_plan_that_is_too_wide_fails_with_the_limit_and_runs_nothing() -> Result<(), Error> {
    let leaves = Count::default();
    let runtime = runtime(&leaves).await?;
    let limits = RunLimits::default().with_max_width(10);
    let run = runtime.submit(&FAN, 10).limits(limits).await?;
    assert_eq!(run.result().await?.len(), 10);
    let run = runtime.submit(&FAN, 11).limits(limits).await?;
    let why = failure(run.result().await);
    assert_eq!(why.kind, FailureKind::InvalidPlan);
    let text = why.to_string();
    assert!(text.contains("11") && text.contains("10"), "{text}");
    assert_eq!(leaves.get(), 10);
    runtime.shutdown().await
}

#[tokio::test]
async fn a_run_of_too_many_tasks_is_cut_where_the_limit_is_reached() -> Result<(), Error> {
    let runtime = runtime(&Count::default()).await?;
    let limits = RunLimits::default().with_max_tasks(12);
    let mut plan = Plan::builder();
    let first = plan.task("first", &FAN, 5);
    let second = plan.task("second", &FAN, 6);
    plan.after(&second, &first);
    let plan = plan.aggregate(collect_succeeded(), [first, second])?;
    let run = runtime.submit_plan(plan).limits(limits).await?;
    assert_eq!(run.result().await?, [[0, 1, 2, 3, 4]]);
    let report = run.report().await?;
    assert_eq!(report.tasks.len(), 7, "the second plan was not taken up");
    assert_eq!(report.tasks[1].state, TaskState::Failed);
    runtime.shutdown().await
}

#[tokio::test]
async fn a_submitted_plan_over_the_limits_is_refused_at_submission() -> Result<(), Error> {
    let runtime = runtime(&Count::default()).await?;
    let limits = RunLimits::default().with_max_width(2);
    let mut plan = Plan::builder();
    let leaves: Vec<_> = (0..3)
        .map(|x| plan.task(format!("{x}"), &LEAF, x))
        .collect();
    let plan = plan.output::<Vec<u64>>(leaves)?;
    let error = runtime
        .submit_plan(plan)
        .limits(limits)
        .await
        .expect_err("three are too many");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error.to_string().contains("3 tasks, 2 are allowed"),
        "{error}"
    );
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_failure_deep_inside_is_told_with_the_path_to_it() -> Result<(), Error> {
    let runtime = Runtime::builder()
        .agent(agent("leaf", async |_: u64| {
            Err::<u64, _>(AgentError::permanent("rotten"))
        }))
        .orchestrator(orchestrator("nest", nest))
        .start()
        .await?;
    let run = runtime.submit(&NEST, 3).await?;
    let why = failure(within(run.result()).await);
    assert_eq!(why.kind, FailureKind::Permanent);
    assert_eq!(why.message, "rotten");
    assert_eq!(why.task.as_deref(), Some("nest/inner/inner/leaf"));
    let settled: Vec<_> = follow(&run)
        .await?
        .into_iter()
        .filter_map(|event| match event.kind {
            RunEventKind::Settled(info, state, _) => Some((info.path, state)),
            _ => None,
        })
        .collect();
    assert_eq!(settled.len(), 4);
    assert!(settled.iter().all(|(_, state)| *state == TaskState::Failed));
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn an_orchestrator_that_fails_is_tried_again() -> Result<(), Error> {
    let calls = Count::default();
    let counted = calls.clone();
    let shaky = move |_: TaskContext, x: u64| {
        let calls = counted.add();
        async move {
            if calls < 3 {
                return Err(AgentError::retryable("not yet"));
            }
            Ok(Plan::answer(x)?)
        }
    };
    let runtime = Runtime::builder()
        .orchestrator(orchestrator("shaky", shaky))
        .start()
        .await?;
    let mut plan = Plan::builder();
    let task = plan.task("task", &call::<u64, u64>("shaky"), 5);
    plan.configure(&task, |task| task.max_attempts(3));
    let run = runtime.submit_plan(plan.output::<u64>(task)?).await?;
    assert_eq!(within(run.result()).await?, 5);
    assert_eq!(calls.get(), 3);
    runtime.shutdown().await
}
