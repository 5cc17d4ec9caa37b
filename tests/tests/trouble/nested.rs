//! Requests of an agent to its own kind, with one slot each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use coditect_core::Error;
use coditect_core::bus::{
    Capabilities, Consumer, DeadLetterFilter, DeadLetterPage, Destination, Envelope,
    Error as BusError, ErrorKind, MemoryBus, MessageBus, Page, PublishError, QueueName, QueueSpec,
    QueueStats, Subscription,
};
use coditect_core::prelude::*;

use crate::WORK;
use crate::stage::{Shared, within};

/// The first further subscription to the work queue fails, as while a broker comes back.
#[derive(Clone)]
struct Once(MemoryBus, Arc<AtomicUsize>);
#[async_trait::async_trait]
impl MessageBus for Once {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
    fn handle(&self) -> Arc<dyn MessageBus> {
        Arc::new(self.clone())
    }
    async fn declare(&self, s: QueueSpec) -> Result<(), BusError> {
        self.0.declare(s).await
    }
    async fn delete(&self, q: &QueueName) -> Result<bool, BusError> {
        self.0.delete(q).await
    }
    async fn publish(&self, to: &Destination, e: Envelope) -> Result<(), PublishError> {
        self.0.publish(to, e).await
    }
    async fn publish_batch(&self, to: &Destination, e: Vec<Envelope>) -> Result<(), PublishError> {
        self.0.publish_batch(to, e).await
    }
    async fn subscribe(&self, s: Subscription) -> Result<Consumer, BusError> {
        if format!("{s:?}").contains("capability.") && self.1.fetch_add(1, Ordering::SeqCst) == 1 {
            return Err(BusError::new(ErrorKind::Unavailable, "broker is away"));
        }
        self.0.subscribe(s).await
    }
    async fn stats(&self, q: &QueueName) -> Result<QueueStats, BusError> {
        self.0.stats(q).await
    }
    async fn dead_letters(
        &self,
        q: &QueueName,
        f: &DeadLetterFilter,
        p: Page,
    ) -> Result<DeadLetterPage, BusError> {
        self.0.dead_letters(q, f, p).await
    }
    async fn redrive(&self, q: &QueueName, f: &DeadLetterFilter) -> Result<u64, BusError> {
        self.0.redrive(q, f).await
    }
    async fn purge_dead_letters(
        &self,
        q: &QueueName,
        f: &DeadLetterFilter,
    ) -> Result<u64, BusError> {
        self.0.purge_dead_letters(q, f).await
    }
    async fn close(&self) -> Result<(), BusError> {
        self.0.close().await
    }
}

async fn nest(fails: bool) -> Result<(), Error> {
    let shared = Shared::on(Arc::new(Once(
        MemoryBus::new(),
        Arc::new(AtomicUsize::new(if fails { 0 } else { 100 })),
    )));
    let coordinator = shared.runtime().start().await?;
    let nested = agent("work", async |context: TaskContext, x: u64| {
        if x == 0 {
            return Ok(1);
        }
        Ok::<_, AgentError>(1 + context.request("child", &WORK, x - 1).await?)
    })
    .with_concurrency(1);
    let _w = shared.runtime().worker_only().agent(nested).start().await?;
    assert_eq!(within(coordinator.run(&WORK, 5)).await?, 6);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nested_requests_of_one_agent_come_to_an_end() {
    nest(false).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn nested_requests_come_to_an_end_though_a_subscription_fails_once() {
    nest(true).await.unwrap()
}
