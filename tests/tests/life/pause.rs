//! A run that is held up, and what goes first.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Dispatch, Error, FailureKind, RunState, TaskState};

use crate::stage::{Count, Gate, Notes, Shared, failure, within};
use crate::until;

const FIRST: Call<u64, u64> = Call::new("first");
const THEN: Call<u64, u64> = Call::new("then");
const NOTE: Call<u64, u64> = Call::new("note");

fn first(gate: &Gate) -> impl Agent + use<> {
    let gate = gate.clone();
    agent("first", move |x: u64| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            Ok::<_, AgentError>(x + 1)
        }
    })
}

fn then(calls: &Count) -> impl Agent + use<> {
    let calls = calls.clone();
    agent("then", move |x: u64| {
        calls.add();
        async move { Ok::<_, AgentError>(x + 1) }
    })
}

fn two_steps() -> Result<Plan<u64>, Error> {
    let mut plan = Plan::builder();
    let one = plan.task("one", &FIRST, 1);
    let two = plan.task("two", &THEN, one);
    plan.output(two)
}

#[tokio::test(start_paused = true)]
async fn a_paused_run_waits_also_for_the_next_owner_until_it_is_resumed() -> Result<(), Error> {
    let (shared, gate, calls) = (Shared::new(), Gate::new(), Count::default());
    let runtime = shared.runtime().agent(first(&gate)).agent(then(&calls));
    let runtime = runtime.start().await?;
    let run = runtime.submit_plan(two_steps()?).await?;
    let mut events = run.events().await?;
    gate.arrived(1).await;
    run.pause("an incident").await?;
    run.pause("said twice").await?;
    let paused = until(&mut events, |kind| matches!(kind, RunEventKind::Paused(_))).await?;
    assert!(matches!(paused, RunEventKind::Paused(why) if &*why == "an incident"));

    // What runs goes on, and what it frees waits.
    gate.open(1);
    until(
        &mut events,
        |kind| matches!(kind, RunEventKind::Ready(task) if task.path == "two"),
    )
    .await?;
    assert_eq!(run.state().await?, RunState::Paused);
    runtime.shutdown().await?;

    let runtime = shared.runtime().agent(first(&gate)).agent(then(&calls));
    let runtime = runtime.start().await?;
    let run = runtime.attach::<u64>(run.id());
    // Another run comes through meanwhile, on the same partitions and slots.
    gate.open(1);
    assert_eq!(
        within(runtime.submit_plan(two_steps()?).await?.result()).await?,
        3
    );
    assert_eq!(calls.get(), 1);
    assert_eq!(run.state().await?, RunState::Paused);

    run.resume().await?;
    run.resume().await?;
    assert_eq!(within(run.result()).await?, 3);
    assert_eq!(calls.get(), 2);
    run.pause("too late").await?;
    let mut events = run.events().await?;
    let (mut pauses, mut resumptions) = (0, 0);
    while let Some(event) = within(events.next()).await? {
        pauses += usize::from(matches!(event.kind, RunEventKind::Paused(_)));
        resumptions += usize::from(matches!(event.kind, RunEventKind::Resumed));
    }
    assert_eq!((pauses, resumptions), (1, 1), "to ask twice is to ask once");
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_was_asked_for_while_nobody_coordinates_comes_before_the_first_task()
-> Result<(), Error> {
    let (shared, calls) = (Shared::new(), Count::default());
    let worker = shared.runtime().agent(then(&calls)).worker_only();
    let worker = worker.start().await?;
    let run = worker.submit(&THEN, 1).await?;
    run.pause("not yet").await?;
    let coordinator = shared.runtime().start().await?;
    let mut events = run.events().await?;
    until(&mut events, |kind| matches!(kind, RunEventKind::Paused(_))).await?;
    assert_eq!(coordinator.run(&THEN, 5).await?, 6);
    assert_eq!(calls.get(), 1, "only that of the other run");
    run.resume().await?;
    assert_eq!(within(run.result()).await?, 2);
    worker.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_pause_stops_no_clock_and_no_cancel() -> Result<(), Error> {
    let calls = Count::default();
    let runtime = Runtime::builder().agent(then(&calls)).start().await?;
    // Where nobody serves the first step, nothing can run before the pause.
    let minute = Duration::from_secs(60);
    let run = runtime.submit_plan(two_steps()?).deadline(minute).await?;
    run.pause("for ever").await?;
    let late = failure(within(run.result()).await);
    assert!(
        matches!(
            late.kind,
            FailureKind::DeadlineExceeded | FailureKind::Unserved
        ),
        "{late:?}"
    );

    let run = runtime.submit_plan(two_steps()?).await?;
    run.pause("for ever").await?;
    run.cancel("enough").await?;
    assert_eq!(
        failure(within(run.result()).await).kind,
        FailureKind::Cancelled
    );
    assert_eq!(calls.get(), 0);
    runtime.shutdown().await
}

/// An agent that works on one task at a time and notes which.
fn note(gate: &Gate, notes: &Notes<u64>) -> impl Agent + use<> {
    let (gate, notes) = (gate.clone(), notes.clone());
    let note = move |x: u64| {
        let (gate, notes) = (gate.clone(), notes.clone());
        async move {
            notes.push(x);
            gate.pass().await;
            Ok::<_, AgentError>(x)
        }
    };
    agent("note", note).with_concurrency(1)
}

#[tokio::test(start_paused = true)]
async fn priorities_change_while_tasks_wait() -> Result<(), Error> {
    let (gate, notes) = (Gate::new(), Notes::new());
    // One partition, so that one owner decides what goes first.
    let shared = Shared::new().with_partitions(1);
    let runtime = shared.runtime().agent(note(&gate, &notes));
    let runtime = runtime.dispatch(Dispatch::LocalOnly).start().await?;
    let plan = |from: u64| {
        let mut plan = Plan::builder();
        let tasks: Vec<_> = (from..from + 3)
            .map(|x| plan.task(x.to_string(), &NOTE, x))
            .collect();
        plan.output::<Vec<u64>>(tasks)
    };
    let low = runtime.submit_plan(plan(0)?).await?;
    gate.arrived(1).await;
    let high = runtime.submit_plan(plan(10)?).await?;
    let mut events = high.events().await?;
    until(
        &mut events,
        |kind| matches!(kind, RunEventKind::Ready(task) if task.path == "12"),
    )
    .await?;
    high.set_priority(Priority::P0).await?;
    high.set_task_priority("10", Priority::P2).await?;
    high.pause("to see both commands carried out").await?;
    until(&mut events, |kind| matches!(kind, RunEventKind::Paused(_))).await?;
    high.resume().await?;
    until(&mut events, |kind| matches!(kind, RunEventKind::Resumed)).await?;
    gate.open(6);
    within(low.result()).await?;
    within(high.result()).await?;
    assert_eq!(notes.all()[..3], [0, 11, 12]);
    assert_eq!(notes.all().last(), Some(&10));
    let unknown = high.set_task_priority("nothing", Priority::P0).await;
    assert!(unknown.is_err());
    assert_eq!(high.report().await?.count(TaskState::Succeeded), 3);
    runtime.shutdown().await
}
