//! Capabilities that nobody offers, graphs with cycles, values of the wrong shape.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Error, ErrorKind, FailureKind, TaskState};

use crate::stage::{Count, Shared, chain, failure, follow, within};

const DOUBLE: Call<u64, u64> = Call::new("double");
const NAME: Call<u64, String> = Call::new("name");
const NOBODY: Call<u64, u64> = Call::new("nobody");

async fn double(x: u64) -> Result<u64, AgentError> {
    Ok(x * 2)
}

async fn name(x: u64) -> Result<String, AgentError> {
    Ok(format!("number {x}"))
}

async fn runtime() -> Result<Runtime, Error> {
    Runtime::builder()
        .agent(agent("double", double))
        .agent(agent("name", name))
        .start()
        .await
}

#[tokio::test(start_paused = true)]
async fn an_unknown_capability_costs_only_the_task_that_needs_it() -> Result<(), Error> {
    let runtime = runtime().await?;
    let mut plan = Plan::builder();
    let known = plan.task("known", &DOUBLE, 2);
    let unknown = plan.task("unknown", &NOBODY, 3);
    plan.configure(&unknown, |task| task.deadline(Duration::from_secs(5)));
    let plan = plan.aggregate(collect_succeeded(), [known, unknown])?;
    let run = runtime.submit_plan(plan).await?;
    assert_eq!(within(run.result()).await?, [4]);
    let events = follow(&run).await?;
    let told = events
        .iter()
        .any(|event| matches!(&event.kind, RunEventKind::Unserved(task) if task.path == "unknown"));
    assert!(told, "{events:?}");
    let settled = events.iter().find_map(|event| match &event.kind {
        RunEventKind::Settled(task, state, failure) if task.path == "unknown" => {
            Some((*state, failure.clone()))
        }
        _ => None,
    });
    let (state, failure) = settled.expect("the task has ended");
    assert_eq!(state, TaskState::Failed);
    let failure = failure.expect("it says why");
    assert_eq!(failure.kind, FailureKind::Unserved);
    assert!(
        failure.message.contains("no agent offers `nobody`"),
        "{failure}"
    );
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_capability_that_is_offered_later_is_found_by_what_waits_for_it() -> Result<(), Error> {
    let shared = Shared::new();
    let first = shared.runtime().start().await?;
    let run = first.submit(&DOUBLE, 4).await?;
    let mut events = run.events().await?;
    loop {
        let event = within(events.next()).await?.expect("the run goes on");
        if let RunEventKind::Unserved(task) = event.kind {
            assert_eq!(task.capability, "double");
            break;
        }
    }
    let second = shared
        .runtime()
        .worker_only()
        .agent(agent("double", double))
        .start()
        .await?;
    assert_eq!(within(run.result()).await?, 8);
    second.shutdown().await?;
    first.shutdown().await
}

#[tokio::test]
async fn a_name_that_can_be_no_capability_is_refused_at_submission() -> Result<(), Error> {
    let runtime = runtime().await?;
    let error = runtime
        .submit(&call::<u64, u64>("no such thing!"), 1)
        .await
        .expect_err("it is no name");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("`no such thing!`"), "{error}");
    assert_eq!(runtime.run(&DOUBLE, 1).await?, 2);
    runtime.shutdown().await
}

#[tokio::test]
async fn a_cycle_is_refused_with_its_path_before_anything_runs() -> Result<(), Error> {
    let calls = Count::default();
    let counted = calls.clone();
    let runtime = Runtime::builder()
        .agent(agent("double", move |x: u64| {
            counted.add();
            double(x)
        }))
        .start()
        .await?;
    let mut plan = Plan::builder();
    let free = plan.task("free", &DOUBLE, 1);
    let first = plan.task("first", &DOUBLE, 1);
    let second = plan.task("second", &DOUBLE, &first);
    let third = plan.task("third", &DOUBLE, &second);
    plan.after(&first, &third);
    let plan: Plan<u64> = plan.output(free)?;
    let error = runtime.submit_plan(plan).await.expect_err("it has a cycle");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let text = chain(&error);
    for key in ["first", "second", "third"] {
        assert!(text.contains(key), "{text}");
    }
    assert!(!text.contains("free"), "{text}");
    assert_eq!(calls.get(), 0);
    assert!(runtime.runs(Default::default()).await?.is_empty());
    assert_eq!(runtime.run(&DOUBLE, 21).await?, 42);
    runtime.shutdown().await
}

async fn circular(_: TaskContext, x: u64) -> Result<Plan<u64>, AgentError> {
    let mut plan = Plan::builder();
    let egg = plan.task("egg", &DOUBLE, x);
    let hen = plan.task("hen", &DOUBLE, &egg);
    plan.after(&egg, &hen);
    Ok(plan.output(hen)?)
}

#[tokio::test(start_paused = true)]
async fn a_cycle_in_an_orchestrators_answer_fails_its_task_alone_and_at_once() -> Result<(), Error>
{
    let runtime = Runtime::builder()
        .agent(agent("double", double))
        .orchestrator(orchestrator("circular", circular))
        .start()
        .await?;
    let mut plan = Plan::builder();
    let bad = plan.task("bad", &call::<u64, u64>("circular"), 1);
    let good = plan.task("good", &DOUBLE, 5);
    let plan = plan.aggregate(collect_succeeded(), [bad, good])?;
    let run = runtime.submit_plan(plan).await?;
    assert_eq!(within(run.result()).await?, [10]);
    let report = run.report().await?;
    assert_eq!(report.tasks[0].attempts, 1, "no other answer will come");
    let why = follow(&run)
        .await?
        .into_iter()
        .find_map(|event| match event.kind {
            RunEventKind::Settled(task, TaskState::Failed, failure) if task.path == "bad" => {
                failure
            }
            _ => None,
        });
    let why = why.expect("the orchestrator's task failed");
    assert_eq!(why.kind, FailureKind::InvalidPlan);
    let text = why.to_string();
    assert!(text.contains("egg") && text.contains("hen"), "{text}");
    runtime.shutdown().await
}

#[tokio::test]
async fn an_input_of_the_wrong_shape_is_refused_at_submission() -> Result<(), Error> {
    let runtime = runtime().await?;
    let wrong: Call<String, u64> = call("double");
    let error = runtime
        .submit(&wrong, "two".to_owned())
        .await
        .expect_err("a text is no number");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let failure = error.failure().expect("it says what is wrong");
    assert_eq!(failure.kind, FailureKind::InvalidInput);
    assert_eq!(failure.task.as_deref(), Some("double"));
    assert!(failure.message.contains("expected u64"), "{failure}");
    assert!(runtime.runs(Default::default()).await?.is_empty());
    assert_eq!(runtime.run(&DOUBLE, 1).await?, 2);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn an_output_of_the_wrong_shape_fails_who_takes_it_and_is_not_tried_again()
-> Result<(), Error> {
    let runtime = runtime().await?;
    let mut plan = Plan::builder();
    // The plan says that a name is a number; only the agents know better.
    let text = plan.task("text", &call::<u64, u64>(NAME.requirement()), 1);
    let wrong = plan.task("wrong", &DOUBLE, &text);
    let good = plan.task("good", &DOUBLE, 4);
    let plan = plan.aggregate(collect_succeeded(), [wrong, good])?;
    let run = runtime.submit_plan(plan).await?;
    assert_eq!(within(run.result()).await?, [8]);
    let report = run.report().await?;
    assert_eq!(report.tasks[1].state, TaskState::Failed);
    assert_eq!(report.tasks[1].attempts, 1);
    let mut plan = Plan::builder();
    let text = plan.task("text", &call::<u64, u64>(NAME.requirement()), 1);
    let wrong = plan.task("wrong", &DOUBLE, text);
    let run = runtime.submit_plan(plan.output::<u64>(wrong)?).await?;
    let why = failure(within(run.result()).await);
    assert_eq!(why.kind, FailureKind::InvalidInput);
    assert_eq!(why.task.as_deref(), Some("wrong"));
    assert!(why.message.contains("expected u64"), "{why}");
    runtime.shutdown().await
}

#[tokio::test]
async fn a_result_of_another_type_than_expected_is_told_and_the_run_stays() -> Result<(), Error> {
    let runtime = runtime().await?;
    let run = runtime.submit(&call::<u64, u64>("name"), 7).await?;
    let error = run.result().await.expect_err("a name is no number");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let again = runtime.attach::<String>(run.id());
    assert_eq!(again.result().await?, "number 7");
    runtime.shutdown().await
}
