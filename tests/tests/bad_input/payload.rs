//! Inputs, outputs, plans and results over the limit, in this process and over the bus.

use coditect_core::prelude::*;
use coditect_core::{Dispatch, Error, ErrorKind, FailureKind, TaskState};

use crate::stage::{Count, failure, within};

const LIMIT: usize = 2_000;
const ECHO: Call<String, String> = Call::new("echo");
const GROW: Call<usize, String> = Call::new("grow");
const EVERYWHERE: [Dispatch; 2] = [Dispatch::LocalOnly, Dispatch::Bus];

async fn runtime(dispatch: Dispatch, grown: &Count) -> Result<Runtime, Error> {
    let grown = grown.clone();
    Runtime::builder()
        .agent(agent("echo", async |text: String| {
            Ok::<_, AgentError>(text)
        }))
        .agent(agent("grow", move |length: usize| {
            grown.add();
            async move { Ok::<_, AgentError>("x".repeat(length)) }
        }))
        .orchestrator(orchestrator("sprawl", sprawl))
        .max_payload(LIMIT)
        .dispatch(dispatch)
        .start()
        .await
}

async fn sprawl(_: TaskContext, tasks: usize) -> Result<Plan<Vec<String>>, AgentError> {
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..tasks)
        .map(|task| plan.task(format!("task-{task}"), &GROW, 1))
        .collect();
    Ok(plan.output(tasks)?)
}

#[tokio::test(start_paused = true)]
async fn an_input_over_the_limit_fails_its_task_alone() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let runtime = runtime(dispatch, &Count::default()).await?;
        let mut plan = Plan::builder();
        let large = plan.task("large", &ECHO, "x".repeat(LIMIT));
        let small = plan.task("small", &ECHO, "x".to_owned());
        let plan = plan.aggregate(collect_succeeded(), [large, small])?;
        let run = runtime.submit_plan(plan).await?;
        assert_eq!(within(run.result()).await?, ["x"], "{dispatch:?}");
        let report = run.report().await?;
        assert_eq!(report.tasks[0].state, TaskState::Failed);
        assert_eq!(report.tasks[0].attempts, 1, "it will not shrink");

        let run = runtime.submit(&ECHO, "x".repeat(LIMIT)).await?;
        let result = within(run.result()).await;
        assert_eq!(
            result.as_ref().expect_err("too large").kind(),
            ErrorKind::Invalid
        );
        let why = failure(result);
        assert_eq!(why.kind, FailureKind::TooLarge);
        assert!(
            why.message.contains("2002") && why.message.contains("2000"),
            "{why}"
        );
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_output_over_the_limit_fails_its_task_alone_and_once() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let grown = Count::default();
        let runtime = runtime(dispatch, &grown).await?;
        let run = runtime.submit(&GROW, LIMIT).await?;
        let why = failure(within(run.result()).await);
        assert_eq!(why.kind, FailureKind::TooLarge, "{dispatch:?}");
        assert!(
            why.message.contains("output") && why.message.contains("2002"),
            "{why}"
        );
        assert_eq!(grown.get(), 1);
        assert_eq!(within(runtime.run(&GROW, 3)).await?, "xxx");
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_output_at_the_limit_arrives_wherever_the_agent_is() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let grown = Count::default();
        let runtime = runtime(dispatch, &grown).await?;
        let output = within(runtime.run(&GROW, LIMIT - 2)).await?;
        assert_eq!(output.len(), LIMIT - 2);
        assert_eq!(grown.get(), 1, "{dispatch:?}");
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_the_bus_does_not_take_fails_its_task_at_once() -> Result<(), Error> {
    let grown = Count::default();
    let runtime = runtime(Dispatch::Bus, &grown).await?;
    let sprawl: Call<usize, Vec<String>> = call("sprawl");
    assert_eq!(within(runtime.run(&sprawl, 3)).await?, ["x", "x", "x"]);
    let run = runtime.submit(&sprawl, 1_000).await?;
    let why = failure(within(run.result()).await);
    assert_eq!(why.kind, FailureKind::TooLarge);
    assert_eq!(run.report().await?.tasks[0].attempts, 1);
    assert_eq!(grown.get(), 3, "none of its tasks ran");
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_stays_in_its_process_is_bounded_by_its_tasks_alone() -> Result<(), Error> {
    let runtime = runtime(Dispatch::LocalOnly, &Count::default()).await?;
    let sprawl: Call<usize, Vec<String>> = call("sprawl");
    let mut plan = Plan::builder();
    let all = plan.task("all", &sprawl, 400);
    let run = runtime
        .submit_plan(plan.output::<Vec<String>>(all)?)
        .await?;
    assert_eq!(within(run.result()).await?.len(), 400);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn an_input_that_grows_over_the_limit_by_joining_fails_who_joins() -> Result<(), Error> {
    for dispatch in EVERYWHERE {
        let runtime = runtime(dispatch, &Count::default()).await?;
        let mut plan = Plan::builder();
        let halves: Vec<_> = (0..2)
            .map(|half| plan.task(format!("half-{half}"), &GROW, LIMIT / 2))
            .collect();
        let join = plan.task("join", &call::<Vec<String>, String>("echo"), halves.clone());
        let over = halves.into_iter().chain([join]);
        let run = runtime
            .submit_plan(plan.aggregate(first_success(), over)?)
            .await?;
        assert_eq!(within(run.result()).await?.len(), LIMIT / 2, "{dispatch:?}");

        let mut plan = Plan::builder();
        let halves: Vec<_> = (0..2)
            .map(|half| plan.task(format!("half-{half}"), &GROW, LIMIT / 2))
            .collect();
        let join = plan.task("join", &call::<Vec<String>, String>("echo"), halves);
        let run = runtime.submit_plan(plan.output::<String>(join)?).await?;
        let why = failure(within(run.result()).await);
        assert_eq!(why.kind, FailureKind::TooLarge);
        assert_eq!(why.task.as_deref(), Some("join"));
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_result_over_the_limit_fails_the_run_and_says_how_large_it_is() -> Result<(), Error> {
    let runtime = runtime(Dispatch::LocalOnly, &Count::default()).await?;
    let mut plan = Plan::builder();
    let halves: Vec<_> = (0..2)
        .map(|half| plan.task(format!("half-{half}"), &GROW, LIMIT / 2))
        .collect();
    let run = runtime
        .submit_plan(plan.aggregate(collect_all(), halves)?)
        .await?;
    let why = failure(within(run.result()).await);
    assert_eq!(why.kind, FailureKind::TooLarge);
    assert!(why.message.contains("2007"), "{why}");
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_request_over_the_limit_is_answered_with_the_reason() -> Result<(), Error> {
    let runtime = runtime(Dispatch::LocalOnly, &Count::default()).await?;
    let large = runtime.request(&ECHO, "x".repeat(LIMIT));
    let error = within(large.into_future()).await.expect_err("too large");
    assert_eq!(
        error.failure().expect("a failure").kind,
        FailureKind::TooLarge
    );
    let large = runtime.request(&GROW, LIMIT);
    let error = within(large.into_future()).await.expect_err("too large");
    assert_eq!(
        error.failure().expect("a failure").kind,
        FailureKind::TooLarge
    );
    assert_eq!(runtime.request(&ECHO, "x".to_owned()).await?, "x");
    runtime.shutdown().await
}
