//! Who claims an attempt that another one holds: it fills no journal, and takes nothing away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coditect_core::Error;
use coditect_core::bus::{Destination, Envelope};
use coditect_core::dag::journal::RecordKind;

use crate::stage::{Count, Gate, Meddled, Shared, within};
use crate::{SOON, WORK, is, worker};

#[tokio::test(start_paused = true)]
async fn two_holders_do_not_fill_the_journal() -> Result<(), Error> {
    let (shared, gate, calls) = (
        Shared::new().with_partitions(1),
        Gate::new(),
        Count::default(),
    );
    let coordinator = shared.runtime().start().await?;
    let _worker = worker(shared.runtime(), &gate, &calls).start().await?;
    let run = coordinator.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    tokio::time::sleep(2 * SOON).await;
    let body = format!(
        r#"{{"incarnation":"0192d3c0-9c41-7d10-8a3e-5f6f2d1c0b7a","lease_ms":10000,"attempts":[{{"run":"{}","task":0,"attempt":1}}]}}"#,
        run.id()
    );
    let to = Destination::Queue("outcome.0".parse().unwrap());
    for _ in 0..1000 {
        let e = Envelope::new(body.clone()).with_header("coditect-kind", "heartbeat");
        shared.bus.publish(&to, e).await.unwrap();
        tokio::time::sleep(Duration::from_millis(3333)).await;
    }
    let log = shared.journal.load(run.id()).await?.unwrap();
    let n = log
        .tail
        .iter()
        .filter(|r| matches!(r.kind, RecordKind::Claimed { .. }))
        .count();
    assert!(n < 10, "{n} claims were recorded in 55 minutes");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_came_late_and_was_taken_back_loses_no_task() -> Result<(), Error> {
    let muted = Arc::new(AtomicBool::new(false));
    let mute = Arc::clone(&muted);
    let bus = Meddled::new().on_publish(move |envelope| {
        let gone =
            mute.load(Ordering::SeqCst) && (is(envelope, "heartbeat") || is(envelope, "outcome"));
        Box::pin(std::future::ready(!gone))
    });
    let shared = Shared::on(Arc::new(bus)).with_partitions(1);
    let (gate, calls) = (Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let _worker = worker(shared.runtime(), &gate, &calls).start().await?;
    let run = coordinator.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    tokio::time::sleep(2 * SOON).await;
    // Its worker has claimed it and acknowledged the message; now that worker vanishes.
    muted.store(true, Ordering::SeqCst);
    let body = format!(
        r#"{{"incarnation":"0192d3c0-9c41-7d10-8a3e-5f6f2d1c0b7a","lease_ms":10000,"attempts":[{{"run":"{}","task":0,"attempt":1}}]}}"#,
        run.id()
    );
    // Somebody had it before, and could not acknowledge it: what it said then comes now.
    let to = Destination::Queue("outcome.0".parse().expect("a name"));
    for kind in ["claim", "release"] {
        let said = Envelope::new(body.clone()).with_header("coditect-kind", kind);
        shared.bus.publish(&to, said).await.expect("it is there");
    }
    gate.arrived(1).await;
    muted.store(false, Ordering::SeqCst);
    gate.open(2);
    assert_eq!(within(run.result()).await?, 2);
    assert_eq!(calls.get(), 2);
    Ok(())
}
