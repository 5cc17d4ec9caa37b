//! Irreversible tasks of unclear fate are put back by a person who says so of them, and by nothing else.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{
    EffectClass, Error, ErrorKind, FailureKind, Parking, Redrive, RedrivePolicy, Ruling, RunState,
    SetAsideFilter, TaskState,
};

use crate::stage::{Count, Gate, Shared, failure, within};
use crate::{PAY, assert_parked, parked, pay};

const MINUTE: Duration = Duration::from_secs(60);
/// Longer than any policy here waits.
const LONG: Duration = Duration::from_secs(900);

/// Puts everything back by itself that a policy can name.
fn everything() -> Result<RedrivePolicy, Error> {
    let kinds = [
        FailureKind::Error,
        FailureKind::Panic,
        FailureKind::Timeout,
        FailureKind::Permanent,
        FailureKind::Lost,
        FailureKind::DeadlineExceeded,
        FailureKind::OutcomeUnknown,
    ];
    Ok(RedrivePolicy::new([MINUTE, MINUTE])?.with_kinds(kinds))
}

/// An irreversible agent that breaks at first and then answers, on a coordinator that puts everything back by itself.
async fn breaking(shared: &Shared, calls: &Count) -> Result<Runtime, Error> {
    let calls = calls.clone();
    let pay = move |x: u64| {
        let call = calls.add();
        async move {
            assert!(call > 1, "it breaks");
            Ok::<_, AgentError>(x + 1)
        }
    };
    let agent = agent("pay", pay).with_effect(EffectClass::Irreversible);
    let builder = shared.runtime().agent(agent).redrive_all(everything()?);
    builder.start().await
}

fn paying(parking: Option<Parking>) -> Result<Plan<u64>, Error> {
    let mut plan = Plan::builder();
    let paid = plan.task("pay", &PAY, 1);
    plan.configure(&paid, |task| match parking {
        Some(parking) => task.parking(parking),
        None => task,
    });
    plan.output(paid)
}

#[tokio::test(start_paused = true)]
async fn a_parked_task_is_put_back_by_no_redrive() -> Result<(), Error> {
    let (shared, calls) = (Shared::new(), Count::default());
    let runtime = breaking(&shared, &calls).await?;
    let run = runtime.submit_plan(paying(None)?).await?;
    let reason = parked(&mut run.events().await?).await?;
    let refused = run.redrive("pay").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    let dead = runtime.dead_letters();
    let all = SetAsideFilter::all();
    assert!(dead.list(&all, None).await?.letters.is_empty());
    let done = dead.redrive_all(&all, &Redrive::default()).await?;
    assert_eq!((done.redriven, done.refused), (0, 0));
    tokio::time::sleep(LONG).await;
    assert_parked(&run, &reason).await?;
    assert_eq!(calls.get(), 1);
    run.rule("pay", Ruling::retry("ann")).await?;
    assert_eq!(within(run.result()).await?, 2);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn one_that_failed_with_nobody_knowing_is_put_back_where_that_is_asked_for()
-> Result<(), Error> {
    let (shared, calls) = (Shared::new(), Count::default());
    let runtime = breaking(&shared, &calls).await?;
    let run = runtime
        .submit_plan(paying(Some(Parking::within(MINUTE)))?)
        .await?;
    let failed = failure(within(run.result()).await);
    assert_eq!(failed.kind, FailureKind::OutcomeUnknown);
    tokio::time::sleep(LONG).await;
    assert_eq!(calls.get(), 1, "no policy puts it back");
    let dead = runtime.dead_letters();
    for filter in [
        SetAsideFilter::all(),
        SetAsideFilter::tasks().with_capability("pay")?,
    ] {
        let done = dead.redrive_all(&filter, &Redrive::default()).await?;
        assert_eq!((done.redriven, done.refused), (0, 1));
    }
    tokio::time::sleep(LONG).await;
    assert_eq!(calls.get(), 1, "nor does who puts everything back");
    let named = SetAsideFilter::tasks().with_reason("outcome_unknown");
    let done = dead.redrive_all(&named, &Redrive::default()).await?;
    assert_eq!((done.redriven, done.refused), (1, 0));
    let succeeded = async {
        while run.state().await? != RunState::Succeeded {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        run.result().await
    };
    assert_eq!(within(succeeded).await?, 2);
    assert_eq!(calls.get(), 2);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn one_whose_deadline_passes_while_it_works_may_have_been_done() -> Result<(), Error> {
    let (shared, gate, calls) = (Shared::new(), Gate::new(), Count::default());
    let runtime = shared.runtime().agent(pay(&gate, &calls));
    let runtime = runtime.redrive_all(everything()?).start().await?;
    let mut plan = Plan::builder();
    let paid = plan.task("pay", &PAY, 1);
    plan.configure(&paid, |task| task.deadline(MINUTE));
    let run = runtime.submit_plan::<u64>(plan.output(paid)?).await?;
    let failed = failure(within(run.result()).await);
    assert_eq!(failed.kind, FailureKind::OutcomeUnknown);
    tokio::time::sleep(LONG).await;
    let dead = runtime.dead_letters();
    let (all, unchanged) = (SetAsideFilter::all(), Redrive::default());
    assert_eq!(dead.redrive_all(&all, &unchanged).await?.refused, 1);
    assert_eq!(calls.get(), 1);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn whoever_puts_another_task_of_its_run_back_begins_it_only_after_a_ruling()
-> Result<(), Error> {
    // Cancelled while it works, and while it is parked.
    for is_parked in [false, true] {
        let (shared, gate, calls) = (
            Shared::new().with_partitions(1),
            Gate::new(),
            Count::default(),
        );
        let (held, counted) = (gate.clone(), calls.clone());
        let act = move |x: u64| {
            let (gate, call) = (held.clone(), counted.add());
            async move {
                gate.pass().await;
                assert!(call > 1 || !is_parked, "it breaks");
                Ok::<_, AgentError>(x + 1)
            }
        };
        let other = Gate::new();
        let (turn, tries) = (other.clone(), Count::default());
        let work = move |x: u64| {
            let (turn, call) = (turn.clone(), tries.add());
            async move {
                turn.pass().await;
                match call {
                    1 => Err(AgentError::permanent("not yet")),
                    _ => Ok(x),
                }
            }
        };
        let builder = || {
            let paying = agent("pay", act.clone()).with_effect(EffectClass::Irreversible);
            shared
                .runtime()
                .agent(paying)
                .agent(agent("work", work.clone()))
        };
        let runtime = builder().start().await?;
        let mut plan = Plan::builder();
        let paid = plan.task("pay", &PAY, 1);
        let done = plan.task("work", &Call::<u64, u64>::new("work"), 5);
        let both = plan.aggregate(collect_all(), [paid, done])?;
        let both = both.on_failure(FailurePolicy::FailFast);
        let run = runtime.submit_plan::<Vec<u64>>(both).await?;
        let mut events = run.events().await?;
        gate.arrived(1).await;
        if is_parked {
            gate.open(1);
            parked(&mut events).await?;
        }
        other.open(1);
        failure(within(run.result()).await);
        let report = run.report().await?;
        assert_eq!(report.tasks[0].state, TaskState::Cancelled);

        run.redrive("work").await?;
        other.open(1);
        let mut waiting = run.waiting().await?;
        while waiting.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            waiting = run.waiting().await?;
        }
        assert_eq!(waiting[0].task.path, "pay");
        tokio::time::sleep(LONG).await;
        assert_eq!(calls.get(), 1, "nobody has said that it may begin again");
        // Another owner knows that, too.
        runtime.shutdown().await?;
        let runtime = builder().start().await?;
        let run = runtime.attach::<Vec<u64>>(run.id());
        tokio::time::sleep(LONG).await;
        assert_eq!((run.waiting().await?.len(), calls.get()), (1, 1));
        run.rule("pay", Ruling::retry("ann")).await?;
        gate.open(2);
        assert_eq!(within(run.result()).await?, [2, 5]);
        assert_eq!(calls.get(), 2);
        runtime.shutdown().await?;
    }
    Ok(())
}
