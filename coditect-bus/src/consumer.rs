//! A consumer: the receiving end of a subscription.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;

use crate::{Delivery, QueueName};

/// Receives the deliveries of one subscription.
///
/// It also is a [`Stream`]. Dropping it ends the subscription: nothing more is delivered, while deliveries
/// already handed out stay with their holders, who can still settle them.
///
/// It ends, with `None`, when the bus is closed, the queue is deleted, or the broker cancels it; what is to go on then subscribes again.
pub struct Consumer(Box<dyn Receive>);

/// Receives deliveries: the backend's side of [`Consumer`].
pub trait Receive: Send + 'static {
    /// Returns the queue that is consumed.
    fn queue(&self) -> &QueueName;

    /// Takes the next delivery, waits for one, or says that there will be no more.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>>;

    /// Takes the next delivery if there is one now.
    fn try_recv(&mut self) -> Option<Delivery>;

    /// Counts how often messages may have been missed; see [`Consumer::gaps`].
    fn gaps(&self) -> u64 {
        0
    }

    /// Is called when a wait is given up, so that what was meant for this consumer can go to another.
    fn stop_waiting(&mut self);
}

impl Consumer {
    /// Makes a consumer; this is for backends.
    #[must_use]
    pub fn new(receive: impl Receive) -> Self {
        Self(Box::new(receive))
    }

    /// Receives the next delivery, or `None` when the subscription has ended.
    ///
    /// While as many deliveries as the prefetch allows are unsettled, it waits.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a future that is dropped has taken nothing, and what could have come to it goes to another consumer.
    pub async fn recv(&mut self) -> Option<Delivery> {
        let mut wait = Wait {
            receive: &mut *self.0,
            waiting: false,
        };
        poll_fn(|cx| {
            let polled = wait.receive.poll_recv(cx);
            wait.waiting = polled.is_pending();
            polled
        })
        .await
    }

    /// Receives the next delivery if there is one now and the prefetch allows it.
    pub fn try_recv(&mut self) -> Option<Delivery> {
        self.0.try_recv()
    }

    /// Counts how often a subscriber without a group may have missed messages, because its queue was gone when the connection was back:
    /// the broker had lost its data, or the connection was away for longer than such a queue is kept.
    ///
    /// Other subscriptions end when their queue is gone, and count nothing.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.0.gaps()
    }

    /// Returns the queue that is consumed; that of a topic's or fanout's group is named by the bus.
    #[must_use]
    pub fn queue(&self) -> &QueueName {
        self.0.queue()
    }
}

/// As a stream a consumer remains first in line for a message between polls, so poll it or drop it.
impl Stream for Consumer {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.0.poll_recv(cx)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.0.stop_waiting();
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("queue", self.queue())
            .finish_non_exhaustive()
    }
}

/// Tells the backend when a wait is dropped.
struct Wait<'a> {
    receive: &'a mut dyn Receive,
    waiting: bool,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.waiting {
            self.receive.stop_waiting();
        }
    }
}
