//! Leases that are lost although the process lives, and instances that are there in the registry alone.

use std::time::Duration;

use coditect_core::Error;
use coditect_core::prelude::*;
use coditect_core::registry::{AgentRecord, Capability, Change, Incarnation, Load, Strategy};
use tokio::time::Instant;

use crate::stage::{Count, Gate, Shared, within};

const WORK: Call<u64, u64> = Call::new("work");

#[tokio::test(start_paused = true)]
async fn who_lost_its_lease_registers_again_and_what_it_does_goes_on() -> Result<(), Error> {
    let (shared, gate, calls) = (Shared::new(), Gate::new(), Count::default());
    let lease = Duration::from_secs(9);
    let builder = || shared.runtime().leases(lease, lease);
    let coordinator = builder().start().await?;
    let (held, called) = (gate.clone(), calls.clone());
    let work = agent("work", move |context: TaskContext, x: u64| {
        let gate = held.clone();
        called.add();
        async move {
            tokio::select! {
                () = gate.pass() => Ok(x + 1),
                () = context.cancelled() => Err(AgentError::permanent("told to stop")),
            }
        }
    });
    let worker = builder().worker_only().agent(work).start().await?;
    let run = coordinator.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    // Another registration of the instance ends the one that the worker renews, and expires.
    let record = AgentRecord::clone(&coordinator.agents().records()[0]);
    let token = shared
        .registry
        .register(record, Duration::from_millis(10))
        .await?;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(coordinator.agents().len(), 0, "its lease was lost");
    tokio::time::sleep(lease / 3).await;
    assert_eq!(
        coordinator.agents().len(),
        1,
        "it is back after one renewal"
    );
    assert_eq!(
        coordinator.agents().records()[0].incarnation(),
        token.incarnation()
    );
    gate.open(1);
    assert_eq!(within(run.result()).await?, 2);
    assert_eq!(calls.get(), 1, "what it did was not cancelled");
    worker.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_never_awaits_does_not_keep_its_agent_from_renewing() -> Result<(), Error> {
    let shared = Shared::new();
    let lease = Duration::from_millis(500);
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = parking_lot::Mutex::new(released);
    let computes = agent("work", move |x: u64| {
        begun.send(()).expect("the test goes on");
        released.lock().recv().ok();
        async move { Ok::<_, AgentError>(x + 1) }
    });
    let builder = || shared.runtime().leases(Duration::from_secs(60), lease);
    let coordinator = builder().check_agents(None).start().await?;
    let worker = builder().worker_only().agent(computes).start().await?;
    let run = coordinator.submit(&WORK, 1).await?;
    let begun = tokio::task::spawn_blocking(move || has_begun.recv());
    begun.await.expect("no panic").expect("it has begun");
    let mut watch = shared.registry.watch().await?;
    tokio::time::sleep(4 * lease).await;
    while let Ok(Some(event)) = tokio::time::timeout(Duration::ZERO, watch.next()).await {
        let is_loss = matches!(event.change, Change::Removed { .. });
        assert!(!is_loss, "{event:?}");
    }
    assert_eq!(coordinator.agents().len(), 1);
    drop(release);
    assert_eq!(run.result().await?, 2);
    worker.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_task_for_an_instance_whose_queue_is_gone_goes_to_others_without_waiting()
-> Result<(), Error> {
    let (shared, calls) = (Shared::new(), Count::default());
    let ghost = Incarnation::fresh();
    let record = AgentRecord::new("ghost".parse()?, ghost)
        .with_capabilities([Capability::new(
            "work",
            "1.0.0".parse().expect("a version"),
        )?])
        .with_load(Load::idle(64))
        .with_endpoint(format!("agent.ghost.{ghost}"));
    shared
        .registry
        .register(record, Duration::from_secs(3_600))
        .await?;
    let called = calls.clone();
    let work = agent("work", move |x: u64| {
        called.add();
        async move { Ok::<_, AgentError>(x) }
    });
    let worker = shared.runtime().worker_only().agent(work).start().await?;
    let coordinator = shared
        .runtime()
        .route("work", Strategy::RoundRobin)
        .check_agents(None);
    let coordinator = coordinator.start().await?;
    let began = Instant::now();
    for number in 0..20 {
        assert_eq!(within(coordinator.run(&WORK, number)).await?, number);
    }
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(calls.get(), 20, "each was done once");
    worker.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn whoever_has_no_queue_of_its_own_shares_the_work_through_that_of_the_capability()
-> Result<(), Error> {
    let (shared, calls) = (Shared::new(), Count::default());
    // As an agent in another language that knows no more than the queues of capabilities.
    let record = AgentRecord::new("foreign".parse()?, Incarnation::fresh())
        .with_capabilities([Capability::new(
            "work",
            "1.0.0".parse().expect("a version"),
        )?])
        .with_load(Load::idle(1));
    shared
        .registry
        .register(record, Duration::from_secs(3_600))
        .await?;
    let called = calls.clone();
    let work = agent("work", move |x: u64| {
        called.add();
        async move { Ok::<_, AgentError>(x) }
    });
    let worker = shared.runtime().worker_only().agent(work).start().await?;
    let coordinator = shared.runtime().route("work", Strategy::LeastConnections);
    let coordinator = coordinator.start().await?;
    for number in 0..10 {
        assert_eq!(within(coordinator.run(&WORK, number)).await?, number);
    }
    assert_eq!(calls.get(), 10);
    worker.shutdown().await?;
    coordinator.shutdown().await
}
