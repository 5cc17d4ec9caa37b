//! A delivery: an envelope in the hands of a consumer, until it is settled.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Destination, Envelope, Error, QueueName};

/// Holds a message that a consumer received and has to settle.
///
/// Settle it by [`ack`](Self::ack), [`nack`](Self::nack) or [`reject`](Self::reject); one that is dropped goes back to its
/// queue at once. It can be settled after its consumer is gone.
#[must_use = "a delivery that is dropped goes back to its queue"]
pub struct Delivery {
    /// `None` only once settled, which consumes the delivery.
    parts: Option<DeliveryParts>,
    settle: Arc<dyn Settle>,
}

/// Is what a backend makes a [`Delivery`] of, and gets back when it is settled.
#[derive(Debug)]
#[non_exhaustive]
pub struct DeliveryParts {
    /// The message.
    pub envelope: Envelope,
    /// Whatever the backend knows the delivery by.
    pub tag: u64,
    /// How often the message was delivered before.
    pub redeliveries: u32,
    /// Where the message was published to, if that was not its queue.
    pub destination: Option<Destination>,
    /// When the message first came back.
    pub first_failed_at: Option<SystemTime>,
    /// When it expires by the monotonic clock, fixed at the publish.
    pub(crate) expires: Option<Instant>,
}

impl DeliveryParts {
    /// Makes the parts of a first delivery.
    #[must_use]
    pub fn new(envelope: Envelope, tag: u64) -> Self {
        Self {
            envelope,
            tag,
            redeliveries: 0,
            destination: None,
            first_failed_at: None,
            expires: None,
        }
    }
}

/// Says how a delivery is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Done: forget the message.
    Ack,
    /// Again, after this delay.
    Nack(Duration),
    /// Never again: dead-letter it, with the reason.
    Reject(Cow<'static, str>),
    /// The delivery was dropped: again, at once.
    Dropped,
}

/// Settles deliveries: the backend's side of [`Delivery`], shared by all deliveries of a consumer.
pub trait Settle: Send + Sync + 'static {
    /// Returns the queue the deliveries came from.
    fn queue(&self) -> &QueueName;

    /// Settles a delivery. It is done, or on its way, when this returns; it never blocks.
    ///
    /// For [`Settlement::Dropped`] nobody looks at the result.
    fn settle(&self, parts: DeliveryParts, settlement: Settlement) -> Settling;

    /// Says whether the delivery was lost.
    fn is_lost(&self, tag: u64) -> bool;

    /// Returns a token that is cancelled when the delivery is lost, made when first asked for.
    fn lost(&self, tag: u64) -> CancellationToken;
}

impl Delivery {
    /// Makes a delivery; this is for backends.
    pub fn new(parts: DeliveryParts, settle: Arc<dyn Settle>) -> Self {
        Self {
            parts: Some(parts),
            settle,
        }
    }

    /// Returns the envelope.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.parts().envelope
    }

    /// Returns the payload.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        self.envelope().payload()
    }

    /// Returns how often the message was delivered before.
    #[must_use]
    pub fn redeliveries(&self) -> u32 {
        self.parts().redeliveries
    }

    /// Returns the queue it came from.
    #[must_use]
    pub fn queue(&self) -> &QueueName {
        self.settle.queue()
    }

    /// Returns where the message was published to.
    #[must_use]
    pub fn destination(&self) -> Destination {
        match &self.parts().destination {
            Some(destination) => destination.clone(),
            None => Destination::Queue(self.queue().clone()),
        }
    }

    /// Says whether the bus has taken the delivery back: its message goes to another, and settling it fails.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.settle.is_lost(self.parts().tag)
    }

    /// Returns a token that is cancelled when the delivery is lost, as with the broker's connection that carries it.
    ///
    /// It costs nothing unless it is asked for.
    #[must_use]
    pub fn lost(&self) -> CancellationToken {
        self.settle.lost(self.parts().tag)
    }

    /// Acknowledges: the work is done, and the message is forgotten.
    ///
    /// # Errors
    ///
    /// The awaited result is [`ErrorKind::LeaseLost`](crate::ErrorKind::LeaseLost) if the delivery was lost: the message comes again.
    ///
    /// # Cancel safety
    ///
    /// The settlement takes place by the call; the future only brings its result and may be dropped.
    pub fn ack(self) -> Settling {
        self.settle(Settlement::Ack)
    }

    /// Gives the message back, to be delivered again no sooner than after `delay`.
    ///
    /// # Errors
    ///
    /// As with [`ack`](Self::ack).
    ///
    /// # Cancel safety
    ///
    /// As with [`ack`](Self::ack).
    pub fn nack(self, delay: Duration) -> Settling {
        self.settle(Settlement::Nack(delay))
    }

    /// Refuses the message for good: it becomes a dead letter, with the reason.
    ///
    /// # Errors
    ///
    /// As with [`ack`](Self::ack).
    ///
    /// # Cancel safety
    ///
    /// As with [`ack`](Self::ack).
    pub fn reject(self, reason: impl Into<Cow<'static, str>>) -> Settling {
        self.settle(Settlement::Reject(reason.into()))
    }

    fn parts(&self) -> &DeliveryParts {
        // Only `settle`, which consumes the delivery, and `drop` take the parts.
        self.parts
            .as_ref()
            .expect("an unsettled delivery has its parts")
    }

    fn settle(mut self, settlement: Settlement) -> Settling {
        // See `parts`.
        let parts = self
            .parts
            .take()
            .expect("an unsettled delivery has its parts");
        self.settle.settle(parts, settlement)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take() {
            drop(self.settle.settle(parts, Settlement::Dropped));
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("queue", self.queue())
            .field("redeliveries", &self.redeliveries())
            .field("envelope", self.envelope())
            .finish_non_exhaustive()
    }
}

/// Brings the result of a settlement, which is already on its way.
#[must_use = "a settlement may fail because the delivery was lost"]
pub struct Settling(Outcome);

enum Outcome {
    Known(Option<Result<(), Error>>),
    Pending(BoxFuture<'static, Result<(), Error>>),
}

impl Settling {
    /// Makes one whose result is known.
    pub fn known(result: Result<(), Error>) -> Self {
        Self(Outcome::Known(Some(result)))
    }

    /// Makes one whose result is still to come. The future must not be what carries the settlement out.
    pub fn pending(future: impl Future<Output = Result<(), Error>> + Send + 'static) -> Self {
        Self(Outcome::Pending(Box::pin(future)))
    }
}

impl Future for Settling {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            // A future is not polled after it is ready.
            Outcome::Known(result) => {
                Poll::Ready(result.take().expect("polled after it was ready"))
            }
            Outcome::Pending(future) => future.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for Settling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Outcome::Known(result) => f.debug_tuple("Settling").field(result).finish(),
            Outcome::Pending(_) => f.write_str("Settling(..)"),
        }
    }
}
