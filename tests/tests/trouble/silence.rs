//! Workers that fall silent are noticed, and those that speak keep what they have claimed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Dispatch, Error};

use crate::stage::{Count, Gate, Meddled, Shared};
use crate::{SOON, WORK, is, worker};

async fn silent_worker(private: bool) -> Result<(), Error> {
    let silent = Arc::new(AtomicBool::new(false));
    let muted = Arc::clone(&silent);
    let echoes = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&echoes);
    let bus = Meddled::new().on_publish(move |e| {
        if is(e, "echo") {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        Box::pin(std::future::ready(
            !(is(e, "heartbeat") && muted.load(Ordering::SeqCst)),
        ))
    });
    let shared = Shared::on(Arc::new(bus));
    let (gate, calls) = (Gate::new(), Count::default());
    let mut c = shared.runtime();
    if private {
        c = Runtime::builder()
            .bus(Arc::clone(&shared.bus))
            .registry(Arc::clone(&shared.registry))
            .dispatch(Dispatch::Bus);
    }
    let coordinator = c.start().await?;
    let _worker = worker(shared.runtime(), &gate, &calls).start().await?;
    let _run = coordinator.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    tokio::time::sleep(2 * SOON).await;
    silent.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(1800)).await;
    assert!(
        calls.get() > 1,
        "the claim of a silent worker was never given up"
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_silent_worker_is_noticed_by_the_owner_of_a_shared_journal() {
    silent_worker(false).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_silent_worker_is_noticed_by_the_owner_of_a_private_journal() {
    silent_worker(true).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_before_the_echo_keeps_the_timer() -> Result<(), Error> {
    let silent = Arc::new(AtomicBool::new(false));
    let late = Arc::new(AtomicBool::new(false));
    let (s, l) = (Arc::clone(&silent), Arc::clone(&late));
    let bus = Meddled::new().on_publish(move |e| {
        if is(e, "echo") && l.swap(false, Ordering::SeqCst) {
            // The broker is back: heartbeats come, the echo 4 s later, once.
            s.store(false, Ordering::SeqCst);
            return Box::pin(async {
                tokio::time::sleep(Duration::from_secs(4)).await;
                true
            });
        }
        Box::pin(std::future::ready(
            !(is(e, "heartbeat") && s.load(Ordering::SeqCst)),
        ))
    });
    let shared = Shared::on(Arc::new(bus));
    let (gate, calls) = (Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let _worker = worker(shared.runtime(), &gate, &calls).start().await?;
    let _run = coordinator.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    tokio::time::sleep(2 * SOON).await;
    late.store(true, Ordering::SeqCst);
    silent.store(true, Ordering::SeqCst);
    tokio::time::sleep(SOON).await;
    assert!(!silent.load(Ordering::SeqCst) && calls.get() == 1);
    silent.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(calls.get() >= 2, "nobody notices that the worker is silent");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_takeover_respects_the_workers_own_lease() -> Result<(), Error> {
    let (shared, gate, calls) = (Shared::new(), Gate::new(), Count::default());
    let first = shared.runtime().start().await?;
    let w = worker(shared.runtime(), &gate, &calls)
        .leases(Duration::from_secs(5), Duration::from_secs(60));
    let worker = w.start().await?;
    let _run = worker.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    tokio::time::sleep(3 * SOON + Duration::from_secs(1)).await;
    drop(first);
    let _second = shared.runtime().start().await?;
    tokio::time::sleep(10 * SOON).await;
    assert_eq!(
        calls.get(),
        1,
        "a living worker lost its claim at the takeover"
    );
    Ok(())
}
