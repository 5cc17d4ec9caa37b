//! The memory backend: a bus within one process, and the reference for all others.
//!
//! Each queue is one short lock around its backlog. Consumers pull: a message leaves its queue, by priority, in the moment a consumer
//! takes it, and from then on belongs to its delivery, which gives it back if it is dropped. So nothing is copied, prefetch
//! is a count, and an acknowledgement is one atomic step.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use parking_lot::RwLock;
use rustc_hash::FxHashMap;

mod backlog;
mod config;
mod consumer;
mod dead;
mod error;
mod lease;
mod publish;
mod queue;
mod route;
mod timer;

#[cfg(test)]
mod tests;

pub use config::MemoryBusBuilder;

use consumer::MemoryConsumer;
use queue::Queue;
use route::Routes;
use timer::Timer;

use crate::{
    Capabilities, Consumer, DeadLetterFilter, DeadLetterPage, Destination, Envelope, Error,
    MessageBus, Observer, Page, PublishError, QueueName, QueueSpec, QueueStats, Silent, Source,
    Subscription,
};

/// Carries messages within one process, in memory.
///
/// A clone is another handle on the same bus. It ends with its last handle, or when it is closed.
///
/// ```
/// use coditect_bus::{Destination, Envelope, MemoryBus, MessageBus, QueueName, QueueSpec, Subscription};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), coditect_bus::Error> {
/// let bus = MemoryBus::new();
/// let queue = QueueName::new("greetings")?;
/// bus.declare(QueueSpec::new(queue.clone())).await?;
/// bus.publish(&queue.clone().into(), Envelope::new("hello")).await?;
///
/// let mut consumer = bus.subscribe(Subscription::queue(queue)).await?;
/// let delivery = consumer.recv().await.expect("the bus is open");
/// assert_eq!(delivery.payload(), "hello".as_bytes());
/// delivery.ack().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MemoryBus(Arc<Hub>);

/// What all handles share.
#[derive(Debug)]
struct Hub {
    config: MemoryBusBuilder,
    queues: RwLock<FxHashMap<QueueName, Arc<Queue>>>,
    /// Locked after `queues` where both are needed.
    routes: RwLock<Routes>,
    timer: Arc<Timer>,
    closed: AtomicBool,
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBus {
    /// Makes a bus with the usual limits.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Begins a bus with limits of its own.
    pub fn builder() -> MemoryBusBuilder {
        MemoryBusBuilder::default()
    }

    /// Takes all deliveries away from their holders, as the loss of a broker's connection does; consumers go on.
    ///
    /// A message comes again when its former holder settles or drops its delivery.
    #[cfg(any(test, feature = "test-util"))]
    pub fn sever(&self) {
        let queues: Vec<_> = self.0.queues.read().values().cloned().collect();
        for queue in queues {
            queue.sever();
        }
    }

    fn from_config(config: MemoryBusBuilder) -> Self {
        Self(Arc::new(Hub {
            timer: Arc::new(Timer::new(config.wall)),
            config,
            queues: RwLock::default(),
            routes: RwLock::default(),
            closed: AtomicBool::new(false),
        }))
    }
}

impl Hub {
    fn check_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) {
            return Err(error::closed());
        }
        Ok(())
    }

    fn queue(&self, name: &QueueName) -> Result<Arc<Queue>, Error> {
        self.check_open()?;
        let found = self.queues.read().get(name).cloned();
        found.ok_or_else(|| error::no_queue(name))
    }

    /// Finds the queue of this name, or makes it and adds its routes.
    fn queue_or_new(&self, spec: QueueSpec, source: Option<&Source>) -> Result<Arc<Queue>, Error> {
        let mut queues = self.queues.write();
        // Looked at under the lock under which `close` takes the queues, so that none appears after it.
        self.check_open()?;
        if let Some(queue) = queues.get(spec.name()) {
            if queue.spec != spec {
                return Err(error::conflict(spec.name()));
            }
            return Ok(Arc::clone(queue));
        }
        let name = spec.name().clone();
        let queue = Queue::new(
            spec,
            self.config.max_dead_letters.get(),
            self.config.observer.clone(),
            Arc::clone(&self.timer),
        );
        if let Some(source) = source {
            self.routes.write().add(source, Arc::clone(&queue));
        }
        queues.insert(name, Arc::clone(&queue));
        Ok(queue)
    }

    /// Forgets a queue that is gone.
    fn unlink(&self, queue: &Arc<Queue>) {
        let mut queues = self.queues.write();
        if queues
            .get(queue.name())
            .is_some_and(|known| Arc::ptr_eq(known, queue))
        {
            queues.remove(queue.name());
        }
        self.routes.write().remove(queue);
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.timer.stop();
        for queue in self.queues.get_mut().values() {
            queue.end();
        }
    }
}

#[async_trait]
impl MessageBus for MemoryBus {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            persistent: false,
            requeue_at_front: true,
            exact_capacity: true,
            shared_capacity: true,
            max_payload: self.0.config.max_payload,
            max_hold: None,
        }
    }

    fn handle(&self) -> Arc<dyn MessageBus> {
        Arc::new(self.clone())
    }

    fn observer(&self) -> &dyn Observer {
        self.0.config.observer.as_deref().unwrap_or(&Silent)
    }

    async fn declare(&self, spec: QueueSpec) -> Result<(), Error> {
        self.0.queue_or_new(spec, None).map(drop)
    }

    async fn delete(&self, name: &QueueName) -> Result<bool, Error> {
        self.0.check_open()?;
        let Ok(queue) = self.0.queue(name) else {
            return Ok(false);
        };
        self.0.unlink(&queue);
        queue.end();
        Ok(true)
    }

    async fn publish(&self, to: &Destination, envelope: Envelope) -> Result<(), PublishError> {
        self.0.publish(to, envelope).await
    }

    async fn publish_batch(
        &self,
        to: &Destination,
        envelopes: Vec<Envelope>,
    ) -> Result<(), PublishError> {
        self.0.publish_batch(to, VecDeque::from(envelopes)).await
    }

    async fn subscribe(&self, subscription: Subscription) -> Result<Consumer, Error> {
        let prefetch = subscription.prefetch().get();
        let leases = loop {
            let queue = match subscription.source() {
                Source::Queue(name) => self.0.queue(name)?,
                source @ (Source::Topic(_, group) | Source::Fanout(_, group)) => {
                    let name = source.queue_name()?;
                    let mut spec = match group {
                        Some(_) => QueueSpec::new(name),
                        None => QueueSpec::temporary(name),
                    };
                    spec.bounds = subscription.bounds;
                    self.0.queue_or_new(spec, Some(source))?
                }
            };
            // The queue may end between being found and being attached to; then it is unlinked already, or at once.
            match queue.attach(prefetch) {
                Some(leases) => break leases,
                None => self.0.unlink(&queue),
            }
        };
        Ok(Consumer::new(MemoryConsumer::new(
            leases,
            Arc::downgrade(&self.0),
        )))
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, Error> {
        Ok(self.0.queue(queue)?.stats())
    }

    async fn dead_letters(
        &self,
        queue: &QueueName,
        filter: &DeadLetterFilter,
        page: Page,
    ) -> Result<DeadLetterPage, Error> {
        Ok(self.0.queue(queue)?.dead_letters(filter, page))
    }

    async fn redrive(&self, queue: &QueueName, filter: &DeadLetterFilter) -> Result<u64, Error> {
        Ok(self.0.queue(queue)?.redrive(filter))
    }

    async fn purge_dead_letters(
        &self,
        queue: &QueueName,
        filter: &DeadLetterFilter,
    ) -> Result<u64, Error> {
        Ok(self.0.queue(queue)?.purge(filter))
    }

    async fn close(&self) -> Result<(), Error> {
        self.0.closed.store(true, Ordering::Release);
        let queues = std::mem::take(&mut *self.0.queues.write());
        *self.0.routes.write() = Routes::default();
        for queue in queues.values() {
            queue.end();
        }
        self.0.timer.stopped().await;
        Ok(())
    }
}
