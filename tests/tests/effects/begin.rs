//! An irreversible handler begins when the journal says so, and not before.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::bus::{Destination, Envelope};
use coditect_core::dag::journal::partition_of;
use coditect_core::prelude::*;
use coditect_core::{Dispatch, EffectClass, Error, FailureKind, RuntimeBuilder};

use crate::stage::{Count, Cut, Gate, Meddled, Notes, Renewals, Shared, failure, within};
use crate::{Mute, PAY, assert_parked, handler, history, parked, pay, queue};

/// An agent that notes what the journal says of its run when it begins.
fn noting(shared: &Shared, notes: &Notes<Vec<&'static str>>) -> impl Agent + use<> {
    let (shared, notes) = (shared.clone(), notes.clone());
    let note = move |context: TaskContext, x: u64| {
        let (shared, notes) = (shared.clone(), notes.clone());
        async move {
            let run = context.run().expect("it is no mere request");
            notes.push(history(&shared, run).await);
            Ok::<_, AgentError>(x + 1)
        }
    };
    agent("pay", note).with_effect(EffectClass::Irreversible)
}

#[tokio::test(start_paused = true)]
async fn a_handler_begins_once_the_journal_says_by_whom() -> Result<(), Error> {
    for dispatch in [Dispatch::Bus, Dispatch::LocalFirst] {
        let (shared, notes) = (Shared::new(), Notes::new());
        let runtime = shared.runtime().dispatch(dispatch);
        let runtime = runtime.agent(noting(&shared, &notes)).start().await?;
        let run = runtime.submit(&PAY, 1).await?;
        assert_eq!(within(run.result()).await?, 2);
        assert_eq!(notes.all(), [["dispatched", "granted"]]);
        let whole = ["dispatched", "granted", "succeeded"];
        assert_eq!(history(&shared, run.id()).await, whole);
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_may_be_done_twice_is_not_claimed_and_begins_at_once() -> Result<(), Error> {
    for class in [None, Some(EffectClass::Pure), Some(EffectClass::Idempotent)] {
        let (shared, gate, calls) = (Shared::new(), Gate::new(), Count::default());
        let agent = match class {
            Some(class) => handler(&gate, &calls).with_effect(class),
            None => handler(&gate, &calls),
        };
        let runtime = shared.runtime().agent(agent).start().await?;
        let run = runtime.submit(&PAY, 1).await?;
        gate.open(1);
        assert_eq!(within(run.result()).await?, 2);
        assert_eq!(
            history(&shared, run.id()).await,
            ["dispatched", "succeeded"]
        );
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_plan_may_be_stricter_than_its_agent() -> Result<(), Error> {
    for dispatch in [Dispatch::Bus, Dispatch::LocalFirst] {
        let (shared, gate, calls) = (Shared::new(), Gate::new(), Count::default());
        let runtime = shared.runtime().dispatch(dispatch);
        let runtime = runtime.agent(handler(&gate, &calls)).start().await?;
        let mut plan = Plan::builder();
        let paid = plan.task("pay", &PAY, 1);
        plan.configure(&paid, |task| task.effect(EffectClass::Irreversible));
        let run = runtime.submit_plan(plan.output(paid)?).await?;
        gate.open(1);
        assert_eq!(within(run.result()).await?, 2);
        let whole = ["dispatched", "granted", "succeeded"];
        assert_eq!(history(&shared, run.id()).await, whole);
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_nobody_answers_begins_nothing_and_gives_the_task_back() -> Result<(), Error> {
    for lost in [["grant"], ["claim"]] {
        let mute = Mute::default();
        let kinds: &'static [&'static str] = match lost {
            ["grant"] => &["grant"],
            _ => &["claim"],
        };
        let shared = mute.ports(kinds);
        let (gate, calls) = (Gate::new(), Count::default());
        gate.open(1);
        mute.set(true);
        let coordinator = shared.runtime().start().await?;
        let worker = shared.runtime().worker_only().agent(pay(&gate, &calls));
        let worker = worker.start().await?;
        let run = coordinator.submit(&PAY, 1).await?;
        // Several times as long as the answer is waited for.
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(calls.get(), 0, "{lost:?}");
        mute.set(false);
        assert_eq!(within(run.result()).await?, 2);
        assert_eq!(calls.get(), 1, "{lost:?}");
        let history = history(&shared, run.id()).await;
        assert!(!history.contains(&"parked"), "{history:?}");
        worker.shutdown().await?;
        coordinator.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_what_another_has_begun_is_not_begun() -> Result<(), Error> {
    let (shared, gate, calls) = (Shared::new(), Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let worker = |shared: &Shared| -> RuntimeBuilder {
        let worker = shared.runtime().worker_only();
        worker.agent(pay(&gate, &calls))
    };
    let first = worker(&shared).start().await?;
    let run = coordinator.submit(&PAY, 1).await?;
    gate.arrived(1).await;
    let second = worker(&shared).start().await?;
    // The same message as an owner publishes it that does not know whether its predecessor has.
    let attempt = coordinator.bus().stats(&queue()).await?;
    assert_eq!((attempt.ready(), attempt.unacked), (0, 0), "it was let go");
    let envelope = task_of(&shared, &run);
    for _ in 0..3 {
        let to = Destination::Queue(queue());
        let published = coordinator.bus().publish(&to, envelope.clone()).await;
        published.expect("the queue is there");
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let left = coordinator.bus().stats(&queue()).await?;
    assert_eq!(
        (left.ready(), left.unacked),
        (0, 0),
        "the copies are settled"
    );
    assert_eq!(calls.get(), 1);
    gate.open(1);
    assert_eq!(within(run.result()).await?, 2);
    // One of a run that has ended is refused as well, and does not come for ever.
    let to = Destination::Queue(queue());
    let published = coordinator.bus().publish(&to, envelope).await;
    published.expect("the queue is there");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let left = coordinator.bus().stats(&queue()).await?;
    assert_eq!((left.ready(), left.unacked), (0, 0), "the copy is settled");
    assert_eq!(calls.get(), 1);
    first.shutdown().await?;
    second.shutdown().await?;
    coordinator.shutdown().await
}

/// The first attempt of the first task of a run, as its owner publishes it.
fn task_of<O>(shared: &Shared, run: &RunHandle<O>) -> Envelope {
    let partition = partition_of(run.id(), shared.journal.partitions());
    let outcomes = format!("outcome.{}", partition.get());
    let headers = [
        ("coditect-kind", "task".to_owned()),
        ("coditect-run", run.id().to_string()),
        ("coditect-task", "0".to_owned()),
        ("coditect-attempt", "1".to_owned()),
        ("coditect-key", "pay".to_owned()),
        ("coditect-tenant", "default".to_owned()),
        ("coditect-requirement", "pay".to_owned()),
    ];
    let envelope = Envelope::new("1").with_reply_to(outcomes.parse().expect("a name"));
    let with = |envelope: Envelope, (name, value)| envelope.with_header(name, value);
    headers.into_iter().fold(envelope, with)
}

#[tokio::test(start_paused = true)]
async fn a_task_that_its_plan_says_is_irreversible_is_of_a_kind_of_its_own() -> Result<(), Error> {
    let kinds = Notes::new();
    let seen = kinds.clone();
    let bus = Meddled::new().on_publish(move |envelope| {
        let header = |name| envelope.header(name).map(ToOwned::to_owned);
        if header("coditect-task").is_some() {
            seen.push((header("coditect-kind"), header("coditect-effect")));
        }
        Box::pin(std::future::ready(true))
    });
    let (shared, gate, calls) = (Shared::on(Arc::new(bus)), Gate::new(), Count::default());
    let runtime = shared
        .runtime()
        .agent(handler(&gate, &calls))
        .start()
        .await?;
    gate.open(10);
    for class in [
        None,
        Some(EffectClass::Pure),
        Some(EffectClass::Irreversible),
    ] {
        let mut plan = Plan::builder();
        let paid = plan.task("pay", &PAY, 1);
        plan.configure(&paid, |task| match class {
            Some(class) => task.effect(class),
            None => task,
        });
        let run = runtime.submit_plan(plan.output(paid)?).await?;
        assert_eq!(within(run.result()).await?, 2);
    }
    let text = |text: &str| Some(text.to_owned());
    let expected = [
        (text("task"), None),
        (text("task"), text("pure")),
        // Whoever does not know of it rejects it.
        (text("irreversible-task"), text("irreversible")),
    ];
    assert_eq!(kinds.all(), expected);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_mere_request_begins_nothing_irreversible() -> Result<(), Error> {
    for dispatch in [Dispatch::Bus, Dispatch::LocalFirst] {
        let (shared, gate, calls) = (Shared::new(), Gate::new(), Count::default());
        let asker = shared.runtime().dispatch(dispatch);
        let asker = match dispatch {
            Dispatch::Bus => asker,
            _ => asker.agent(pay(&gate, &calls)),
        };
        let worker = shared.runtime().worker_only().agent(pay(&gate, &calls));
        let worker = worker.start().await?;
        let asker = asker.start().await?;
        let refused = failure(within(asker.request(&PAY, 1).into_future()).await);
        assert_eq!(refused.kind, FailureKind::Permanent);
        assert!(refused.message.contains("submit a run"), "{refused}");
        assert_eq!(calls.get(), 0);
        worker.shutdown().await?;
        asker.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_handler_of_this_process_ends_though_another_owns_its_run_by_then() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let (gate, calls) = (Gate::new(), Count::default());
    let lease = Duration::from_secs(1);
    let cut = Cut::new(&shared.journal, Renewals::Hang);
    let former = shared.clone().with_journal(cut.clone()).runtime();
    let former = former.dispatch(Dispatch::LocalFirst).leases(lease, lease);
    let client = shared.runtime().worker_only().start().await?;
    let run = client.submit(&PAY, 1).await?;
    let _former = former.agent(pay(&gate, &calls)).start().await?;
    let _next = shared.runtime().leases(lease, lease).start().await?;
    gate.arrived(1).await;
    cut.cut();
    // Longer than all leases: the handler is heard of by the next owner.
    tokio::time::sleep(20 * lease).await;
    gate.open(1);
    assert_eq!(within(run.result()).await?, 2);
    assert_eq!(calls.get(), 1);
    let history = history(&shared, run.id()).await;
    assert_eq!(history, ["dispatched", "granted", "succeeded"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_a_former_owner_has_begun_and_nobody_hears_of_is_parked() -> Result<(), Error> {
    let mute = Mute::default();
    let shared = mute.ports(&["heartbeat"]).with_partitions(1);
    let (gate, calls) = (Gate::new(), Count::default());
    let lease = Duration::from_secs(1);
    let cut = Cut::new(&shared.journal, Renewals::Hang);
    let former = shared.clone().with_journal(cut.clone()).runtime();
    let former = former.dispatch(Dispatch::LocalFirst).leases(lease, lease);
    let client = shared.runtime().worker_only().start().await?;
    let run = client.submit(&PAY, 1).await?;
    let _former = former.agent(pay(&gate, &calls)).start().await?;
    let _next = shared.runtime().leases(lease, lease).start().await?;
    let mut events = run.events().await?;
    gate.arrived(1).await;
    mute.set(true);
    cut.cut();
    let reason = parked(&mut events).await?;
    assert_parked(&run, &reason).await?;
    assert_eq!(calls.get(), 1);
    // What it answers after all is its outcome.
    gate.open(1);
    assert_eq!(within(run.result()).await?, 2);
    Ok(())
}
