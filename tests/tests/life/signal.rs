//! Events from outside, and people who are asked.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Awaited, Error, ErrorKind, FailureKind};

use crate::stage::{Gate, Shared, failure, within};
use crate::until;

const PAID: Signal<u64> = Signal::new("paid");
const DOUBLE: Call<u64, u64> = Call::new("double");
const HELD: Call<u64, u64> = Call::new("held");
const MINUTE: Duration = Duration::from_secs(60);

fn double() -> impl Agent {
    agent("double", async |x: u64| Ok::<_, AgentError>(2 * x))
}

fn held(gate: &Gate) -> impl Agent + use<> {
    let gate = gate.clone();
    agent("held", move |x: u64| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            Ok::<_, AgentError>(x)
        }
    })
}

fn waits(kind: &RunEventKind) -> bool {
    matches!(kind, RunEventKind::Waiting(..))
}

fn paid(wait: impl Into<coditect_core::Wait<u64>>) -> Result<Plan<u64>, Error> {
    let mut plan = Plan::builder();
    let cents = plan.wait("payment", wait);
    let twice = plan.task("twice", &DOUBLE, cents);
    plan.output(twice)
}

#[tokio::test(start_paused = true)]
async fn the_first_signal_counts_whether_it_comes_before_or_after_the_wait() -> Result<(), Error> {
    let gate = Gate::new();
    let runtime = Runtime::builder().agent(double()).agent(held(&gate));
    let runtime = runtime.start().await?;
    let run = runtime.submit_plan(paid(&PAID)?).await?;
    until(&mut run.events().await?, waits).await?;
    let waiting = run.waiting().await?;
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].awaited, Awaited::Signal("paid".into()));
    assert_eq!((waiting[0].until, &*waiting[0].subject), (None, "null"));
    run.signal(&Signal::new("another"), &9_u64).await?;
    run.signal(&PAID, &21).await?;
    run.signal(&PAID, &1).await?;
    assert_eq!(within(run.result()).await?, 42);
    assert!(run.waiting().await?.is_empty());

    let mut plan = Plan::builder();
    let first = plan.task("first", &HELD, 1);
    let (one, two) = (plan.wait("one", &PAID), plan.wait("two", &PAID));
    plan.after(&one, &first).after(&two, &first);
    let plan: Plan<(u64, u64)> = plan.output((one, two))?;
    let run = runtime.submit_plan(plan).await?;
    gate.arrived(1).await;
    run.signal(&PAID, &7).await?;
    run.signal(&PAID, &8).await?;
    let came = |kind: &RunEventKind| matches!(kind, RunEventKind::Signalled(_));
    until(&mut run.events().await?, came).await?;
    gate.open(1);
    assert_eq!(within(run.result()).await?, (7, 7));
    assert_eq!(run.report().await?.attempts, 1, "a wait is no attempt");
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_by_its_deadline_with_its_default_or_in_failure() -> Result<(), Error> {
    let runtime = Runtime::builder().agent(double()).start().await?;
    let run = runtime
        .submit_plan(paid(PAID.within(MINUTE).or(5))?)
        .await?;
    assert_eq!(within(run.result()).await?, 10);
    let run = runtime.submit_plan(paid(PAID.within(MINUTE))?).await?;
    let late = failure(within(run.result()).await);
    assert_eq!(late.kind, FailureKind::DeadlineExceeded);
    assert_eq!(late.task.as_deref(), Some("payment"));
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_signal_given_while_nobody_coordinates_is_met_by_the_next_owner() -> Result<(), Error> {
    let shared = Shared::new();
    let first = shared.runtime().agent(double()).start().await?;
    let run = first.submit_plan(paid(PAID.within(MINUTE).or(5))?).await?;
    until(&mut run.events().await?, waits).await?;
    let other = first.submit_plan(paid(PAID.within(MINUTE).or(5))?).await?;
    until(&mut other.events().await?, waits).await?;
    first.shutdown().await?;

    let (run, other) = (
        first.attach::<u64>(run.id()),
        first.attach::<u64>(other.id()),
    );
    run.signal(&PAID, &21).await?;
    let second = shared.runtime().agent(double()).start().await?;
    let (run, other) = (
        second.attach::<u64>(run.id()),
        second.attach::<u64>(other.id()),
    );
    assert_eq!(within(run.result()).await?, 42);
    // The other one's time goes on from where it was.
    assert_eq!(within(other.result()).await?, 10);
    second.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_signal_that_does_not_fit_is_refused() -> Result<(), Error> {
    let runtime = Runtime::builder().agent(double()).start().await?;
    let run = runtime.submit_plan(paid(&PAID)?).await?;
    let large: Signal<String> = Signal::named("large");
    let error = run.signal(&large, &"x".repeat(70_000)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    run.cancel("enough").await?;
    assert!(within(run.result()).await.is_err());
    // One that comes after the end changes nothing.
    run.signal(&PAID, &1).await?;
    runtime.shutdown().await
}

fn asks(approval: Approval) -> Result<Plan<u64>, Error> {
    let mut plan = Plan::builder();
    let notes = plan.task("notes", &DOUBLE, 4);
    let ok = plan.approval("ok", approval.about(&notes));
    let release = plan.task("release", &DOUBLE, 21);
    plan.after(&release, &ok);
    plan.output(release)
}

/// Answers with a plan that asks.
async fn asking(_: TaskContext, _: ()) -> Result<Plan<u64>, AgentError> {
    Ok(asks(Approval::new("Go on?"))?)
}

#[tokio::test(start_paused = true)]
async fn a_person_approves_and_that_counts_against_autonomy() -> Result<(), Error> {
    let runtime = Runtime::builder().agent(double());
    let runtime = runtime.orchestrator(orchestrator("asking", asking));
    let runtime = runtime.start().await?;
    let run = runtime.submit(&call::<(), u64>("asking"), ()).await?;
    until(&mut run.events().await?, waits).await?;
    let waiting = &run.waiting().await?[0];
    assert_eq!(waiting.awaited, Awaited::Approval("Go on?".into()));
    assert_eq!((&*waiting.task.path, &*waiting.subject), ("asking/ok", "8"));
    let yes = Decision::approve("ann").comment("fine");
    run.decide("asking/ok", yes).await?;
    run.decide("asking/ok", Decision::reject("bob")).await?;
    assert_eq!(within(run.result()).await?, 42);
    let report = run.report().await?;
    let by_person: Vec<_> = report.tasks.iter().filter(|task| task.by_person).collect();
    assert_eq!(by_person.len(), 1);
    assert_eq!(
        (&*by_person[0].path, by_person[0].attempts),
        ("asking/ok", 0)
    );
    assert!((report.autonomy() - 0.75).abs() < 1e-9);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_rejection_fails_the_task_and_a_retry_asks_again() -> Result<(), Error> {
    let runtime = Runtime::builder().agent(double()).start().await?;
    let run = runtime.submit_plan(asks(Approval::new("Go on?"))?).await?;
    let no = Decision::reject("ann").comment("not today");
    run.decide("ok", no).await?;
    let rejected = failure(within(run.result()).await);
    assert_eq!(rejected.kind, FailureKind::Rejected);
    assert_eq!(
        rejected.to_string(),
        "task `ok`: rejected by ann: not today"
    );

    run.retry().await?;
    let mut events = run.events().await?;
    until(&mut events, |kind| matches!(kind, RunEventKind::Retried)).await?;
    until(&mut events, waits).await?;
    run.decide("ok", Decision::approve("ann")).await?;
    assert_eq!(within(run.result()).await?, 42);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_default_decides_when_nobody_does_and_is_no_person() -> Result<(), Error> {
    let runtime = Runtime::builder().agent(double()).start().await?;
    let ask = || Approval::new("Go on?").within(MINUTE);
    let run = runtime.submit_plan(asks(ask().or_approve())?).await?;
    assert_eq!(within(run.result()).await?, 42);
    assert!((run.report().await?.autonomy() - 1.0).abs() < 1e-9);

    let run = runtime.submit_plan(asks(ask().or_reject())?).await?;
    let rejected = failure(within(run.result()).await);
    assert_eq!(rejected.kind, FailureKind::Rejected);
    assert!((run.report().await?.autonomy() - 1.0).abs() < 1e-9);

    let run = runtime.submit_plan(asks(ask())?).await?;
    let late = failure(within(run.result()).await);
    assert_eq!(late.kind, FailureKind::DeadlineExceeded);
    runtime.shutdown().await
}
