//! Workers that vanish after their claims: what they had begun is parked, seen by everybody, and not done again.

use std::time::Duration;

use coditect_core::bus::MessageBus;
use coditect_core::registry::{Reason, Verdict};
use coditect_core::testing::{Cluster, Node};
use coditect_core::{Error, Ruling};

use crate::stage::{Count, Gate, Shared, within};
use crate::{Mute, PAY, assert_parked, history, parked, pay, queue};

/// Many times as long as a worker may be silent.
const LONG: Duration = Duration::from_secs(900);

#[tokio::test(start_paused = true)]
async fn a_worker_that_falls_silent_leaves_its_task_parked() -> Result<(), Error> {
    let mute = Mute::default();
    let shared = mute.ports(&["heartbeat", "outcome"]);
    let (gate, calls) = (Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let worker = shared.runtime().worker_only().agent(pay(&gate, &calls));
    let worker = worker.start().await?;
    let run = coordinator.submit(&PAY, 1).await?;
    let mut events = run.events().await?;
    gate.arrived(1).await;
    mute.set(true);
    let reason = parked(&mut events).await?;
    assert!(reason.contains("silent for 10s"), "{reason}");
    tokio::time::sleep(LONG).await;
    let report = assert_parked(&run, &reason).await?;
    assert_eq!((report.attempts, calls.get()), (1, 1));
    run.rule("pay", Ruling::retry("ann")).await?;
    mute.set(false);
    gate.arrived(1).await;
    gate.open(2);
    assert_eq!(within(run.result()).await?, 2);
    assert_eq!(calls.get(), 2);
    worker.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_heard_of_again_goes_on_with_its_task() -> Result<(), Error> {
    let mute = Mute::default();
    let shared = mute.ports(&["heartbeat"]);
    let (gate, calls) = (Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let worker = shared.runtime().worker_only().agent(pay(&gate, &calls));
    let worker = worker.start().await?;
    let run = coordinator.submit(&PAY, 1).await?;
    let mut events = run.events().await?;
    gate.arrived(1).await;
    mute.set(true);
    parked(&mut events).await?;
    mute.set(false);
    tokio::time::sleep(LONG).await;
    assert!(run.waiting().await?.is_empty());
    let whole = ["dispatched", "granted", "parked", "granted"];
    assert_eq!(history(&shared, run.id()).await, whole);
    // Silent once more, it is parked once more.
    mute.set(true);
    let reason = parked(&mut events).await?;
    assert_parked(&run, &reason).await?;
    // What it answers after all is its outcome, without a person.
    gate.open(1);
    assert_eq!(within(run.result()).await?, 2);
    assert_eq!(calls.get(), 1);
    assert!((run.report().await?.autonomy() - 1.0).abs() < f64::EPSILON);
    worker.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_new_owner_leaves_what_has_begun_to_its_worker() -> Result<(), Error> {
    let mute = Mute::default();
    let shared = mute.ports(&["heartbeat", "outcome"]);
    let (gate, calls) = (Gate::new(), Count::default());
    let first = shared.runtime().start().await?;
    let worker = shared.runtime().worker_only().agent(pay(&gate, &calls));
    let worker = worker.start().await?;
    let run = worker.submit(&PAY, 1).await?;
    let mut events = run.events().await?;
    gate.arrived(1).await;
    drop(first);
    let second = shared.runtime().start().await?;
    tokio::time::sleep(LONG).await;
    assert_eq!(history(&shared, run.id()).await, ["dispatched", "granted"]);
    // It vanishes while the second owns the run, and a third finds it parked.
    mute.set(true);
    let reason = parked(&mut events).await?;
    drop(second);
    let third = shared.runtime().start().await?;
    tokio::time::sleep(LONG).await;
    assert_parked(&run, &reason).await?;
    assert_eq!(calls.get(), 1);
    mute.set(false);
    gate.open(1);
    run.rule("pay", Ruling::complete("ann", 7)?).await?;
    assert_eq!(within(run.result()).await?, 7);
    worker.shutdown().await?;
    third.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_leaves_the_registry_leaves_its_task_parked() -> Result<(), Error> {
    let mute = Mute::default();
    let shared = mute.ports(&["heartbeat", "outcome"]);
    let (gate, calls) = (Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let worker = shared.runtime().worker_only().agent(pay(&gate, &calls));
    let worker = worker.start().await?;
    let run = coordinator.submit(&PAY, 1).await?;
    let mut events = run.events().await?;
    gate.arrived(1).await;
    mute.set(true);
    let records = coordinator.agents().records();
    let instance = records[0].instance.clone();
    let reason = Reason::new("it hangs", std::time::SystemTime::UNIX_EPOCH);
    let verdict = Verdict::evicted(reason);
    shared
        .registry
        .judge(&instance, Some(verdict))
        .await
        .expect("it is there");
    let reason = parked(&mut events).await?;
    assert!(reason.contains("evicted"), "{reason}");
    assert_parked(&run, &reason).await?;
    mute.set(false);
    gate.open(1);
    assert_eq!(within(run.result()).await?, 2);
    assert_eq!(calls.get(), 1);
    worker.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ends_in_the_middle_parks_what_it_has_begun() -> Result<(), Error> {
    let shared = Shared::new();
    let (gate, calls) = (Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let worker = shared.runtime().worker_only().agent(pay(&gate, &calls));
    let worker = worker.drain_limit(Duration::ZERO).start().await?;
    let run = coordinator.submit(&PAY, 1).await?;
    let mut events = run.events().await?;
    gate.arrived(1).await;
    worker.shutdown().await.expect_err("a handler was dropped");
    let reason = parked(&mut events).await?;
    assert!(reason.contains("has ended"), "{reason}");
    assert_parked(&run, &reason).await?;
    coordinator.shutdown().await
}

async fn killed(kill: impl AsyncFnOnce(&Cluster, Node) -> Result<(), Error>) -> Result<(), Error> {
    let cluster = Cluster::new();
    let coordinator = cluster.node(|builder| builder).await?;
    let (gate, calls) = (Gate::new(), Count::default());
    let node = async |gate: &Gate| -> Result<Node, Error> {
        let agent = pay(gate, &calls);
        cluster
            .node(|builder| builder.worker_only().agent(agent))
            .await
    };
    let victim = node(&gate).await?;
    let run = coordinator.runtime().submit(&PAY, 1).await?;
    let mut events = run.events().await?;
    gate.arrived(1).await;
    let _other = node(&gate).await?;
    kill(&cluster, victim).await?;
    let reason = parked(&mut events).await?;
    assert_parked(&run, &reason).await?;
    let left = cluster.bus().stats(&queue()).await?;
    assert_eq!(
        (left.ready(), left.unacked),
        (0, 0),
        "nothing is delivered again"
    );
    assert_eq!(calls.get(), 1);
    run.rule("pay", Ruling::retry("ann")).await?;
    gate.open(2);
    assert_eq!(within(run.result()).await?, 2);
    assert_eq!(calls.get(), 2);
    Ok(())
}

#[tokio::test]
async fn an_irreversible_task_whose_worker_was_killed_after_its_claim_is_parked()
-> Result<(), Error> {
    killed(async |_, victim| {
        victim.kill();
        Ok(())
    })
    .await
}
