//! Parked tasks: what a person rules, what the plan says when nobody does, and which clocks go on.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{EffectClass, Error, ErrorKind, FailureKind, Parking, Ruling, TaskState};

use crate::stage::{Count, Gate, Shared, failure, within};
use crate::{PAY, assert_parked, history, parked};

/// A runtime whose agent breaks the first time, and then answers once it is let through.
async fn breaking(shared: &Shared, gate: &Gate, calls: &Count) -> Result<Runtime, Error> {
    let (gate, calls) = (gate.clone(), calls.clone());
    let pay = move |x: u64| {
        let (gate, call) = (gate.clone(), calls.add());
        async move {
            assert!(call > 1, "it breaks");
            gate.pass().await;
            Ok::<_, AgentError>(x + 1)
        }
    };
    let agent = agent("pay", pay).with_effect(EffectClass::Irreversible);
    shared.runtime().agent(agent).start().await
}

/// Submits a plan of one task that is parked so long at most.
async fn submit(runtime: &Runtime, parking: Option<Parking>) -> Result<RunHandle<u64>, Error> {
    let mut plan = Plan::builder();
    let paid = plan.task("pay", &PAY, 1);
    plan.configure(&paid, |task| match parking.clone() {
        Some(parking) => task.parking(parking),
        None => task,
    });
    runtime.submit_plan(plan.output(paid)?).await
}

#[tokio::test(start_paused = true)]
async fn a_person_rules_once_that_it_is_done_again() -> Result<(), Error> {
    let (shared, gate, calls) = (Shared::new(), Gate::new(), Count::default());
    let runtime = breaking(&shared, &gate, &calls).await?;
    let run = submit(&runtime, None).await?;
    let early = run.rule("pay", Ruling::retry("ann")).await;
    assert_eq!(early.map_err(|error| error.kind()), Err(ErrorKind::Invalid));
    let reason = parked(&mut run.events().await?).await?;
    assert_parked(&run, &reason).await?;
    run.rule("pay", Ruling::retry("ann")).await?;
    // The first counts.
    let _ = run.rule("pay", Ruling::fail("bob")).await;
    gate.arrived(1).await;
    gate.open(1);
    assert_eq!(within(run.result()).await?, 2);
    let report = run.report().await?;
    assert!(report.tasks[0].by_person && report.tasks[0].parked.is_none());
    assert!(report.autonomy() < 1.0);
    let whole = [
        &["dispatched", "granted", "parked", "signalled", "snoozed"][..],
        &["dispatched", "granted", "succeeded"],
    ];
    assert_eq!(history(&shared, run.id()).await, whole.concat());
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_person_rules_that_it_was_done_or_has_failed() -> Result<(), Error> {
    let (shared, gate, calls) = (Shared::new(), Gate::new(), Count::default());
    let runtime = breaking(&shared, &gate, &calls).await?;
    let done = submit(&runtime, None).await?;
    parked(&mut done.events().await?).await?;
    done.rule("pay", Ruling::complete("ann", 70)?).await?;
    assert_eq!(within(done.result()).await?, 70);
    assert!(done.report().await?.tasks[0].by_person);
    runtime.shutdown().await?;

    let (shared, calls) = (Shared::new(), Count::default());
    let runtime = breaking(&shared, &gate, &calls).await?;
    let not_done = submit(&runtime, None).await?;
    parked(&mut not_done.events().await?).await?;
    let ruling = Ruling::fail("bob").comment("The account is closed.");
    not_done.rule("pay", ruling).await?;
    let failed = failure(within(not_done.result()).await);
    assert_eq!(failed.kind, FailureKind::Permanent);
    let text = failed.to_string();
    assert!(
        text.contains("bob")
            && text.contains("The account is closed.")
            && text.contains("it breaks"),
        "{text}"
    );
    // What has failed can be redriven, as anything.
    not_done.redrive("pay").await?;
    gate.arrived(1).await;
    gate.open(1);
    assert_eq!(within(not_done.result()).await?, 2);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn when_the_time_is_over_the_plan_rules() -> Result<(), Error> {
    let limit = Duration::from_secs(600);
    let plans = [
        Parking::within(limit),
        Parking::within(limit).or_retry(),
        Parking::within(limit).or_complete(70)?,
    ];
    for (place, parking) in plans.into_iter().enumerate() {
        let (shared, gate, calls) = (Shared::new(), Gate::new(), Count::default());
        let runtime = breaking(&shared, &gate, &calls).await?;
        gate.open(1);
        let run = submit(&runtime, Some(parking)).await?;
        let reason = parked(&mut run.events().await?).await?;
        let began = tokio::time::Instant::now();
        assert_parked(&run, &reason).await?;
        // Another owner knows how long it is parked.
        runtime.shutdown().await?;
        tokio::time::sleep(limit / 2).await;
        let runtime = breaking(&shared, &gate, &calls).await?;
        assert_parked(&run, &reason).await?;
        let result = tokio::time::timeout(2 * limit, run.result())
            .await
            .expect("it ends");
        assert!(began.elapsed() >= limit);
        match place {
            0 => {
                let failed = failure(result);
                assert_eq!(failed.kind, FailureKind::OutcomeUnknown);
                assert!(failed.to_string().contains("it breaks"), "{failed}");
            }
            1 => assert_eq!(result?, 2),
            _ => assert_eq!(result?, 70),
        }
        let report = run.report().await?;
        assert!(!report.tasks[0].by_person, "nobody had a hand in it");
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_parked_task_can_be_cancelled_and_its_deadline_holds() -> Result<(), Error> {
    let (shared, gate, calls) = (Shared::new(), Gate::new(), Count::default());
    let runtime = breaking(&shared, &gate, &calls).await?;
    let cancelled = submit(&runtime, None).await?;
    parked(&mut cancelled.events().await?).await?;
    cancelled.cancel("not needed").await?;
    assert!(within(cancelled.result()).await.is_err());
    let report = cancelled.report().await?;
    assert_eq!(report.tasks[0].state, TaskState::Cancelled);
    assert_eq!(report.tasks[0].parked, None);
    runtime.shutdown().await?;

    let (shared, calls) = (Shared::new(), Count::default());
    let runtime = breaking(&shared, &gate, &calls).await?;
    let mut plan = Plan::builder();
    let paid = plan.task("pay", &PAY, 1);
    plan.configure(&paid, |task| task.deadline(Duration::from_secs(60)));
    let late = runtime.submit_plan(plan.output(paid)?).await?;
    let failed = failure(within(late.result()).await);
    assert_eq!(failed.kind, FailureKind::OutcomeUnknown);
    assert!(failed.to_string().contains("it breaks"), "{failed}");
    assert_eq!(calls.get(), 1);
    runtime.shutdown().await
}
