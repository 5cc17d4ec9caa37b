//! A graph that changes while its run is under way.

#[path = "patch/owner.rs"]
mod owner;
#[path = "patch/refused.rs"]
mod refused;

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Error, FailureKind, Patch, Plan, RunState, RuntimeBuilder, TaskState};

use crate::stage::{Count, Gate, Shared, chain, failure, within};
use crate::until;

const HELD: Call<u64, u64> = Call::new("held");
const ADD: Call<u64, u64> = Call::new("add");
const SUM: Call<Vec<u64>, u64> = Call::new("sum");
const BREAK: Call<u64, u64> = Call::new("break");
const NOBODY: Call<u64, u64> = Call::new("nobody");

/// A runtime with agents that add one, of which one kind waits at the gate, that add up, and that fail until mended.
fn staffed(shared: &Shared, gate: &Gate, mended: &Count) -> RuntimeBuilder {
    let (gate, mended) = (gate.clone(), mended.clone());
    let held = agent("held", move |x: u64| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            Ok::<_, AgentError>(x + 1)
        }
    });
    let broken = agent("break", move |x: u64| {
        let broken = mended.get() == 0;
        async move {
            match broken {
                true => Err(AgentError::permanent("broken")),
                false => Ok(x + 1),
            }
        }
    });
    shared
        .runtime()
        .agent(held)
        .agent(broken)
        .agent(agent("add", async |x: u64| Ok::<_, AgentError>(x + 1)))
        .agent(agent("sum", async |all: Vec<u64>| {
            Ok::<_, AgentError>(all.iter().sum::<u64>())
        }))
}

/// `a`, which is held, then `b`, then `c`.
fn three_steps() -> Result<Plan<u64>, Error> {
    let mut plan = Plan::builder();
    let a = plan.task("a", &HELD, 1);
    let b = plan.task("b", &ADD, a);
    let c = plan.task("c", &ADD, b);
    plan.output(c)
}

fn settled(path: &str) -> impl Fn(&RunEventKind) -> bool + '_ {
    move |kind| matches!(kind, RunEventKind::Settled(task, ..) if task.path == path)
}

async fn task<O>(run: &RunHandle<O>, path: &str) -> Result<coditect_core::TaskReport, Error> {
    let report = run.report().await?;
    let found = report.tasks.into_iter().find(|task| task.path == path);
    Ok(found.expect("the run has the task"))
}

#[tokio::test(start_paused = true)]
async fn tasks_join_behind_those_that_have_ended_and_those_that_run() -> Result<(), Error> {
    let gate = Gate::new();
    let runtime = staffed(&Shared::new(), &gate, &Count::default());
    let runtime = runtime.start().await?;
    let mut plan = Plan::builder();
    let done = plan.task("done", &ADD, 1);
    let held = plan.task("held", &HELD, 1);
    let total = plan.task("total", &SUM, vec![done, held]);
    let run = runtime.submit_plan(plan.output(total)?).await?;
    gate.arrived(1).await;
    let mut events = run.events().await?;
    until(&mut events, settled("done")).await?;

    let mut patch = Patch::new();
    let done = patch.existing("done", &ADD);
    let held = patch.existing("held", &HELD);
    let more = patch.task("more", &ADD, &done);
    let below = patch.task("below", &ADD, &held);
    patch.replace("total", &SUM, vec![done, held, more, below]);
    assert_eq!(run.revision().await?, 0);
    assert_eq!(run.patch(&patch).await?, 1);
    until(&mut events, |kind| matches!(kind, RunEventKind::Patched(1))).await?;
    // What has joined does not wait for what runs, where it need not.
    until(&mut events, settled("more")).await?;
    gate.open(1);
    assert_eq!(within(run.result()).await?, 2 + 2 + 3 + 3);
    let report = run.report().await?;
    assert_eq!((report.revision, report.tasks.len()), (1, 5));
    assert_eq!(task(&run, "total").await?.upstream.len(), 4);
    assert!(report.tasks.iter().all(|task| task.attempts == 1));
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_paused_run_is_patched_and_what_is_removed_never_runs() -> Result<(), Error> {
    let gate = Gate::new();
    let runtime = staffed(&Shared::new(), &gate, &Count::default());
    let runtime = runtime.start().await?;
    let run = runtime.submit_plan(three_steps()?).await?;
    gate.arrived(1).await;
    run.pause("look at it").await?;
    let mut patch = Patch::new();
    let a = patch.existing("a", &HELD);
    patch.replace("c", &ADD, a);
    patch.remove("b");
    assert_eq!(within(run.patch(&patch)).await?, 1);
    assert_eq!(run.state().await?, RunState::Paused);
    let b = task(&run, "b").await?;
    assert_eq!(
        (b.state, b.removed, b.attempts),
        (TaskState::Cancelled, true, 0)
    );
    gate.open(1);
    run.resume().await?;
    assert_eq!(within(run.result()).await?, 3);
    assert_eq!(run.state().await?, RunState::Succeeded);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn what_hangs_on_a_removed_task_goes_with_it_where_that_is_said() -> Result<(), Error> {
    let gate = Gate::new();
    let runtime = staffed(&Shared::new(), &gate, &Count::default());
    let runtime = runtime.start().await?;
    let mut plan = Plan::builder();
    let a = plan.task("a", &HELD, 1);
    let side = plan.task("side", &ADD, &a);
    let more = plan.task("more", &ADD, &side);
    plan.task("most", &ADD, more);
    let run = runtime.submit_plan(plan.output(a)?).await?;
    gate.arrived(1).await;
    let mut patch = Patch::new();
    patch.remove_with_downstream("side");
    run.patch(&patch).await?;
    gate.open(1);
    assert_eq!(within(run.result()).await?, 2);
    let report = run.report().await?;
    assert_eq!(report.tasks.iter().filter(|task| task.removed).count(), 3);
    assert_eq!(report.attempts, 1);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn dependencies_come_and_go() -> Result<(), Error> {
    let gate = Gate::new();
    let runtime = staffed(&Shared::new(), &gate, &Count::default());
    let runtime = runtime.start().await?;
    let mut plan = Plan::builder();
    let first = plan.task("first", &HELD, 1);
    let other = plan.task("other", &NOBODY, 1);
    let last = plan.task("last", &ADD, 1);
    plan.after(&last, &first);
    let end = plan.task("end", &SUM, vec![first, other, last]);
    let run = runtime.submit_plan(plan.output(end)?).await?;
    gate.arrived(1).await;

    let mut patch = Patch::new();
    let (first, other) = (
        patch.existing("first", &HELD),
        patch.existing("other", &NOBODY),
    );
    let last = patch.existing("last", &ADD);
    patch.after(&last, &other).not_after(&last, &first);
    run.patch(&patch).await?;
    let other_id = runtime_task(&run, "other").await?;
    assert_eq!(task(&run, "last").await?.upstream, [other_id]);

    // Nobody offers what `other` needs, so that nothing but a patch helps.
    let mut patch = Patch::new();
    let (other, last) = (
        patch.existing("other", &NOBODY),
        patch.existing("last", &ADD),
    );
    patch.not_after(&last, &other);
    let first = patch.existing("first", &HELD);
    patch.replace("end", &SUM, vec![first, last]);
    patch.remove("other");
    assert_eq!(run.patch(&patch).await?, 2);
    let mut events = run.events().await?;
    until(&mut events, settled("last")).await?;
    gate.open(1);
    assert_eq!(within(run.result()).await?, 4);
    runtime.shutdown().await
}

async fn runtime_task<O>(run: &RunHandle<O>, path: &str) -> Result<coditect_core::TaskId, Error> {
    let report = run.report().await?;
    let at = report.tasks.iter().position(|task| task.path == path);
    let at = at.expect("the run has the task");
    Ok(coditect_core::TaskId::new(u32::try_from(at).expect("few")))
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_comes_with_a_patch_counts_from_there() -> Result<(), Error> {
    let gate = Gate::new();
    let runtime = staffed(&Shared::new(), &gate, &Count::default());
    let runtime = runtime.start().await?;
    let run = runtime.submit_plan(three_steps()?).await?;
    gate.arrived(1).await;
    tokio::time::advance(Duration::from_secs(100)).await;
    let mut patch = Patch::new();
    let late = patch.task("late", &NOBODY, 1);
    patch.configure(&late, |task| task.deadline(Duration::from_secs(60)));
    run.patch(&patch).await?;
    let patched = tokio::time::Instant::now();
    let mut events = run.events().await?;
    let ended = until(&mut events, settled("late")).await?;
    assert!(patched.elapsed() >= Duration::from_secs(60));
    let RunEventKind::Settled(_, TaskState::Failed, Some(why)) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(why.kind, FailureKind::Unserved);
    gate.open(1);
    within(run.settled()).await?;
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn the_plan_of_a_task_is_patched_by_its_path() -> Result<(), Error> {
    let gate = Gate::new();
    let split = orchestrator("split", async |_context: TaskContext, _: u64| {
        let mut plan = Plan::builder();
        let a = plan.task("a", &HELD, 1);
        let b = plan.task("b", &ADD, a);
        plan.output::<u64>(b)
    });
    let runtime = staffed(&Shared::new(), &gate, &Count::default());
    let runtime = runtime.orchestrator(split).start().await?;
    const SPLIT: Call<u64, u64> = Call::new("split");
    let mut plan = Plan::builder();
    let one = plan.task("one", &SPLIT, 1);
    let two = plan.task("two", &SPLIT, 1);
    let end = plan.task("end", &SUM, vec![one, two]);
    let run = runtime.submit_plan(plan.output(end)?).await?;
    gate.arrived(2).await;

    // Both grow in turns, so that neither stands together.
    for (path, key, times) in [("one", "x", 3), ("two", "x", 5), ("one", "y", 7)] {
        let mut patch = Patch::within(path);
        let mut last = patch.existing("a", &HELD);
        for time in 0..times {
            last = patch.task(format!("{key}{time}"), &ADD, last);
        }
        patch.replace("b", &ADD, last);
        run.patch(&patch).await?;
    }
    gate.open(2);
    assert_eq!(within(run.result()).await?, (2 + 7 + 1) + (2 + 5 + 1));
    let report = run.report().await?;
    assert_eq!(report.revision, 3);
    let parent = Some(coditect_core::TaskId::new(0));
    let of_one = report.tasks.iter().filter(|task| task.parent == parent);
    assert_eq!(of_one.count(), 2 + 3 + 7);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_retried_run_goes_on_with_the_patched_graph() -> Result<(), Error> {
    let (gate, mended) = (Gate::new(), Count::default());
    let runtime = staffed(&Shared::new(), &gate, &mended).start().await?;
    let run = runtime.submit_plan(three_steps()?).await?;
    gate.arrived(1).await;
    let mut patch = Patch::new();
    let a = patch.existing("a", &HELD);
    let broken = patch.task("broken", &BREAK, a);
    patch.replace("c", &ADD, broken);
    patch.remove("b");
    run.patch(&patch).await?;
    gate.open(1);
    let why = failure(within(run.result()).await);
    assert_eq!(why.to_string(), "task `broken`: broken");
    let refused = run.patch(&Patch::new()).await.unwrap_err();
    assert_eq!(chain(&refused), "the run has ended");

    mended.add();
    run.retry().await?;
    assert_eq!(within(run.result()).await?, 4);
    let (a, b) = (task(&run, "a").await?, task(&run, "b").await?);
    assert_eq!((a.attempts, b.attempts, b.removed), (1, 0, true));
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn what_joins_later_is_no_member_of_an_aggregation() -> Result<(), Error> {
    let gate = Gate::new();
    let runtime = staffed(&Shared::new(), &gate, &Count::default());
    let runtime = runtime.start().await?;
    let mut plan = Plan::builder();
    let members = [1, 2].map(|x| plan.task(format!("m{x}"), &HELD, x));
    let run = runtime
        .submit_plan(plan.aggregate(collect_all(), members)?)
        .await?;
    gate.arrived(2).await;
    let mut patch = Patch::new();
    patch.task("besides", &ADD, 7);
    run.patch(&patch).await?;
    gate.open(2);
    let all: Vec<u64> = within(run.result()).await?;
    assert_eq!(all, [2, 3]);
    runtime.shutdown().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_tasks_join_at_once() -> Result<(), Error> {
    let gate = Gate::new();
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("file:{}", folder.path().join("runs.redb").display());
    let held = gate.clone();
    let held = agent("held", move |x: u64| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            Ok::<_, AgentError>(x + 1)
        }
    });
    let sum = agent("sum", async |all: Vec<u64>| {
        Ok::<_, AgentError>(all.len() as u64)
    });
    let add = agent("add", async |x: u64| Ok::<_, AgentError>(x + 1));
    let runtime = Runtime::builder().state(url.as_str());
    let runtime = runtime.agent(held).agent(sum).agent(add).start().await?;
    let mut plan = Plan::builder();
    let first = plan.task("first", &HELD, 1);
    let total = plan.task("total", &SUM, vec![first]);
    let run = runtime.submit_plan(plan.output(total)?).await?;
    let mut patch = Patch::new();
    let first = patch.existing("first", &HELD);
    // A third in a chain, and the others beside each other.
    let mut all = vec![patch.task("task 0", &ADD, &first)];
    for number in 1..10_000 {
        let upstream = match number % 3 {
            0 => all[number - 1].clone(),
            _ => first.clone(),
        };
        all.push(patch.task(format!("task {number}"), &ADD, upstream));
    }
    patch.replace("total", &SUM, all);
    assert_eq!(run.patch(&patch).await?, 1);
    gate.open(1);
    assert_eq!(run.result().await?, 10_000);
    runtime.shutdown().await
}
