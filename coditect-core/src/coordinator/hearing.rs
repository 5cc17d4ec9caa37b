//! The owner's own queue: where it hears of attempts, and hears again when the queue has gone and is back.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{Consumer, Delivery, Error, ErrorKind, MessageBus, QueueSpec, Subscription};
use futures::future::BoxFuture;

/// How many outcomes from the bus may be unacknowledged.
const PREFETCH: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// The subscription to the owner's queue.
pub(super) struct Hearing {
    bus: Arc<dyn MessageBus>,
    spec: QueueSpec,
    consumer: Consumer,
    /// Subscribes again, since the consumer has ended.
    again: Option<BoxFuture<'static, Result<Consumer, Error>>>,
}

/// What there is to hear.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are deliveries, and none is kept"
)]
pub(super) enum Heard {
    Delivery(Delivery),
    /// The queue is there again, and all is lost that was told to its predecessor.
    Anew,
    /// The bus is closed.
    Closed,
}

impl Hearing {
    pub(super) async fn start(bus: &Arc<dyn MessageBus>, spec: QueueSpec) -> Result<Self, Error> {
        let consumer = subscribe(&**bus, &spec).await?;
        Ok(Self {
            bus: Arc::clone(bus),
            spec,
            consumer,
            again: None,
        })
    }

    /// Waits for what is told. Without its queue an owner goes on, as deadlines and cancels hold without the bus.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was begun is gone on with.
    pub(super) async fn next(&mut self) -> Heard {
        loop {
            if let Some(again) = &mut self.again {
                let subscribed = again.await;
                self.again = None;
                match subscribed {
                    Ok(consumer) => self.consumer = consumer,
                    // It is tried until it works or the bus is closed.
                    Err(_) => return Heard::Closed,
                }
                return Heard::Anew;
            }
            match self.consumer.recv().await {
                Some(delivery) => return Heard::Delivery(delivery),
                None => {
                    let (bus, spec) = (Arc::clone(&self.bus), self.spec.clone());
                    self.again = Some(Box::pin(subscribe_again(bus, spec)));
                }
            }
        }
    }

    /// Takes what is told if something was.
    pub(super) fn try_next(&mut self) -> Option<Delivery> {
        self.consumer.try_recv()
    }
}

async fn subscribe(bus: &dyn MessageBus, spec: &QueueSpec) -> Result<Consumer, Error> {
    bus.declare(spec.clone()).await?;
    let subscription = Subscription::queue(spec.name().clone()).with_prefetch(PREFETCH);
    bus.subscribe(subscription).await
}

/// Tries until it works; an error means that the bus is closed.
async fn subscribe_again(bus: Arc<dyn MessageBus>, spec: QueueSpec) -> Result<Consumer, Error> {
    let queue = spec.name();
    tracing::warn!(%queue, "the queue in which outcomes are told has gone; making it again");
    let mut delay = FIRST_RETRY;
    loop {
        match subscribe(&*bus, &spec).await {
            Err(error) if error.kind() != ErrorKind::Closed => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(%queue, error, "the queue cannot be made again yet");
            }
            ended => return ended,
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(LAST_RETRY);
    }
}
