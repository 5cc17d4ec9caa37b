//! Agents of several versions that share a queue: a task waits for one that will do.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::bus::{MemoryBus, MessageBus};
use coditect_core::dag::journal::{MemoryJournal, RunJournal};
use coditect_core::prelude::*;
use coditect_core::registry::{MemoryRegistry, Registry};
use coditect_core::state::{MemoryStore, StateStore};
use coditect_core::{Dispatch, Error};

/// What the processes of a deployment share.
struct Shared {
    bus: Arc<dyn MessageBus>,
    registry: Arc<dyn Registry>,
    journal: Arc<dyn RunJournal>,
    store: Arc<dyn StateStore>,
}

impl Shared {
    fn new() -> Self {
        Self {
            bus: Arc::new(MemoryBus::new()),
            registry: Arc::new(MemoryRegistry::new()),
            journal: Arc::new(MemoryJournal::default()),
            store: Arc::new(MemoryStore::new()),
        }
    }

    fn builder(&self) -> coditect_core::RuntimeBuilder {
        Runtime::builder()
            .bus(Arc::clone(&self.bus))
            .registry(Arc::clone(&self.registry))
            .state((Arc::clone(&self.journal), Arc::clone(&self.store)))
            .dispatch(Dispatch::Bus)
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_for_a_busy_version_is_not_worn_out_by_others() -> Result<(), Error> {
    let shared = Shared::new();
    let old = agent("work@1.0.0", async |_: u64| Ok::<_, AgentError>(1_u64));
    let new = agent("work@1.5.0", async |_: u64| {
        tokio::time::sleep(Duration::from_secs(60)).await;
        Ok::<_, AgentError>(5_u64)
    });
    let coordinator = shared.builder().start().await?;
    let old = shared.builder().worker_only().agent(old).start().await?;
    let new = shared
        .builder()
        .worker_only()
        .agent(new.with_concurrency(1));
    let new = new.start().await?;

    let work: Call<u64, u64> = call("work@^1.4");
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..5)
        .map(|number| plan.task(format!("work-{number}"), &work, number))
        .collect();
    let run = coordinator.submit_plan(plan.output(tasks)?).await?;
    let versions: Vec<u64> = run.result().await?;
    assert_eq!(versions, [5; 5]);
    assert_eq!(run.report().await?.attempts, 5);
    old.shutdown().await?;
    new.shutdown().await?;
    coordinator.shutdown().await
}
