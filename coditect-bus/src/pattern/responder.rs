//! Answering questions.

use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::ERROR_HEADER;
use crate::{
    Consumer, CorrelationId, Delivery, Destination, Envelope, Error, ErrorKind, MessageBus,
    QueueName, Subscription,
};

/// Answers the questions of a queue, until it is stopped or dropped, or the queue is gone.
///
/// A question is acknowledged once its answer is confirmed, so a responder that dies leaves it to another.
///
/// - The handler's error is an answer: the asker gets it as `Refused`. Without a reply-to it dead-letters the message.
/// - A question that does not decode, or whose handler panics, is dead-lettered, and the asker is told.
/// - An answer that cannot be published because nobody waits any more is dropped; for other causes the question comes again.
#[derive(Debug)]
pub struct Responder {
    workers: JoinSet<()>,
    stop: DropGuard,
}

/// How long a question whose answer could not be published stays away.
const ANSWER_AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Responder {
    pub(super) async fn start<Q, A, E, F, Fut>(
        bus: Arc<dyn MessageBus>,
        queue: QueueName,
        concurrency: NonZeroUsize,
        handler: F,
    ) -> Result<Self, Error>
    where
        Q: DeserializeOwned + Send + 'static,
        A: Serialize + Send + Sync + 'static,
        E: fmt::Display + Send + 'static,
        F: Fn(Q) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<A, E>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let stop = CancellationToken::new();
        // One prefetch for all workers: no question waits here while one of them is idle, and none is held ahead.
        let subscription = Subscription::queue(queue).with_prefetch(concurrency);
        let consumer = Arc::new(Mutex::new(bus.subscribe(subscription).await?));
        let mut workers = JoinSet::new();
        for _ in 0..concurrency.get() {
            let worker = Worker {
                bus: Arc::clone(&bus),
                consumer: Arc::clone(&consumer),
                handler: Arc::clone(&handler),
                stop: stop.clone(),
            };
            workers.spawn(worker.run());
        }
        Ok(Self {
            workers,
            stop: stop.drop_guard(),
        })
    }

    /// Takes no more questions and waits until those in hand are answered.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: dropped half-way, questions in hand go to other responders.
    pub async fn stop(mut self) {
        drop(self.stop);
        while self.workers.join_next().await.is_some() {}
    }
}

struct Worker<F> {
    bus: Arc<dyn MessageBus>,
    /// The worker that waits for a question has it; the others wait for it.
    consumer: Arc<Mutex<Consumer>>,
    handler: Arc<F>,
    stop: CancellationToken,
}

impl<F> Worker<F> {
    async fn run<Q, A, E, Fut>(self)
    where
        Q: DeserializeOwned,
        A: Serialize,
        E: fmt::Display,
        F: Fn(Q) -> Fut,
        Fut: Future<Output = Result<A, E>>,
    {
        let receive = async || self.consumer.lock().await.recv().await;
        while let Some(Some(delivery)) = self.stop.run_until_cancelled(receive()).await {
            let queue = delivery.queue().clone();
            if let Err(error) = self.respond(delivery).await {
                tracing::warn!(%queue, %error, "question was not settled and comes again");
            }
        }
    }

    async fn respond<Q, A, E, Fut>(&self, delivery: Delivery) -> Result<(), Error>
    where
        Q: DeserializeOwned,
        A: Serialize,
        E: fmt::Display,
        F: Fn(Q) -> Fut,
        Fut: Future<Output = Result<A, E>>,
    {
        let question = match delivery.envelope().decode::<Q>() {
            Ok(question) => question,
            Err(error) => return self.give_up(delivery, error.to_string()).await,
        };
        // What a panic may have left half-done is inside the handler's own future, which is gone with it.
        let handled = AssertUnwindSafe(async { (self.handler)(question).await })
            .catch_unwind()
            .await;
        let answer = match handled {
            Err(_) => return self.give_up(delivery, "handler panicked".to_owned()).await,
            Ok(Err(error)) if delivery.envelope().reply_to().is_none() => {
                return delivery.reject(error.to_string()).await;
            }
            Ok(Err(error)) => refusal(error.to_string()),
            Ok(Ok(answer)) => match Envelope::json(&answer) {
                Ok(envelope) => envelope,
                Err(error) => return self.give_up(delivery, error.to_string()).await,
            },
        };
        match self.answer(&delivery, answer).await {
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                self.give_up(delivery, error.to_string()).await
            }
            Err(error) => {
                tracing::warn!(queue = %delivery.queue(), %error, "answer was not published");
                delivery.nack(ANSWER_AGAIN_AFTER).await
            }
            Ok(()) => delivery.ack().await,
        }
    }

    /// Tells the asker, if it can be told, and dead-letters the question.
    async fn give_up(&self, delivery: Delivery, reason: String) -> Result<(), Error> {
        if let Err(error) = self.answer(&delivery, refusal(reason.clone())).await {
            tracing::warn!(queue = %delivery.queue(), %error, "asker could not be told of the failure");
        }
        delivery.reject(reason).await
    }

    /// Publishes an answer; that nobody waits for it is no error.
    async fn answer(&self, delivery: &Delivery, answer: Envelope) -> Result<(), Error> {
        let question = delivery.envelope();
        let Some(reply_to) = question.reply_to() else {
            return Ok(());
        };
        let correlation = match question.correlation_id() {
            Some(id) => id.clone(),
            None => CorrelationId::from(question.id()),
        };
        let answer = answer
            .with_correlation_id(correlation)
            .with_priority(question.priority());
        match self
            .bus
            .publish(&Destination::Queue(reply_to.clone()), answer)
            .await
        {
            Err(error) if error.kind() == ErrorKind::NoRoute => {
                tracing::debug!(queue = %reply_to, "nobody waits for the answer any more");
                Ok(())
            }
            result => Ok(result?),
        }
    }
}

fn refusal(text: String) -> Envelope {
    Envelope::new("null")
        .with_content_type(crate::ContentType::JSON)
        .with_header(ERROR_HEADER, text)
}
