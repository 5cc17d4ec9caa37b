//! A bus that somebody meddles with: queues are declared otherwise, messages are withheld or vanish.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use coditect_core::bus::{
    Capabilities, Consumer, DeadLetterFilter, DeadLetterPage, Delivery, Destination, Envelope,
    Error, MemoryBus, MessageBus, Page, PublishError, QueueName, QueueSpec, QueueStats, Receive,
    Source, Subscription,
};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream};
use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

type OnDeclare = dyn Fn(QueueSpec) -> QueueSpec + Send + Sync;
/// Says, as soon as it wants, whether a message arrives.
type OnPublish = dyn Fn(&Envelope) -> BoxFuture<'static, bool> + Send + Sync;

/// Says, as soon as it wants, that what has arrived is confirmed.
type OnConfirm = dyn Fn(&Envelope) -> BoxFuture<'static, ()> + Send + Sync;

/// A memory bus that is meddled with.
#[derive(Clone)]
pub(crate) struct Meddled {
    inner: MemoryBus,
    on_declare: Arc<OnDeclare>,
    on_publish: Arc<OnPublish>,
    on_confirm: Arc<OnConfirm>,
    end: Arc<Mutex<CancellationToken>>,
    gaps: Arc<AtomicU64>,
}

impl Meddled {
    pub(crate) fn new() -> Self {
        Self {
            inner: MemoryBus::new(),
            on_declare: Arc::new(|spec| spec),
            on_publish: Arc::new(|_| Box::pin(std::future::ready(true))),
            on_confirm: Arc::new(|_| Box::pin(std::future::ready(()))),
            end: Arc::default(),
            gaps: Arc::default(),
        }
    }

    pub(crate) fn on_declare(
        mut self,
        respec: impl Fn(QueueSpec) -> QueueSpec + Send + Sync + 'static,
    ) -> Self {
        self.on_declare = Arc::new(respec);
        self
    }

    pub(crate) fn on_confirm(
        mut self,
        confirmed: impl Fn(&Envelope) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self {
        self.on_confirm = Arc::new(confirmed);
        self
    }

    /// Ends the subscriptions to fanouts that there are.
    pub(crate) fn end_fanouts(&self) {
        std::mem::take(&mut *self.end.lock()).cancel();
    }

    /// Lets the subscriptions to fanouts say that they may have missed something.
    pub(crate) fn miss_on_fanouts(&self) {
        self.gaps.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn on_publish(
        mut self,
        arrives: impl Fn(&Envelope) -> BoxFuture<'static, bool> + Send + Sync + 'static,
    ) -> Self {
        self.on_publish = Arc::new(arrives);
        self
    }
}

#[async_trait]
impl MessageBus for Meddled {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn handle(&self) -> Arc<dyn MessageBus> {
        Arc::new(self.clone())
    }

    async fn declare(&self, spec: QueueSpec) -> Result<(), Error> {
        self.inner.declare((self.on_declare)(spec)).await
    }

    async fn delete(&self, queue: &QueueName) -> Result<bool, Error> {
        self.inner.delete(queue).await
    }

    async fn publish(&self, to: &Destination, envelope: Envelope) -> Result<(), PublishError> {
        if (self.on_publish)(&envelope).await {
            let confirmed = (self.on_confirm)(&envelope);
            self.inner.publish(to, envelope).await?;
            confirmed.await;
        }
        Ok(())
    }

    async fn publish_batch(
        &self,
        to: &Destination,
        envelopes: Vec<Envelope>,
    ) -> Result<(), PublishError> {
        let mut arriving = Vec::with_capacity(envelopes.len());
        for envelope in envelopes {
            if (self.on_publish)(&envelope).await {
                arriving.push(envelope);
            }
        }
        let confirmed: Vec<_> = arriving.iter().map(|one| (self.on_confirm)(one)).collect();
        self.inner.publish_batch(to, arriving).await?;
        futures::future::join_all(confirmed).await;
        Ok(())
    }

    async fn subscribe(&self, subscription: Subscription) -> Result<Consumer, Error> {
        let is_fanout = matches!(subscription.source(), Source::Fanout(..));
        let consumer = self.inner.subscribe(subscription).await?;
        if !is_fanout {
            return Ok(consumer);
        }
        let end = self.end.lock().clone().cancelled_owned();
        Ok(Consumer::new(Ending {
            consumer,
            end: Box::pin(end),
            gaps: Arc::clone(&self.gaps),
        }))
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, Error> {
        self.inner.stats(queue).await
    }

    async fn dead_letters(
        &self,
        queue: &QueueName,
        filter: &DeadLetterFilter,
        page: Page,
    ) -> Result<DeadLetterPage, Error> {
        self.inner.dead_letters(queue, filter, page).await
    }

    async fn redrive(&self, queue: &QueueName, filter: &DeadLetterFilter) -> Result<u64, Error> {
        self.inner.redrive(queue, filter).await
    }

    async fn purge_dead_letters(
        &self,
        queue: &QueueName,
        filter: &DeadLetterFilter,
    ) -> Result<u64, Error> {
        self.inner.purge_dead_letters(queue, filter).await
    }

    async fn close(&self) -> Result<(), Error> {
        self.inner.close().await
    }
}

/// A subscription that ends when it is told to.
struct Ending {
    consumer: Consumer,
    end: Pin<Box<WaitForCancellationFutureOwned>>,
    gaps: Arc<AtomicU64>,
}

impl Receive for Ending {
    fn queue(&self) -> &QueueName {
        self.consumer.queue()
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        if self.end.poll_unpin(cx).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.consumer).poll_next(cx)
    }

    fn try_recv(&mut self) -> Option<Delivery> {
        self.consumer.try_recv()
    }

    fn gaps(&self) -> u64 {
        self.gaps.load(Ordering::SeqCst)
    }

    fn stop_waiting(&mut self) {}
}
