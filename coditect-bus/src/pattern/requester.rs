//! Asking questions: one reply queue, one task that hands answers to those who wait for them.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::ERROR_HEADER;
use crate::{
    Consumer, Destination, Envelope, Error, ErrorKind, MessageBus, MessageId, QueueName, QueueSpec,
    Subscription,
};

/// Asks questions and waits for their answers.
///
/// All questions of a requester share one temporary reply queue, so a question costs no declaration. Share it behind an
/// `Arc`; dropping it ends the reply queue. An answer that comes after its question was given up is dropped and counted.
pub struct Requester {
    bus: Arc<dyn MessageBus>,
    reply_to: QueueName,
    waiting: Arc<Waiting>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

/// The questions without an answer.
#[derive(Debug, Default)]
struct Waiting {
    questions: Mutex<Questions>,
    late: AtomicU64,
}

type Questions = FxHashMap<MessageId, oneshot::Sender<Envelope>>;

const PREFETCH: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();

/// How long to wait before a reply queue that ended is set up again.
const RESUBSCRIBE_AFTER: Duration = Duration::from_millis(200);

impl Requester {
    /// Makes a requester with a reply queue of its own.
    ///
    /// # Errors
    ///
    /// Those of [`MessageBus::declare`] and [`MessageBus::subscribe`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a reply queue without a consumer may remain until the bus is closed.
    pub async fn new(bus: Arc<dyn MessageBus>) -> Result<Self, Error> {
        let reply_to = QueueName::new(format!("reply.{}", MessageId::new()))?;
        let consumer = subscribe(&*bus, &reply_to).await?;
        let waiting = Arc::new(Waiting::default());
        let stop = CancellationToken::new();
        let demultiplexer = Demultiplexer {
            bus: Arc::clone(&bus),
            reply_to: reply_to.clone(),
            waiting: Arc::clone(&waiting),
        };
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            stopped
                .run_until_cancelled(demultiplexer.run(consumer))
                .await;
        });
        Ok(Self {
            bus,
            reply_to,
            waiting,
            task,
            stop: stop.drop_guard(),
        })
    }

    /// Asks a question and waits for its answer, at most as long as `patience`.
    ///
    /// # Errors
    ///
    /// - `Timeout` if no answer came in time, and `Unavailable` if the reply queue was lost: the question may have been
    ///   acted upon, so the outcome is unknown.
    /// - `Refused` if the responder answered with an error; its text is in this one's.
    /// - `Decode` if the answer does not fit `A`.
    /// - Those of [`MessageBus::publish`].
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the question may have been asked; its answer is then dropped and counted as late.
    pub async fn request<Q, A>(
        &self,
        to: &Destination,
        question: &Q,
        patience: Duration,
    ) -> Result<A, Error>
    where
        Q: Serialize + Sync + ?Sized,
        A: DeserializeOwned,
    {
        self.request_envelope(to, Envelope::json(question)?, patience)
            .await?
            .decode()
    }

    /// Asks with an envelope, and returns the answer's; correlation id and reply-to are set here, and the expiry
    /// too if the envelope has none.
    ///
    /// # Errors
    ///
    /// As [`request`](Self::request), but for `Decode`.
    ///
    /// # Cancel safety
    ///
    /// As [`request`](Self::request).
    pub async fn request_envelope(
        &self,
        to: &Destination,
        envelope: Envelope,
        patience: Duration,
    ) -> Result<Envelope, Error> {
        let mut envelope = envelope.with_reply_to(self.reply_to.clone());
        let id = envelope.id();
        envelope = envelope.with_correlation_id(id);
        if envelope.expires_at().is_none()
            && let Some(deadline) = SystemTime::now().checked_add(patience)
        {
            envelope = envelope.with_expires_at(deadline);
        }
        let (answer, answered) = oneshot::channel();
        self.waiting.questions.lock().insert(id, answer);
        let _question = Question {
            id,
            waiting: &self.waiting,
        };
        let asked = async {
            let mut answered = answered;
            // An answer is as good a confirm as the broker's, and may overtake it.
            tokio::select! {
                biased;
                published = self.bus.publish(to, envelope) => published?,
                answer = &mut answered => return answer.map_err(|_| lost()),
            }
            answered.await.map_err(|_| lost())
        };
        let answer = tokio::time::timeout(patience, asked).await.map_err(|_| {
            Error::new(
                ErrorKind::Timeout,
                format!("no answer from {to} within {patience:?}"),
            )
            .with_outcome_unknown()
        })??;
        match answer.header(ERROR_HEADER) {
            Some(text) => Err(Error::new(
                ErrorKind::Refused,
                format!("responder refused: {text}"),
            )),
            None => Ok(answer),
        }
    }

    /// Returns how many answers came too late.
    #[must_use]
    pub fn late_replies(&self) -> u64 {
        self.waiting.late.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn unanswered(&self) -> usize {
        self.waiting.questions.lock().len()
    }

    /// Returns the reply queue.
    #[must_use]
    pub fn reply_queue(&self) -> &QueueName {
        &self.reply_to
    }

    /// Ends the reply queue and waits until it has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it ends all the same.
    pub async fn close(self) {
        drop(self.stop);
        // The task neither panics nor is it aborted, but by the end of its runtime.
        let _ = self.task.await;
    }
}

impl fmt::Debug for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requester")
            .field("reply_to", &self.reply_to)
            .finish_non_exhaustive()
    }
}

/// Forgets a question when it is answered or given up.
struct Question<'a> {
    id: MessageId,
    waiting: &'a Waiting,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.waiting.questions.lock().remove(&self.id);
    }
}

/// Hands answers to those who wait for them.
struct Demultiplexer {
    bus: Arc<dyn MessageBus>,
    reply_to: QueueName,
    waiting: Arc<Waiting>,
}

impl Demultiplexer {
    async fn run(self, mut consumer: Consumer) {
        loop {
            while let Some(delivery) = consumer.recv().await {
                let envelope = delivery.envelope().clone();
                // An answer that is lost between here and its asker is the same as one that came late.
                drop(delivery.ack());
                self.hand_over(envelope);
            }
            // Dropping the senders tells all who wait.
            drop(std::mem::take(&mut *self.waiting.questions.lock()));
            consumer = loop {
                match subscribe(&*self.bus, &self.reply_to).await {
                    Ok(consumer) => break consumer,
                    Err(error) if error.kind() == ErrorKind::Closed => return,
                    Err(error) => {
                        tracing::warn!(queue = %self.reply_to, %error, "reply queue lost, trying again");
                        tokio::time::sleep(RESUBSCRIBE_AFTER).await;
                    }
                }
            };
        }
    }

    fn hand_over(&self, envelope: Envelope) {
        let id = envelope.correlation_id().and_then(|id| id.as_message_id());
        let question = id.and_then(|id| self.waiting.questions.lock().remove(&id));
        let late = match question {
            Some(question) => question.send(envelope).err(),
            None => Some(envelope),
        };
        if let Some(envelope) = late {
            self.waiting.late.fetch_add(1, Ordering::Relaxed);
            self.bus.observer().late_reply(&self.reply_to, &envelope);
        }
    }
}

fn lost() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "reply queue was lost before the answer came",
    )
    .with_outcome_unknown()
}

async fn subscribe(bus: &dyn MessageBus, queue: &QueueName) -> Result<Consumer, Error> {
    bus.declare(QueueSpec::temporary(queue.clone())).await?;
    bus.subscribe(Subscription::queue(queue.clone()).with_prefetch(PREFETCH))
        .await
}
