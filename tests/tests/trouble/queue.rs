//! A queue that is full, or deleted, and a bus that is closed: the rest goes on, and nothing is repeated without end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coditect_core::Error;
use coditect_core::bus::{Destination, Envelope};
use coditect_core::prelude::*;

use crate::stage::{Count, Gate, Meddled, Shared, within};
use crate::{SOON, WORK, is, queue, work, worker};

const QUICK: Call<u64, u64> = Call::new("quick");

#[tokio::test(start_paused = true)]
async fn one_full_queue_lets_cancels_through() -> Result<(), Error> {
    let (shared, gate, calls) = (
        Shared::new().with_partitions(1),
        Gate::new(),
        Count::default(),
    );
    let coordinator = shared.runtime().start().await?;
    let _w = shared
        .runtime()
        .worker_only()
        .agent(work(&gate, &calls, 1))
        .start()
        .await?;
    let _q = shared
        .runtime()
        .worker_only()
        .agent(agent("quick", async |x: u64| Ok::<_, AgentError>(x)))
        .start()
        .await?;
    let stuck = coordinator.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    assert_eq!(within(coordinator.run(&QUICK, 7)).await?, 7);
    let to = Destination::Queue(queue());
    // The bus takes 100,000 of each priority.
    let mut batches = 0;
    loop {
        let filler = (0..1000).map(|_| Envelope::new("1").with_header("coditect-kind", "request"));
        if shared
            .bus
            .publish_batch(&to, filler.collect())
            .await
            .is_err()
        {
            break;
        }
        batches += 1;
        assert!(batches <= 100, "the queue takes more than it should");
    }
    let _second = coordinator.submit(&WORK, 2).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    stuck.cancel("not needed").await?;
    let quick = coordinator.submit(&QUICK, 8).await?;
    let r = tokio::time::timeout(Duration::from_secs(600), quick.result()).await;
    assert!(r.is_ok(), "a full queue of one capability stops all others");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_closed_bus_is_not_asked_for_ever() -> Result<(), Error> {
    let told = Arc::new(AtomicUsize::new(0));
    let n = Arc::clone(&told);
    let bus = Meddled::new().on_publish(move |e| {
        if is(e, "outcome") {
            n.fetch_add(1, Ordering::SeqCst);
        }
        Box::pin(std::future::ready(true))
    });
    let shared = Shared::on(Arc::new(bus));
    let (gate, calls) = (Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let _worker = worker(shared.runtime(), &gate, &calls).start().await?;
    let _run = coordinator.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    tokio::time::sleep(2 * SOON).await;
    shared.bus.close().await?;
    gate.open(1);
    let before = tokio::time::Instant::now();
    for _ in 0..20_000 {
        tokio::task::yield_now().await;
    }
    let n = told.load(Ordering::SeqCst);
    gate.open(10);
    assert!(n < 100, "a hot loop: {n} tries in {:?}", before.elapsed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_deleted_queue_is_published_again_once() -> Result<(), Error> {
    let (shared, gate, calls) = (
        Shared::new().with_partitions(1),
        Gate::new(),
        Count::default(),
    );
    let coordinator = shared.runtime().start().await?;
    let mut workers = Vec::new();
    for _ in 0..8 {
        workers.push(
            shared
                .runtime()
                .worker_only()
                .agent(work(&gate, &calls, 1))
                .start()
                .await?,
        );
    }
    let mut runs = Vec::new();
    for x in 0..20 {
        runs.push(coordinator.submit(&WORK, x).await?);
    }
    gate.arrived(8).await;
    shared.bus.delete(&queue()).await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    gate.open(1_000_000);
    for r in &runs {
        within(r.result()).await?;
    }
    tokio::time::sleep(SOON).await;
    assert!(calls.get() <= 8 + 20, "{} calls of 20 tasks", calls.get());
    Ok(())
}
