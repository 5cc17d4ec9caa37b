//! Telling outcomes to an owner: those that end while one is on its way go together in the next message.
//!
//! On a broker the cost is by the message. Nothing waits for company: the first goes at once, alone.

use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{ErrorKind, QueueName};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Worker;
use super::report::{Told, publish_envelope, publish_outcome};
use crate::wire::Outcome;

/// How many outcomes go in one message.
const MOST: usize = 64;
/// How many bytes of them, but for one that is larger by itself.
const MOST_BYTES: usize = 256 * 1024;
/// How long a queue that is gone is not asked for again. Its owner may come back: then tasks of that time are lost once.
const GONE_FOR: Duration = Duration::from_secs(10);

/// What waits to be told, by the queue that it goes to.
#[derive(Debug, Default)]
pub(super) struct Tellers {
    waiting: Mutex<FxHashMap<QueueName, Vec<Waiting>>>,
    /// Queues that were not there when they were last told something.
    gone: Mutex<FxHashMap<QueueName, Instant>>,
}

/// An outcome that waits, and who waits for it to be told.
#[derive(Debug)]
struct Waiting {
    outcome: Outcome,
    /// None for one that cannot be written, which goes alone and is told as a failure.
    body: Option<Vec<u8>>,
    told: oneshot::Sender<Told>,
}

impl Worker {
    /// Publishes an outcome to the queue that its task named.
    pub(super) async fn tell(self: &Arc<Self>, queue: &QueueName, outcome: &Outcome) -> Told {
        let (told, answer) = oneshot::channel();
        let waiting = Waiting {
            outcome: outcome.clone(),
            body: outcome.to_json().ok(),
            told,
        };
        if self.tellers.push(queue, waiting) {
            let (worker, queue) = (Arc::clone(self), queue.clone());
            self.attempts
                .spawn(async move { worker.tell_all(&queue).await });
        }
        // Whoever tells ends only when nothing waits, or with this process.
        answer.await.unwrap_or(Told::NotNow)
    }

    /// Tells what waits for a queue until nothing does.
    async fn tell_all(&self, queue: &QueueName) {
        let bus = &*self.services.ports.bus;
        let bytes = MOST_BYTES.min(bus.capabilities().max_payload / 2);
        while let Some(batch) = self.tellers.take(queue, bytes) {
            let bodies: Option<Vec<&[u8]>> = batch.iter().map(|one| one.body.as_deref()).collect();
            let together = match bodies {
                Some(bodies) if bodies.len() > 1 => {
                    Some(publish_envelope(bus, queue, Outcome::several(bodies)).await)
                }
                _ => None,
            };
            let told = match together {
                Some(Ok(())) => Some(Told::Confirmed),
                Some(Err(error)) if error.kind() == ErrorKind::NoRoute => {
                    tracing::warn!(%queue, "nobody takes the outcomes of these runs any more");
                    Some(Told::NobodyAsks)
                }
                // The error is that of one of them: each gets its own.
                Some(Err(error)) if !error.is_retryable() => None,
                Some(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(%queue, count = batch.len(), error, "outcomes could not be published");
                    Some(Told::NotNow)
                }
                None => None,
            };
            for one in batch {
                let told = match told {
                    Some(told) => told,
                    None => publish_outcome(bus, queue, &one.outcome).await,
                };
                self.tellers.note(queue, told);
                // Whoever waited may have been dropped with its runtime.
                let _ = one.told.send(told);
            }
        }
    }
}

impl Tellers {
    /// Says whether a queue was found to be gone just now, so that work for it would be for nobody.
    pub(super) fn is_gone(&self, queue: &QueueName) -> bool {
        let gone = self.gone.lock();
        gone.get(queue).is_some_and(|at| at.elapsed() < GONE_FOR)
    }

    fn note(&self, queue: &QueueName, told: Told) {
        let mut gone = self.gone.lock();
        if told == Told::NobodyAsks {
            gone.retain(|_, at| at.elapsed() < GONE_FOR);
            gone.insert(queue.clone(), Instant::now());
        } else if !gone.is_empty() {
            gone.remove(queue);
        }
    }

    /// Adds one; says whether nobody tells what waits for that queue.
    fn push(&self, queue: &QueueName, waiting: Waiting) -> bool {
        let mut queues = self.waiting.lock();
        match queues.get_mut(queue) {
            Some(waits) => {
                waits.push(waiting);
                false
            }
            None => {
                queues.insert(queue.clone(), vec![waiting]);
                true
            }
        }
    }

    /// Takes the first that wait, as many as go together; none if nothing waits, and then nobody tells any more.
    fn take(&self, queue: &QueueName, bytes: usize) -> Option<Vec<Waiting>> {
        let mut queues = self.waiting.lock();
        let waits = queues.get_mut(queue)?;
        let mut size = 0;
        let together = waits.iter().take(MOST).take_while(|one| {
            size += one.body.as_ref().map_or(0, Vec::len) + 1;
            size <= bytes
        });
        let count = together.count().max(1).min(waits.len());
        if count == 0 {
            queues.remove(queue);
            return None;
        }
        let rest = waits.split_off(count);
        Some(std::mem::replace(waits, rest))
    }
}

#[cfg(test)]
mod tests {
    use coditect_dag::{Attempt, RunId, TaskId};

    use super::*;
    use crate::worker::Ended;

    fn waiting(size: usize) -> Waiting {
        let outcome = Outcome {
            run: RunId::from_uuid(uuid::Uuid::nil()),
            task: TaskId::new(0),
            attempt: Attempt::FIRST,
            by: None,
            ended: Ended::Output("1".into()),
        };
        Waiting {
            outcome,
            body: Some(vec![b' '; size]),
            told: oneshot::channel().0,
        }
    }

    fn queue() -> QueueName {
        "outcome.0".parse().unwrap()
    }

    /// How many go together each time, until nobody tells any more.
    fn batches(sizes: &[usize], bytes: usize) -> Vec<usize> {
        let tellers = Tellers::default();
        for (index, size) in sizes.iter().enumerate() {
            let first = tellers.push(&queue(), waiting(*size));
            assert_eq!(first, index == 0, "one tells what waits for a queue");
        }
        let batches = std::iter::from_fn(|| tellers.take(&queue(), bytes)).map(|batch| batch.len());
        let batches = batches.collect();
        assert!(tellers.waiting.lock().is_empty());
        batches
    }

    #[test]
    fn as_many_go_together_as_are_allowed_and_one_at_least() {
        assert_eq!(batches(&[10], 1_000), [1]);
        assert_eq!(batches(&[10; 150], 100_000), [64, 64, 22]);
        assert_eq!(batches(&[10, 10, 10, 5_000, 10], 25), [2, 1, 1, 1]);
    }

    #[test]
    fn several_are_read_as_what_was_written_and_one_that_is_wrong_alone() {
        let one = waiting(0).outcome;
        let bodies = [
            one.to_json().unwrap(),
            b"{}".to_vec(),
            one.to_json().unwrap(),
        ];
        let envelope = Outcome::several(bodies.iter().map(Vec::as_slice));
        let read = Outcome::read_several(&envelope).unwrap();
        assert_eq!(
            read.iter().map(Result::is_ok).collect::<Vec<_>>(),
            [true, false, true]
        );
        assert!(read[1].as_ref().unwrap_err().outcome.is_none());
    }
}
