//! Which process asks the agents for signs of life, where several could.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use coditect_core::bus::MessageBus;
use coditect_core::prelude::*;
use coditect_core::registry::{CheckPolicy, MemoryRegistry, Registry};
use coditect_core::{Error, RuntimeBuilder};

use crate::stage::{Meddled, Notes};

#[tokio::test(start_paused = true)]
async fn of_coordinators_with_journals_of_their_own_one_checks_and_then_another()
-> Result<(), Error> {
    let askers = Notes::new();
    let noted = askers.clone();
    let bus = Meddled::new().on_publish(move |envelope| {
        if envelope.header("coditect-kind") == Some("probe") {
            let asker = envelope.reply_to().expect("where to answer");
            noted.push(asker.to_string());
        }
        Box::pin(std::future::ready(true))
    });
    let bus: Arc<dyn MessageBus> = Arc::new(bus);
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let eager = CheckPolicy::default().with_interval(Duration::from_millis(100));
    // No state is named, so each has a journal that nobody else sees.
    let process = || -> RuntimeBuilder {
        Runtime::builder()
            .bus(Arc::clone(&bus))
            .registry(Arc::clone(&registry))
            .check_agents(eager)
    };
    let work = agent("work", async |x: u64| Ok::<_, AgentError>(x));
    let worker = process().worker_only().agent(work).start().await?;
    let mut coordinators = Vec::new();
    for _ in 0..3 {
        coordinators.push(process().start().await?);
    }
    let mut before = 0;
    let mut asking = async || {
        // Until whoever follows has found out that it does.
        tokio::time::sleep(Duration::from_secs(3)).await;
        before = before.max(askers.all().len());
        tokio::time::sleep(Duration::from_secs(10)).await;
        let asked = askers.all().split_off(before);
        (
            asked.len(),
            asked.into_iter().collect::<BTreeSet<_>>().len(),
        )
    };
    while let Some(last) = coordinators.pop() {
        let (probes, askers) = asking().await;
        assert_eq!(askers, 1, "beside {} others", coordinators.len());
        assert!((70..=140).contains(&probes), "{probes} probes of one agent");
        last.shutdown().await?;
    }
    assert_eq!(asking().await, (0, 0));
    worker.shutdown().await
}
