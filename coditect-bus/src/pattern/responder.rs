//! Answering questions.

use std::fmt;
use std::future::Future;
use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// Answers the questions of a queue, until it is stopped or dropped, or the bus is closed.
///
/// A question is acknowledged once its answer is confirmed, so a responder that dies leaves it to another.
///
/// - The handler's error is an answer: the asker gets it as `Refused`. Without a reply-to it dead-letters the message.
/// - A question that does not decode, or whose handler panics, is dead-lettered, and the asker is told.
/// - An answer that cannot be published because nobody waits any more is dropped; for other causes the question comes again.
/// - When its queue is gone, or the broker takes the subscription away, it says so in the log and subscribes again as soon as there
///   is such a queue. It does not declare one, as only whoever did knows how; meanwhile an asker is told that there is no such queue,
///   and [`is_consuming`](Self::is_consuming) says that questions do not come.
#[derive(Debug)]
pub struct Responder {
    workers: JoinSet<()>,
    stop: DropGuard,
    is_consuming: Arc<AtomicBool>,
}

/// How long a question whose answer could not be published stays away.
const ANSWER_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How soon it subscribes again after its subscription has ended; each further try waits twice as long.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);

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
        let questions = Arc::new(Mutex::new(Questions {
            consumer: bus.subscribe(subscription.clone()).await?,
            subscription,
            has_ended: false,
        }));
        let is_consuming = Arc::new(AtomicBool::new(true));
        let mut workers = JoinSet::new();
        for _ in 0..concurrency.get() {
            let worker = Worker {
                bus: Arc::clone(&bus),
                questions: Arc::clone(&questions),
                is_consuming: Arc::clone(&is_consuming),
                handler: Arc::clone(&handler),
                stop: stop.clone(),
            };
            workers.spawn(worker.run());
        }
        Ok(Self {
            workers,
            stop: stop.drop_guard(),
            is_consuming,
        })
    }

    /// Says whether questions can come: not while the queue is gone, nor once the bus is closed.
    #[must_use]
    pub fn is_consuming(&self) -> bool {
        self.is_consuming.load(Ordering::Acquire)
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
    /// The worker that waits for a question has them; the others wait for it.
    questions: Arc<Mutex<Questions>>,
    is_consuming: Arc<AtomicBool>,
    handler: Arc<F>,
    stop: CancellationToken,
}

/// Where questions come from.
struct Questions {
    consumer: Consumer,
    subscription: Subscription,
    /// The bus is closed.
    has_ended: bool,
}

impl Questions {
    /// Waits for a question, over as many subscriptions as that takes; none once the bus is closed.
    ///
    /// Cancel safe: a future that is dropped has taken nothing, and the next subscribes again.
    async fn next(&mut self, bus: &dyn MessageBus, is_consuming: &AtomicBool) -> Option<Delivery> {
        let mut delay = FIRST_RETRY;
        while !self.has_ended {
            if let Some(delivery) = self.consumer.recv().await {
                return Some(delivery);
            }
            let queue = self.consumer.queue();
            if is_consuming.swap(false, Ordering::AcqRel) {
                tracing::warn!(%queue, "the subscription of a responder has ended; subscribing again");
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(LAST_RETRY);
            match bus.subscribe(self.subscription.clone()).await {
                Ok(again) => {
                    tracing::info!(%queue, "a responder has subscribed again");
                    self.consumer = again;
                    is_consuming.store(true, Ordering::Release);
                }
                Err(error) if error.kind() == ErrorKind::Closed => self.has_ended = true,
                Err(error) => {
                    tracing::debug!(%queue, %error, "a responder cannot subscribe yet");
                }
            }
        }
        None
    }
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
        let receive = async || {
            let mut questions = self.questions.lock().await;
            questions.next(&*self.bus, &self.is_consuming).await
        };
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

#[cfg(test)]
mod tests {
    use crate::{MemoryBus, MessageBusExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_responder_goes_on_when_its_queue_is_there_again_and_ends_with_the_bus() {
        const PATIENCE: Duration = Duration::from_secs(10);
        let bus = MemoryBus::new();
        let queue = bus.offer("double").await.unwrap();
        let double = |x: u32| async move { Ok::<_, String>(2 * x) };
        let two = NonZeroUsize::new(2).unwrap();
        let responder = bus.serve(queue.clone(), two, double).await.unwrap();
        let requester = bus.requester().await.unwrap();
        let to = Destination::Queue(queue.clone());
        let ask = async |x: u32| requester.request::<_, u32>(&to, &x, PATIENCE).await;
        assert_eq!(ask(1).await.unwrap(), 2);
        assert!(responder.is_consuming());
        for x in 2..5 {
            bus.delete(&queue).await.unwrap();
            assert_eq!(ask(x).await.unwrap_err().kind(), ErrorKind::NoRoute);
            tokio::time::sleep(PATIENCE).await;
            assert!(!responder.is_consuming());
            bus.offer("double").await.unwrap();
            // Asked while nobody consumes, answered when somebody does.
            assert_eq!(ask(x).await.unwrap(), 2 * x);
            assert!(responder.is_consuming());
        }
        bus.close().await.unwrap();
        tokio::time::timeout(PATIENCE, responder.stop())
            .await
            .unwrap();
    }
}
