//! Tasks that take long: claimed by their worker, which is heard of until they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coditect_core::bus::{Envelope, MessageBus, QueueName};
use coditect_core::dag::journal::RecordKind;
use coditect_core::prelude::*;
use coditect_core::testing::{Cluster, Node};
use coditect_core::{Error, RuntimeBuilder};
use tokio::sync::Notify;

mod stage;

use stage::{Count, Gate, Meddled, Shared, within};

const WORK: Call<u64, u64> = Call::new("work");
/// After how long a worker claims.
const SOON: Duration = Duration::from_secs(60);
/// Many times as long as a worker may be silent.
const LONG: Duration = Duration::from_secs(900);

/// An agent that counts its calls, and answers once it is let through.
fn work(gate: &Gate, calls: &Count) -> impl Agent {
    let (gate, calls) = (gate.clone(), calls.clone());
    agent("work", move |context: TaskContext, x: u64| {
        let gate = gate.clone();
        calls.add();
        async move {
            tokio::select! {
                () = gate.pass() => Ok(x + 1),
                () = context.cancelled() => Err(AgentError::retryable("told to stop")),
            }
        }
    })
}

fn worker(builder: RuntimeBuilder, gate: &Gate, calls: &Count) -> RuntimeBuilder {
    builder
        .worker_only()
        .claim_after(SOON)
        .agent(work(gate, calls))
}

fn queue() -> QueueName {
    QueueName::for_capability("work.v1").expect("a name")
}

fn is(envelope: &Envelope, kind: &str) -> bool {
    envelope.header("coditect-kind") == Some(kind)
}

/// How often the attempts of a run were handed out, claimed, and lost.
async fn history(shared: &Shared, run: &RunHandle<u64>) -> (usize, usize, usize) {
    let log = shared.journal.load(run.id()).await.expect("readable");
    let log = log.expect("the run is known");
    let count = |is: fn(&RecordKind) -> bool| log.tail.iter().filter(|one| is(&one.kind)).count();
    (
        count(|kind| matches!(kind, RecordKind::Dispatched { .. })),
        count(|kind| matches!(kind, RecordKind::Claimed { .. })),
        count(|kind| matches!(kind, RecordKind::Lost { .. })),
    )
}

#[tokio::test(start_paused = true)]
async fn a_task_that_takes_long_is_acknowledged_and_still_done_once() -> Result<(), Error> {
    let (shared, gate, calls) = (Shared::new(), Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let worker = worker(shared.runtime(), &gate, &calls).start().await?;
    let run = coordinator.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    assert_eq!(shared.bus.stats(&queue()).await?.unacked, 1);
    tokio::time::sleep(LONG).await;
    assert_eq!(shared.bus.stats(&queue()).await?.unacked, 0);
    gate.open(1);
    assert_eq!(within(run.result()).await?, 2);
    assert_eq!((calls.get(), history(&shared, &run).await), (1, (1, 1, 0)));
    worker.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_short_task_is_not_claimed() -> Result<(), Error> {
    let (shared, gate, calls) = (Shared::new(), Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let worker = worker(shared.runtime(), &gate, &calls).start().await?;
    let run = coordinator.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    tokio::time::sleep(SOON / 2).await;
    gate.open(1);
    assert_eq!(within(run.result()).await?, 2);
    assert_eq!(history(&shared, &run).await, (1, 0, 0));
    worker.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_new_owner_leaves_a_claimed_task_to_its_worker() -> Result<(), Error> {
    let (shared, gate, calls) = (Shared::new(), Gate::new(), Count::default());
    let first = shared.runtime().start().await?;
    let worker = worker(shared.runtime(), &gate, &calls).start().await?;
    let run = worker.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    tokio::time::sleep(2 * SOON).await;
    drop(first);
    let second = shared.runtime().start().await?;
    tokio::time::sleep(LONG).await;
    gate.open(1);
    assert_eq!(within(run.result()).await?, 2);
    assert_eq!((calls.get(), history(&shared, &run).await), (1, (1, 1, 0)));
    worker.shutdown().await?;
    second.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_falls_silent_loses_its_claim_and_is_told_to_stop() -> Result<(), Error> {
    let silent = Arc::new(AtomicBool::new(false));
    let muted = Arc::clone(&silent);
    let bus = Meddled::new().on_publish(move |envelope| {
        let arrives = !(is(envelope, "heartbeat") && muted.load(Ordering::SeqCst));
        Box::pin(std::future::ready(arrives))
    });
    let shared = Shared::on(Arc::new(bus));
    let (gate, calls) = (Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let worker = worker(shared.runtime(), &gate, &calls).start().await?;
    let run = coordinator.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    tokio::time::sleep(2 * SOON).await;
    assert_eq!(calls.get(), 1);
    silent.store(true, Ordering::SeqCst);
    // The same worker takes the second attempt, as its first was stopped.
    gate.arrived(1).await;
    silent.store(false, Ordering::SeqCst);
    tokio::time::sleep(2 * SOON).await;
    assert_eq!(history(&shared, &run).await, (2, 2, 1));
    gate.open(1);
    assert_eq!(within(run.result()).await?, 2);
    assert_eq!(calls.get(), 2);
    worker.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn silence_proves_nothing_while_the_owner_does_not_hear_itself() -> Result<(), Error> {
    let away = Arc::new(AtomicBool::new(false));
    let back = Arc::new(Notify::new());
    let (gone, returns) = (Arc::clone(&away), Arc::clone(&back));
    // The queue of outcomes takes nothing: whoever publishes to it waits, as with a broker that is away.
    let bus = Meddled::new().on_publish(move |envelope| {
        let kinds = ["heartbeat", "echo"];
        if !kinds.iter().any(|kind| is(envelope, kind)) || !gone.load(Ordering::SeqCst) {
            return Box::pin(std::future::ready(true));
        }
        let returns = Arc::clone(&returns);
        Box::pin(async move {
            returns.notified().await;
            true
        })
    });
    let shared = Shared::on(Arc::new(bus));
    let (gate, calls) = (Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let worker = worker(shared.runtime(), &gate, &calls).start().await?;
    let run = coordinator.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    tokio::time::sleep(2 * SOON).await;
    away.store(true, Ordering::SeqCst);
    tokio::time::sleep(LONG).await;
    away.store(false, Ordering::SeqCst);
    back.notify_waiters();
    tokio::time::sleep(LONG).await;
    gate.open(1);
    assert_eq!(within(run.result()).await?, 2);
    assert_eq!((calls.get(), history(&shared, &run).await), (1, (1, 1, 0)));
    worker.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_claimed_task_can_be_cancelled_and_abandoned() -> Result<(), Error> {
    let (shared, gate, calls) = (Shared::new(), Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let first = worker(shared.runtime(), &gate, &calls);
    let first = first.drain_limit(Duration::ZERO).start().await?;
    let (kept, dropped) = (
        coordinator.submit(&WORK, 1).await?,
        coordinator.submit(&WORK, 5).await?,
    );
    gate.arrived(2).await;
    tokio::time::sleep(2 * SOON).await;
    dropped.cancel("not needed").await?;
    assert!(within(dropped.result()).await.is_err());
    // The end of its process is told, so that nobody waits for the silence.
    let began = tokio::time::Instant::now();
    let second = worker(shared.runtime(), &gate, &calls).start().await?;
    first
        .shutdown()
        .await
        .expect_err("handlers were told to stop");
    gate.arrived(1).await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    gate.open(1);
    assert_eq!(within(kept.result()).await?, 2);
    assert_eq!(calls.get(), 3);
    second.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn what_waits_at_a_busy_worker_goes_to_one_that_has_time() -> Result<(), Error> {
    let shared = Shared::new();
    let (busy, free) = (Gate::new(), Gate::new());
    let coordinator = shared.runtime().start().await?;
    let one_slot = |gate: &Gate| {
        let gate = gate.clone();
        let work = move |x: u64| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok::<_, AgentError>(x + 1)
            }
        };
        shared
            .runtime()
            .worker_only()
            .agent(agent("work", work).with_concurrency(1))
    };
    let first = one_slot(&busy).start().await?;
    let blocked = coordinator.submit(&WORK, 1).await?;
    busy.arrived(1).await;
    let waiting = coordinator.submit(&WORK, 5).await?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let second = one_slot(&free).start().await?;
    free.arrived(1).await;
    free.open(1);
    assert_eq!(within(waiting.result()).await?, 6);
    busy.open(1);
    assert_eq!(within(blocked.result()).await?, 2);
    first.shutdown().await?;
    second.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test]
async fn the_task_of_a_killed_worker_runs_elsewhere_though_it_was_claimed() -> Result<(), Error> {
    let cluster = Cluster::new();
    let coordinator = cluster.node(|builder| builder).await?;
    let (dead, alive) = (Gate::new(), Gate::new());
    let calls = Count::default();
    let node = async |gate: &Gate| -> Result<Node, Error> {
        let soon = Duration::from_millis(20);
        cluster
            .node(|builder| worker(builder, gate, &calls).claim_after(soon))
            .await
    };
    let victim = node(&dead).await?;
    let run = coordinator.runtime().submit(&WORK, 1).await?;
    dead.arrived(1).await;
    let began = tokio::time::Instant::now();
    while cluster.bus().stats(&queue()).await?.unacked > 0 {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "it is never claimed"
        );
        tokio::task::yield_now().await;
    }
    let _other = node(&alive).await?;
    victim.kill();
    let died = tokio::time::Instant::now();
    alive.arrived(1).await;
    println!(
        "claimed work went on {:?} after its worker's death",
        died.elapsed()
    );
    alive.open(1);
    assert_eq!(run.result().await?, 2);
    assert!(
        died.elapsed() < 10 * cluster.lease(),
        "{:?}",
        died.elapsed()
    );
    assert_eq!(calls.get(), 2);
    Ok(())
}
