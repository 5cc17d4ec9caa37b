//! Consuming values of one type.

use std::fmt;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use crate::{Consumer, Delivery, Error, QueueName};

/// Receives values of one type.
///
/// A message that does not decode is rejected: it becomes a dead letter whose reason says what did not fit, and the next one is taken.
pub struct TypedConsumer<T> {
    consumer: Consumer,
    value: PhantomData<fn() -> T>,
}

/// Holds a value that was received, and the delivery that brought it and is to be settled.
#[derive(Debug)]
pub struct Received<T> {
    /// The value.
    pub value: T,
    /// The delivery.
    pub delivery: Delivery,
}

impl<T: DeserializeOwned> TypedConsumer<T> {
    pub(super) fn new(consumer: Consumer) -> Self {
        Self {
            consumer,
            value: PhantomData,
        }
    }

    /// Receives the next value, or `None` when the subscription has ended.
    ///
    /// # Cancel safety
    ///
    /// As [`Consumer::recv`].
    pub async fn recv(&mut self) -> Option<Received<T>> {
        loop {
            let delivery = self.consumer.recv().await?;
            if let Some(received) = decode(delivery) {
                return Some(received);
            }
        }
    }

    /// Receives the next value if there is one now and the prefetch allows it.
    pub fn try_recv(&mut self) -> Option<Received<T>> {
        loop {
            if let Some(received) = decode(self.consumer.try_recv()?) {
                return Some(received);
            }
        }
    }

    /// Returns the queue that is consumed.
    #[must_use]
    pub fn queue(&self) -> &QueueName {
        self.consumer.queue()
    }
}

impl<T> Received<T> {
    /// Acknowledges the delivery and returns the value.
    ///
    /// # Errors
    ///
    /// Those of [`Delivery::ack`].
    ///
    /// # Cancel safety
    ///
    /// As [`Delivery::ack`], but for the value, which goes with the future.
    pub async fn ack(self) -> Result<T, Error> {
        self.delivery.ack().await?;
        Ok(self.value)
    }
}

fn decode<T: DeserializeOwned>(delivery: Delivery) -> Option<Received<T>> {
    match delivery.envelope().decode() {
        Ok(value) => Some(Received { value, delivery }),
        Err(error) => {
            tracing::warn!(queue = %delivery.queue(), id = %delivery.envelope().id(), %error, "message rejected");
            // The rejection is on its way; if the delivery was lost, the message comes here again.
            drop(delivery.reject(error.to_string()));
            None
        }
    }
}

impl<T> fmt::Debug for TypedConsumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedConsumer")
            .field(&self.consumer)
            .finish()
    }
}
