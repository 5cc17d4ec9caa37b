//! Publishes what a partition's owner has committed, and goes on until the bus has taken it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{
    Destination, Envelope, Error, ErrorKind, MessageBus, PublishError, QueueName, QueueSpec,
};
use rustc_hash::FxHashSet;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};

use super::owner::Lost;
use crate::failure::{Failure, FailureKind};
use crate::wire::{AttemptId, Outcome, TaskMessage};
use crate::worker::{Ended, tell_anew};

/// How many envelopes may wait to be published.
const WAITING: usize = 4096;
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// The way to a partition's publisher. Putting something in never waits: what the publisher has no room
/// for stays here, and an owner that sees that dispatches no more.
#[derive(Debug)]
pub(super) struct Outbox {
    tasks: Lane,
    /// What stops tasks, and what the owner sends itself: no queue of tasks holds it up, however full.
    notices: Lane,
}

#[derive(Debug)]
struct Lane {
    sender: mpsc::Sender<Parcel>,
    backlog: VecDeque<Parcel>,
}

/// What is to be published.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) to: Destination,
    pub(super) envelope: Envelope,
    /// The owner is told if there is no such queue, which is not for it to declare.
    pub(super) returns: bool,
}

impl Outbox {
    /// Puts a task in.
    pub(super) fn push(&mut self, parcel: Parcel) {
        self.tasks.backlog.push_back(parcel);
    }

    /// Puts something in that is no task.
    pub(super) fn push_notice(&mut self, to: Destination, envelope: Envelope) {
        self.notices.backlog.push_back(Parcel {
            to,
            envelope,
            returns: false,
        });
    }

    /// Hands the publishers what they have room for; they wake the owner when they have more.
    pub(super) fn flush(&mut self) -> Result<(), Lost> {
        self.tasks.flush()?;
        self.notices.flush()
    }

    /// Says whether more tasks would wait.
    pub(super) fn is_full(&self) -> bool {
        !self.tasks.backlog.is_empty() || self.tasks.sender.capacity() == 0
    }
}

impl Lane {
    fn new() -> (Self, mpsc::Receiver<Parcel>) {
        let (sender, inbox) = mpsc::channel(WAITING);
        let backlog = VecDeque::new();
        (Self { sender, backlog }, inbox)
    }

    fn flush(&mut self) -> Result<(), Lost> {
        while let Some(next) = self.backlog.pop_front() {
            match self.sender.try_send(next) {
                Ok(()) => {}
                Err(TrySendError::Full(next)) => {
                    self.backlog.push_front(next);
                    return Ok(());
                }
                // The publisher ends only when the bus has been closed.
                Err(TrySendError::Closed(_)) => return Err(Lost),
            }
        }
        Ok(())
    }
}

/// Publishes for one partition, in order, off its owner's loop.
pub(super) struct Publisher {
    bus: Arc<dyn MessageBus>,
    inbox: mpsc::Receiver<Parcel>,
    outcomes: mpsc::Sender<Outcome>,
    returned: mpsc::Sender<AttemptId>,
    /// Told whenever there is room in the outbox.
    wake: Arc<Notify>,
    /// The owner's own queue, which it has declared itself, and not as others are.
    own: QueueName,
    declared: FxHashSet<QueueName>,
}

impl Publisher {
    /// Makes the outbox of an owner, and the publishers of its tasks and of its notices.
    pub(super) fn pair(
        bus: &Arc<dyn MessageBus>,
        outcomes: &mpsc::Sender<Outcome>,
        returned: &mpsc::Sender<AttemptId>,
        wake: &Arc<Notify>,
        own: &QueueName,
    ) -> (Outbox, [Self; 2]) {
        let (tasks, of_tasks) = Lane::new();
        let (notices, of_notices) = Lane::new();
        let publishers = [of_tasks, of_notices].map(|inbox| Self {
            bus: Arc::clone(bus),
            inbox,
            outcomes: outcomes.clone(),
            returned: returned.clone(),
            wake: Arc::clone(wake),
            own: own.clone(),
            declared: FxHashSet::default(),
        });
        (Outbox { tasks, notices }, publishers)
    }

    /// Publishes until the outbox is dropped and empty, or the bus is closed.
    pub(super) async fn run(mut self) {
        let mut waiting = Vec::new();
        while self.inbox.recv_many(&mut waiting, WAITING).await > 0 {
            self.wake.notify_one();
            let mut batches: Vec<(Destination, bool, Vec<Envelope>)> = Vec::new();
            for Parcel {
                to,
                envelope,
                returns,
            } in waiting.drain(..)
            {
                match batches.last_mut() {
                    Some((last, _, batch)) if *last == to => batch.push(envelope),
                    _ => batches.push((to, returns, vec![envelope])),
                }
            }
            for (to, returns, batch) in batches {
                if !self.publish(&to, returns, batch).await {
                    return;
                }
            }
        }
    }

    /// Publishes a batch, however long it takes; says whether the bus is still there.
    async fn publish(&mut self, to: &Destination, returns: bool, mut batch: Vec<Envelope>) -> bool {
        let mut delay = FIRST_RETRY;
        let mut is_gone = false;
        loop {
            let declared = match returns {
                true => Ok(()),
                false => self.declare(to).await,
            };
            let published = match declared {
                Ok(()) => {
                    if let (true, Destination::Queue(queue)) = (is_gone, to) {
                        // With it went what had been published before.
                        tell_anew(&*self.bus, queue, None).await;
                        is_gone = false;
                    }
                    self.bus.publish_batch(to, batch).await
                }
                Err(error) => Err(PublishError::of_batch(error, batch)),
            };
            let Err(refused) = published else {
                return true;
            };
            let kind = refused.kind();
            match kind {
                ErrorKind::Closed => return false,
                // Nobody listens to what only tells.
                ErrorKind::NoRoute if !matches!(to, Destination::Queue(_)) => return true,
                ErrorKind::NoRoute if returns => return self.give_back(refused).await,
                ErrorKind::NoRoute => {
                    self.forget(to);
                    is_gone = true;
                }
                ErrorKind::TooLarge | ErrorKind::Invalid if refused.envelopes().len() > 1 => {
                    // The error is that of one of them: each gets its own.
                    for envelope in refused.into_envelopes() {
                        if !Box::pin(self.publish(to, returns, vec![envelope])).await {
                            return false;
                        }
                    }
                    return true;
                }
                // A queue that somebody has made differently stays as it is until a person takes it away.
                ErrorKind::TooLarge | ErrorKind::Invalid | ErrorKind::Conflict => {
                    return self.refuse(refused).await;
                }
                _ => {}
            }
            tracing::warn!(
                to = %to,
                envelopes = refused.envelopes().len(),
                error = refused.error() as &dyn std::error::Error,
                "the bus did not take what was to be published; trying again"
            );
            batch = refused.into_envelopes();
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(LAST_RETRY);
        }
    }

    async fn declare(&mut self, to: &Destination) -> Result<(), Error> {
        if let Destination::Queue(queue) = to
            && *queue != self.own
            && !self.declared.contains(queue)
        {
            self.bus.declare(QueueSpec::new(queue.clone())).await?;
            self.declared.insert(queue.clone());
        }
        Ok(())
    }

    fn forget(&mut self, to: &Destination) {
        if let Destination::Queue(queue) = to {
            self.declared.remove(queue);
        }
    }

    /// Tells the owner that the instance is gone to which tasks were to go.
    async fn give_back(&self, refused: PublishError) -> bool {
        for envelope in refused.into_envelopes() {
            let Ok(message) = TaskMessage::read(&envelope) else {
                continue;
            };
            let returned = AttemptId {
                run: message.run,
                task: message.task,
                attempt: message.attempt,
            };
            if self.returned.send(returned).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Tells the owner that tasks cannot be published at all.
    async fn refuse(&self, refused: PublishError) -> bool {
        let kind = match refused.kind() {
            ErrorKind::TooLarge => FailureKind::TooLarge,
            _ => FailureKind::Permanent,
        };
        let text = format!("the bus refused the task: {}", refused.error());
        for envelope in refused.into_envelopes() {
            let Ok(message) = TaskMessage::read(&envelope) else {
                tracing::error!(
                    reason = text,
                    "a message that is no task was refused and is dropped"
                );
                continue;
            };
            let outcome = Outcome {
                run: message.run,
                task: message.task,
                attempt: message.attempt,
                ended: Ended::failed(Failure::new(kind, text.clone())),
            };
            if self.outcomes.send(outcome).await.is_err() {
                return false;
            }
        }
        true
    }
}
