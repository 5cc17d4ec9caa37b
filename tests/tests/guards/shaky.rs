//! Ports behind a line that can be cut, or go silent.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use coditect_core::bus::{
    self, Consumer, DeadLetterFilter, DeadLetterPage, Destination, Envelope, MemoryBus, MessageBus,
    PublishError, QueueName, QueueSpec, QueueStats, Subscription,
};
use coditect_core::registry::{
    self, AgentRecord, FencingToken, Filter, Health, Incarnation, Instance, Load, MemoryRegistry,
    Registration, Registry, Role, Verdict,
};
use coditect_core::state::{
    self, Capabilities, CommitVersion, Limits, MemoryStore, Page, Range, Stamped, StateStore,
    Transaction,
};
use tokio::sync::watch;

use crate::stage::Count;

/// What a line does with calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Well,
    /// Each call fails at once.
    Gone,
    /// Each call waits until the mode changes.
    Hangs,
    /// Publishes to this queue fail at once.
    Without(QueueName),
}

/// What calls go through, and are counted by.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    mode: watch::Sender<Mode>,
    calls: Count,
}

impl Line {
    pub(crate) fn new() -> Self {
        Self {
            mode: watch::Sender::new(Mode::Well),
            calls: Count::default(),
        }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// How many calls got as far as here.
    pub(crate) fn calls(&self) -> usize {
        self.calls.get()
    }

    /// Says whether a call arrives.
    async fn carries(&self, to: Option<&Destination>) -> bool {
        self.calls.add();
        let mut mode = self.mode.subscribe();
        let mode = mode.wait_for(|mode| *mode != Mode::Hangs).await.unwrap();
        match (&*mode, to) {
            (Mode::Gone, _) => false,
            (Mode::Without(queue), Some(Destination::Queue(to))) => queue != to,
            _ => true,
        }
    }
}

/// A port behind a line.
#[derive(Debug)]
pub(crate) struct Shaky<T> {
    inner: Arc<T>,
    pub(crate) line: Line,
}

impl<T> Shaky<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self {
            inner: Arc::new(inner),
            line: Line::new(),
        }
    }
}

impl<T> Clone for Shaky<T> {
    fn clone(&self) -> Self {
        let (inner, line) = (Arc::clone(&self.inner), self.line.clone());
        Self { inner, line }
    }
}

impl Shaky<MemoryStore> {
    async fn arrives(&self) -> state::Result<()> {
        if self.line.carries(None).await {
            return Ok(());
        }
        let text = "the line is cut";
        Err(state::Error::new(state::ErrorKind::Unavailable, text))
    }
}

#[async_trait]
impl StateStore for Shaky<MemoryStore> {
    async fn begin(&self) -> state::Result<Box<dyn Transaction>> {
        self.arrives().await?;
        let transaction = self.inner.begin().await?;
        let line = self.clone();
        Ok(Box::new(ShakyTransaction { transaction, line }))
    }

    async fn watch(&self, key: &[u8]) -> state::Result<state::Watch> {
        self.arrives().await?;
        self.inner.watch(key).await
    }

    async fn now(&self) -> state::Result<SystemTime> {
        self.arrives().await?;
        self.inner.now().await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::in_process()
            .with_shared(true)
            .with_unknown_outcomes(true)
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }
}

#[derive(Debug)]
struct ShakyTransaction {
    transaction: Box<dyn Transaction>,
    line: Shaky<MemoryStore>,
}

#[async_trait]
impl Transaction for ShakyTransaction {
    async fn get(&mut self, key: &[u8]) -> state::Result<Option<Bytes>> {
        self.line.arrives().await?;
        self.transaction.get(key).await
    }

    async fn get_snapshot(&mut self, key: &[u8]) -> state::Result<Option<Bytes>> {
        self.line.arrives().await?;
        self.transaction.get_snapshot(key).await
    }

    async fn range(&mut self, range: Range) -> state::Result<Page> {
        self.line.arrives().await?;
        self.transaction.range(range).await
    }

    fn set(&mut self, key: &[u8], value: Bytes) -> state::Result<()> {
        self.transaction.set(key, value)
    }

    fn set_stamped_key(&mut self, key: Stamped, value: Bytes) -> state::Result<()> {
        self.transaction.set_stamped_key(key, value)
    }

    fn set_stamped_value(&mut self, key: &[u8], value: Stamped) -> state::Result<()> {
        self.transaction.set_stamped_value(key, value)
    }

    fn clear(&mut self, key: &[u8]) -> state::Result<()> {
        self.transaction.clear(key)
    }

    fn clear_range(&mut self, begin: &[u8], end: &[u8]) -> state::Result<()> {
        self.transaction.clear_range(begin, end)
    }

    fn size(&self) -> usize {
        self.transaction.size()
    }

    async fn commit(self: Box<Self>) -> state::Result<CommitVersion> {
        self.line.arrives().await?;
        self.transaction.commit().await
    }
}

impl Shaky<MemoryRegistry> {
    async fn asked<T>(
        &self,
        answer: impl Future<Output = registry::Result<T>>,
    ) -> registry::Result<T> {
        if self.line.carries(None).await {
            return answer.await;
        }
        let text = "the line is cut";
        Err(registry::Error::new(registry::ErrorKind::Unavailable, text))
    }
}

#[async_trait]
impl Registry for Shaky<MemoryRegistry> {
    async fn register(&self, record: AgentRecord, ttl: Duration) -> registry::Result<Registration> {
        self.asked(self.inner.register(record, ttl)).await
    }

    async fn renew(
        &self,
        registration: &Registration,
        load: Load,
        health: Health,
    ) -> registry::Result<()> {
        let answer = self.inner.renew(registration, load, health);
        self.asked(answer).await
    }

    async fn update(
        &self,
        registration: &Registration,
        record: AgentRecord,
    ) -> registry::Result<()> {
        self.asked(self.inner.update(registration, record)).await
    }

    async fn judge(&self, instance: &Instance, verdict: Option<Verdict>) -> registry::Result<()> {
        self.asked(self.inner.judge(instance, verdict)).await
    }

    async fn elect(
        &self,
        role: &Role,
        candidate: Incarnation,
        ttl: Duration,
    ) -> registry::Result<Option<FencingToken>> {
        self.asked(self.inner.elect(role, candidate, ttl)).await
    }

    async fn resign(&self, role: &Role, candidate: Incarnation) -> registry::Result<()> {
        self.asked(self.inner.resign(role, candidate)).await
    }

    async fn deregister(&self, registration: &Registration) -> registry::Result<()> {
        self.asked(self.inner.deregister(registration)).await
    }

    async fn list(&self, filter: &Filter) -> registry::Result<Vec<Arc<AgentRecord>>> {
        self.asked(self.inner.list(filter)).await
    }

    async fn watch(&self) -> registry::Result<registry::Watch> {
        self.asked(self.inner.watch()).await
    }
}

impl Shaky<MemoryBus> {
    async fn arrives(&self, to: Option<&Destination>) -> Result<(), bus::Error> {
        if self.line.carries(to).await {
            return Ok(());
        }
        let text = "the line is cut";
        Err(bus::Error::new(bus::ErrorKind::Unavailable, text))
    }
}

#[async_trait]
impl MessageBus for Shaky<MemoryBus> {
    fn capabilities(&self) -> bus::Capabilities {
        self.inner.capabilities()
    }

    fn handle(&self) -> Arc<dyn MessageBus> {
        Arc::new(self.clone())
    }

    async fn declare(&self, spec: QueueSpec) -> Result<(), bus::Error> {
        self.arrives(None).await?;
        self.inner.declare(spec).await
    }

    async fn delete(&self, queue: &QueueName) -> Result<bool, bus::Error> {
        self.arrives(None).await?;
        self.inner.delete(queue).await
    }

    async fn publish(&self, to: &Destination, envelope: Envelope) -> Result<(), PublishError> {
        if let Err(error) = self.arrives(Some(to)).await {
            return Err(PublishError::new(error, envelope));
        }
        self.inner.publish(to, envelope).await
    }

    async fn publish_batch(
        &self,
        to: &Destination,
        envelopes: Vec<Envelope>,
    ) -> Result<(), PublishError> {
        if let Err(error) = self.arrives(Some(to)).await {
            return Err(PublishError::of_batch(error, envelopes));
        }
        self.inner.publish_batch(to, envelopes).await
    }

    async fn subscribe(&self, subscription: Subscription) -> Result<Consumer, bus::Error> {
        self.arrives(None).await?;
        self.inner.subscribe(subscription).await
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, bus::Error> {
        self.arrives(None).await?;
        self.inner.stats(queue).await
    }

    async fn dead_letters(
        &self,
        queue: &QueueName,
        filter: &DeadLetterFilter,
        page: bus::Page,
    ) -> Result<DeadLetterPage, bus::Error> {
        self.arrives(None).await?;
        self.inner.dead_letters(queue, filter, page).await
    }

    async fn redrive(
        &self,
        queue: &QueueName,
        filter: &DeadLetterFilter,
    ) -> Result<u64, bus::Error> {
        self.arrives(None).await?;
        self.inner.redrive(queue, filter).await
    }

    async fn purge_dead_letters(
        &self,
        queue: &QueueName,
        filter: &DeadLetterFilter,
    ) -> Result<u64, bus::Error> {
        self.arrives(None).await?;
        self.inner.purge_dead_letters(queue, filter).await
    }

    async fn close(&self) -> Result<(), bus::Error> {
        self.inner.close().await
    }
}
