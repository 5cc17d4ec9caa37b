//! What a failed task does to the others, by the policy of its plan.

use coditect_core::prelude::*;
use coditect_core::{Error, FailureKind, RunState, TaskState};

use crate::stage::{Count, Gate, failure, follow, within};

const OK: Call<u64, u64> = Call::new("ok");
const BAD: Call<u64, u64> = Call::new("bad");
const HELD: Call<u64, u64> = Call::new("held");
const TRIGGER: Call<u64, u64> = Call::new("trigger");
const MAYBE: Call<Option<u64>, String> = Call::new("maybe");
const SUM: Call<Vec<u64>, u64> = Call::new("sum");

async fn plain() -> Result<Runtime, Error> {
    runtime(&Gate::new(), &Gate::new(), &Count::default()).await
}

async fn runtime(gate: &Gate, trigger: &Gate, stopped: &Count) -> Result<Runtime, Error> {
    let (gate, trigger, stopped) = (gate.clone(), trigger.clone(), stopped.clone());
    Runtime::builder()
        .agent(agent("ok", async |x: u64| Ok::<_, AgentError>(x)))
        .agent(agent("bad", async |_: u64| {
            Err::<u64, _>(AgentError::permanent("rotten"))
        }))
        .agent(agent("held", move |context: TaskContext, x: u64| {
            let (gate, stopped) = (gate.clone(), stopped.clone());
            async move {
                tokio::select! {
                    () = gate.pass() => Ok::<_, AgentError>(x),
                    () = context.cancelled() => {
                        stopped.add();
                        Err(AgentError::retryable("stopped"))
                    }
                }
            }
        }))
        .agent(agent("trigger", move |x: u64| {
            let trigger = trigger.clone();
            async move {
                trigger.pass().await;
                Ok::<_, AgentError>(x)
            }
        }))
        .agent(agent("maybe", async |x: Option<u64>| {
            Ok::<_, AgentError>(format!("{x:?}"))
        }))
        .agent(agent("sum", async |all: Vec<u64>| {
            Ok::<_, AgentError>(all.into_iter().sum::<u64>())
        }))
        .start()
        .await
}

async fn states<O>(run: &RunHandle<O>) -> Result<Vec<TaskState>, Error> {
    let report = run.report().await?;
    Ok(report.tasks.iter().map(|task| task.state).collect())
}

#[tokio::test(start_paused = true)]
async fn fail_fast_stops_what_runs_and_never_begins_the_rest() -> Result<(), Error> {
    let (gate, stopped) = (Gate::new(), Count::default());
    let trigger = Gate::new();
    let runtime = runtime(&gate, &trigger, &stopped).await?;
    let mut plan = Plan::builder();
    let held = plan.task("held", &HELD, 1);
    let later = plan.task("later", &OK, &held);
    let trigger_task = plan.task("trigger", &TRIGGER, 2);
    let bad = plan.task("bad", &BAD, &trigger_task);
    let plan = plan
        .output::<(u64, u64)>((later, bad))?
        .on_failure(FailurePolicy::FailFast);
    let run = runtime.submit_plan(plan).await?;
    gate.arrived(1).await;
    trigger.arrived(1).await;
    trigger.open(1);
    let why = failure(within(run.result()).await);
    assert_eq!(why.message, "rotten");
    assert_eq!(why.task.as_deref(), Some("bad"));
    assert_eq!(
        states(&run).await?,
        [
            TaskState::Cancelled,
            TaskState::Cancelled,
            TaskState::Succeeded,
            TaskState::Failed
        ]
    );
    runtime.shutdown().await?;
    assert_eq!(stopped.get(), 1, "its token fired");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn skip_leaves_out_what_hangs_on_the_failure_and_goes_on_with_the_rest() -> Result<(), Error>
{
    let runtime = plain().await?;
    let mut plan = Plan::builder();
    let bad = plan.task("bad", &BAD, 1);
    let skipped = plan.task("skipped", &OK, &bad);
    let further = plan.task("further", &OK, &skipped);
    let good = plan.task("good", &OK, 2);
    let plan = plan
        .output::<(u64, u64)>((further, good))?
        .on_failure(FailurePolicy::Skip);
    let run = runtime.submit_plan(plan).await?;
    let why = failure(within(run.result()).await);
    assert_eq!(
        (why.kind, why.task.as_deref()),
        (FailureKind::Permanent, Some("bad"))
    );
    assert_eq!(
        states(&run).await?,
        [
            TaskState::Failed,
            TaskState::Skipped,
            TaskState::Skipped,
            TaskState::Succeeded
        ]
    );
    let skipped = follow(&run)
        .await?
        .into_iter()
        .find_map(|event| match event.kind {
            RunEventKind::Settled(info, TaskState::Skipped, failure) if info.path == "skipped" => {
                failure
            }
            _ => None,
        });
    assert_eq!(skipped.expect("it says why").kind, FailureKind::Upstream);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_the_result_does_not_need_does_not_fail_the_run() -> Result<(), Error> {
    let runtime = plain().await?;
    let mut plan = Plan::builder();
    plan.task("bad", &BAD, 1);
    let good = plan.task("good", &OK, 2);
    let run = runtime.submit_plan(plan.output::<u64>(good)?).await?;
    assert_eq!(within(run.result()).await?, 2);
    assert_eq!(run.state().await?, RunState::Succeeded);
    assert_eq!(
        states(&run).await?,
        [TaskState::Failed, TaskState::Succeeded]
    );
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn continue_gives_downstreams_what_there_is() -> Result<(), Error> {
    let runtime = plain().await?;
    let mut plan = Plan::builder();
    let bad = plan.task("bad", &BAD, 1);
    let good = plan.task("good", &OK, 2);
    let sum = plan.task("sum", &SUM, vec![bad.clone(), good.clone()]);
    let maybe = plan.task("maybe", &call::<u64, String>(MAYBE.requirement()), bad);
    let plan = plan
        .output::<(u64, String)>((sum, maybe))?
        .on_failure(FailurePolicy::Continue);
    let run = runtime.submit_plan(plan).await?;
    assert_eq!(within(run.result()).await?, (2, "None".to_owned()));
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_task_may_run_after_the_failure_of_its_upstreams() -> Result<(), Error> {
    let runtime = plain().await?;
    let mut plan = Plan::builder();
    let bad = plan.task("bad", &BAD, 1);
    let skipped = plan.task("skipped", &OK, &bad);
    let good = plan.task("good", &OK, 2);
    let sum = plan.task("sum", &SUM, vec![bad, skipped, good]);
    plan.configure(&sum, |task| task.run_after_failure());
    let run = runtime.submit_plan(plan.output::<u64>(sum)?).await?;
    assert_eq!(within(run.result()).await?, 2);
    assert_eq!(states(&run).await?[3], TaskState::Succeeded);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn the_policy_of_a_nested_plan_ends_at_its_border() -> Result<(), Error> {
    let (gate, stopped) = (Gate::new(), Count::default());
    let (held, counted) = (gate.clone(), stopped.clone());
    let hold = move |context: TaskContext, x: u64| {
        let (gate, stopped) = (held.clone(), counted.clone());
        async move {
            tokio::select! {
                () = gate.pass() => Ok(x),
                () = context.cancelled() => {
                    stopped.add();
                    Err(AgentError::permanent("stopped"))
                }
            }
        }
    };
    let inner = async |_: TaskContext, x: u64| {
        let mut plan = Plan::builder();
        let held = plan.task("held", &HELD, x);
        let bad = plan.task("bad", &BAD, x);
        let plan = plan.output::<(u64, u64)>((held, bad))?;
        Ok::<_, Error>(plan.on_failure(FailurePolicy::FailFast))
    };
    let runtime = Runtime::builder()
        .agent(agent("held", hold))
        .agent(agent("bad", async |_: u64| {
            Err::<u64, _>(AgentError::permanent("rotten"))
        }))
        .orchestrator(orchestrator("inner", inner))
        .start()
        .await?;
    let mut plan = Plan::builder();
    let outer = plan.task("outer", &HELD, 9);
    let inner = plan.task("inner", &call::<u64, (u64, u64)>("inner"), 1);
    let after = plan.task("after", &HELD, 3);
    plan.after(&after, &inner);
    plan.configure(&after, |task| task.run_after_failure());
    let run = runtime
        .submit_plan(plan.output::<(u64, u64)>((outer, after))?)
        .await?;
    // The outer one, the inner one if it was begun before it was stopped, and the one that comes after.
    let mut events = run.events().await?;
    while let Some(event) = within(events.next()).await? {
        if matches!(&event.kind, RunEventKind::Dispatched(info) if info.path == "after") {
            break;
        }
    }
    gate.open(2);
    assert_eq!(
        within(run.result()).await?,
        (9, 3),
        "what is outside goes on"
    );
    let states = states(&run).await?;
    assert_eq!(states[1], TaskState::Failed);
    assert_eq!(states[3..], [TaskState::Cancelled, TaskState::Failed]);
    runtime.shutdown().await
}
