//! The bus as one node sees it: a memory bus behind a connection on which everything happens that a promise allows.

mod feed;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coditect_core::bus::{
    Capabilities, Consumer, DeadLetterFilter, DeadLetterPage, Destination, Envelope, Error,
    ErrorKind, MemoryBus, MessageBus, Page, PublishError, QueueName, QueueSpec, QueueStats,
    Subscription,
};

pub(crate) use self::feed::Feed;
use crate::life::Life;
use crate::planted::Planted;
use crate::witness::Witness;

/// One node's connection to the bus.
#[derive(Clone)]
pub(crate) struct SimBus {
    inner: MemoryBus,
    life: Arc<Life>,
    witness: Arc<Witness>,
    planted: Option<Planted>,
}

impl SimBus {
    pub(crate) fn new(
        inner: &MemoryBus,
        life: &Arc<Life>,
        witness: &Arc<Witness>,
        planted: Option<Planted>,
    ) -> Self {
        Self {
            inner: inner.clone(),
            life: Arc::clone(life),
            witness: Arc::clone(witness),
            planted,
        }
    }

    async fn asked<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.life.travel().await;
        // Less often than a message: most of it is asked when a node starts, which it then cannot.
        if self
            .life
            .world
            .hits(self.life.world.faults.publish_refused / 8)
        {
            self.life.note("the bus refuses", [0, 0]);
            return Err(unavailable());
        }
        let answer = answer.await;
        self.life.travel().await;
        answer
    }

    /// Puts messages on the bus, some of them late, some twice.
    async fn put(&self, to: &Destination, envelopes: Vec<Envelope>) -> Result<(), PublishError> {
        let world = &self.life.world;
        let mut put = Vec::with_capacity(envelopes.len());
        for mut envelope in envelopes {
            if self.planted == Some(Planted::GrantsForged) {
                envelope = granted(envelope);
            }
            if world.hits(world.faults.late) && envelope.delay().is_none() {
                let span = Duration::from_millis(1 + world.below(1_500));
                envelope = envelope.with_delay(span);
            }
            if world.hits(world.faults.duplicate) {
                self.life.note("arrives twice", [0, 0]);
                put.push(envelope.clone());
            }
            put.push(envelope);
        }
        self.inner.publish_batch(to, put).await
    }
}

#[async_trait]
impl MessageBus for SimBus {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn handle(&self) -> Arc<dyn MessageBus> {
        Arc::new(self.clone())
    }

    async fn declare(&self, spec: QueueSpec) -> Result<(), Error> {
        self.asked(self.inner.declare(spec)).await
    }

    async fn delete(&self, queue: &QueueName) -> Result<bool, Error> {
        self.asked(self.inner.delete(queue)).await
    }

    async fn publish(&self, to: &Destination, envelope: Envelope) -> Result<(), PublishError> {
        self.publish_batch(to, vec![envelope]).await
    }

    async fn publish_batch(
        &self,
        to: &Destination,
        mut envelopes: Vec<Envelope>,
    ) -> Result<(), PublishError> {
        let (life, world) = (&self.life, &self.life.world);
        let faults = &world.faults;
        life.travel().await;
        let count = envelopes.len() as u64;
        if world.hits(faults.publish_refused) {
            life.note("publish refused", [count, 0]);
            return Err(PublishError::of_batch(unavailable(), envelopes));
        }
        match to {
            Destination::Queue(queue) => self.witness.published_to(queue),
            _ if world.hits(faults.notice_lost) => {
                life.note("notice lost", [count, 0]);
                return Ok(());
            }
            _ => {}
        }
        if self.planted == Some(Planted::BusDropsConfirmed)
            && matches!(to, Destination::Queue(_))
            && world.below(8) == 0
        {
            life.note("confirmed and dropped", [count, 0]);
            return Ok(());
        }
        life.note("publish", [count, name_of(to)]);
        if world.hits(faults.publish_unsure) {
            let taken = world.below(count + 1) as usize;
            life.note("publish unsure", [taken as u64, count]);
            let first = envelopes.iter().take(taken).cloned().collect();
            self.put(to, first).await?;
            life.travel().await;
            let error = unavailable().with_outcome_unknown();
            return Err(PublishError::of_batch(error, envelopes));
        }
        let published = self.put(to, std::mem::take(&mut envelopes)).await;
        life.travel().await;
        published
    }

    async fn subscribe(&self, subscription: Subscription) -> Result<Consumer, Error> {
        let consumer = self.asked(self.inner.subscribe(subscription)).await?;
        Ok(Feed::begin(&self.life, consumer))
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, Error> {
        self.asked(self.inner.stats(queue)).await
    }

    async fn dead_letters(
        &self,
        queue: &QueueName,
        filter: &DeadLetterFilter,
        page: Page,
    ) -> Result<DeadLetterPage, Error> {
        self.asked(self.inner.dead_letters(queue, filter, page))
            .await
    }

    async fn redrive(&self, queue: &QueueName, filter: &DeadLetterFilter) -> Result<u64, Error> {
        self.asked(self.inner.redrive(queue, filter)).await
    }

    async fn purge_dead_letters(
        &self,
        queue: &QueueName,
        filter: &DeadLetterFilter,
    ) -> Result<u64, Error> {
        self.asked(self.inner.purge_dead_letters(queue, filter))
            .await
    }

    async fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// A number that tells destinations apart in the record of events.
fn name_of(to: &Destination) -> u64 {
    let name = to.to_string();
    // Incarnations are in names, and follow from the seed.
    name.bytes().fold(7, |hash: u64, byte| {
        hash.wrapping_mul(31).wrapping_add(u64::from(byte))
    }) & 0xffff
}

/// A refused claim that looks as if it had been granted.
fn granted(envelope: Envelope) -> Envelope {
    if envelope.header("coditect-kind") != Some("grant") {
        return envelope;
    }
    let body = String::from_utf8_lossy(envelope.payload()).replace("false", "true");
    Envelope::new(body).with_headers(envelope.headers().clone())
}

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "the simulated bus does not answer")
}
