//! The four patterns, typed: work queue, publish-subscribe, request-reply, routing by capability.

use std::future::Future;
use std::num::NonZeroUsize;

use serde::Serialize;
use serde::de::DeserializeOwned;

mod requester;
mod responder;
mod typed;

#[cfg(test)]
mod tests;

pub use requester::Requester;
pub use responder::Responder;
pub use typed::{Received, TypedConsumer};

use crate::{
    Destination, Envelope, Error, ErrorKind, MessageBus, QueueName, QueueSpec, Subscription,
};

/// The header by which an answer says that it is an error; its value is the error's text.
pub const ERROR_HEADER: &str = "coditect-error";

/// Adds the typed patterns to every [`MessageBus`], `dyn MessageBus` included.
///
/// Values travel as JSON. What a publish could not deliver is an [`Error`]; the value is still with the caller.
pub trait MessageBusExt: MessageBus {
    /// Sends a value: to a work queue, where one of its consumers gets it, or to whatever else is named.
    ///
    /// # Errors
    ///
    /// Those of [`Envelope::json`] and [`MessageBus::publish`].
    ///
    /// # Cancel safety
    ///
    /// As [`MessageBus::publish`].
    fn send<T>(&self, to: &Destination, value: &T) -> impl Future<Output = Result<(), Error>> + Send
    where
        T: Serialize + Sync + ?Sized,
    {
        async move { Ok(self.publish(to, Envelope::json(value)?).await?) }
    }

    /// Tells all who listen, and says whether anybody does.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send), except that nobody listening is none.
    ///
    /// # Cancel safety
    ///
    /// As [`MessageBus::publish`].
    fn broadcast<T>(
        &self,
        to: &Destination,
        value: &T,
    ) -> impl Future<Output = Result<bool, Error>> + Send
    where
        T: Serialize + Sync + ?Sized,
    {
        async move {
            match self.send(to, value).await {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == ErrorKind::NoRoute => Ok(false),
                Err(error) => Err(error),
            }
        }
    }

    /// Consumes values of one type; see [`TypedConsumer`] for what becomes of others.
    ///
    /// # Errors
    ///
    /// Those of [`MessageBus::subscribe`].
    ///
    /// # Cancel safety
    ///
    /// As [`MessageBus::subscribe`].
    fn consume<T>(
        &self,
        subscription: Subscription,
    ) -> impl Future<Output = Result<TypedConsumer<T>, Error>> + Send
    where
        T: DeserializeOwned,
    {
        async move { Ok(TypedConsumer::new(self.subscribe(subscription).await?)) }
    }

    /// Sends a value to whoever offers a capability.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send); `NoRoute` if nobody has ever offered the capability here.
    ///
    /// # Cancel safety
    ///
    /// As [`MessageBus::publish`].
    fn route<T>(
        &self,
        capability: &str,
        value: &T,
    ) -> impl Future<Output = Result<(), Error>> + Send
    where
        T: Serialize + Sync + ?Sized,
    {
        async move {
            self.send(&Destination::for_capability(capability)?, value)
                .await
        }
    }

    /// Makes sure that a capability's queue exists, with the usual bounds, and returns its name.
    ///
    /// # Errors
    ///
    /// Those of [`QueueName::for_capability`] and [`MessageBus::declare`].
    ///
    /// # Cancel safety
    ///
    /// As [`MessageBus::declare`].
    fn offer(&self, capability: &str) -> impl Future<Output = Result<QueueName, Error>> + Send {
        async move {
            let queue = QueueName::for_capability(capability)?;
            self.declare(QueueSpec::new(queue.clone())).await?;
            Ok(queue)
        }
    }

    /// Makes a requester: one reply queue for any number of questions.
    ///
    /// # Errors
    ///
    /// Those of [`MessageBus::declare`] and [`MessageBus::subscribe`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a reply queue without a consumer may remain until the bus is closed.
    fn requester(&self) -> impl Future<Output = Result<Requester, Error>> + Send {
        async move { Requester::new(self.handle()).await }
    }

    /// Answers the questions that come to a queue, as many at once as `concurrency` says.
    ///
    /// The queue must exist. See [`Responder`] for what becomes of questions that cannot be answered.
    ///
    /// # Errors
    ///
    /// Those of [`MessageBus::subscribe`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a responder that was half begun ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::num::NonZeroUsize;
    /// use std::time::Duration;
    /// use coditect_bus::{Destination, Error, MemoryBus, MessageBusExt};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// let bus = MemoryBus::new();
    /// let queue = bus.offer("double").await?;
    /// let double = |number: u32| async move { number.checked_mul(2).ok_or("too large") };
    /// let responder = bus.serve(queue, NonZeroUsize::MIN, double).await?;
    ///
    /// let requester = bus.requester().await?;
    /// let to = Destination::for_capability("double")?;
    /// let answer: u32 = requester.request(&to, &21, Duration::from_secs(1)).await?;
    /// assert_eq!(answer, 42);
    ///
    /// let refusal = requester.request::<_, u32>(&to, &u32::MAX, Duration::from_secs(1)).await;
    /// assert_eq!(refusal.unwrap_err().to_string(), "responder refused: too large");
    /// responder.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    fn serve<Q, A, E, F, Fut>(
        &self,
        queue: QueueName,
        concurrency: NonZeroUsize,
        handler: F,
    ) -> impl Future<Output = Result<Responder, Error>> + Send
    where
        Q: DeserializeOwned + Send + 'static,
        A: Serialize + Send + Sync + 'static,
        E: std::fmt::Display + Send + 'static,
        F: Fn(Q) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<A, E>> + Send + 'static,
    {
        async move { Responder::start(self.handle(), queue, concurrency, handler).await }
    }
}

impl<B: MessageBus + ?Sized> MessageBusExt for B {}
