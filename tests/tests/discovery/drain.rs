//! A process that ends in order: others are told at its beginning, and it leaves at its end.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::Error;
use coditect_core::prelude::*;
use coditect_core::registry::{Standing, Strategy};

use crate::stage::{Gate, Shared, within};

const WORK: Call<u64, u64> = Call::new("work");

#[tokio::test(start_paused = true)]
async fn who_drains_says_so_ends_its_work_and_gives_back_what_it_has_not_begun() -> Result<(), Error>
{
    let (shared, gate) = (Shared::new(), Gate::new());
    let coordinator = shared.runtime().route("work", Strategy::LeastConnections);
    let coordinator = coordinator.start().await?;
    let held = gate.clone();
    let leaving = agent("work", move |x: u64| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            Ok::<_, AgentError>(x)
        }
    });
    let leaving = shared
        .runtime()
        .worker_only()
        .agent(leaving.with_concurrency(1));
    let leaving = leaving
        .drain_limit(Duration::from_secs(600))
        .start()
        .await?;
    let begun = coordinator.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    let next = coordinator.submit(&WORK, 2).await?;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let leaving = Arc::new(leaving);
    let ends = {
        let leaving = Arc::clone(&leaving);
        tokio::spawn(async move { leaving.shutdown().await })
    };
    tokio::time::sleep(Duration::from_millis(10)).await;
    let records = coordinator.agents().records();
    assert_eq!(records.len(), 1, "it is there until its work has ended");
    assert_eq!(records[0].standing(), Standing::Draining);
    let other = agent("work", async |x: u64| Ok::<_, AgentError>(10 * x));
    let other = shared.runtime().worker_only().agent(other).start().await?;
    assert_eq!(within(next.result()).await?, 20);
    assert!(!ends.is_finished());
    gate.open(1);
    assert_eq!(
        within(begun.result()).await?,
        1,
        "what had begun was not lost"
    );
    within(ends).await.expect("no panic")?;
    assert_eq!(coordinator.agents().len(), 1);
    other.shutdown().await?;
    coordinator.shutdown().await
}
