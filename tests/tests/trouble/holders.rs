//! Who claims an attempt that another one holds fills no journal.

use std::time::Duration;

use coditect_core::Error;
use coditect_core::bus::{Destination, Envelope};
use coditect_core::dag::journal::RecordKind;

use crate::stage::{Count, Gate, Shared};
use crate::{SOON, WORK, worker};

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
