//! Publishes a batch to one destination, and goes on until the bus has taken it.

use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{
    Destination, Envelope, Error, ErrorKind, MessageBus, PublishError, QueueName, QueueSpec,
};
use parking_lot::Mutex;
use rustc_hash::FxHashSet;
use tokio::sync::mpsc;

use super::anew::GATHERED;
use crate::failure::{Failure, FailureKind};
use crate::wire::{AttemptId, Outcome, TaskMessage};
use crate::worker;

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// How many queues are remembered as declared; beyond that all are declared again.
const DECLARED: usize = 4096;
/// How long a batch waits whose queue was made anew: until the owner has handed out the same again, which then is here.
const HELD: Duration = GATHERED.saturating_add(Duration::from_secs(1));

/// What is published in order, one batch after the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    pub(super) to: Destination,
    pub(super) returns: bool,
}

/// What has become of a batch.
pub(super) enum Ended {
    /// The bus has taken it, or never will.
    Done,
    /// Its queue was gone and is there again; this is what it has not taken.
    Anew(Vec<Envelope>),
    /// The bus is closed.
    Closed,
}

/// What all lanes of a publisher share.
pub(super) struct Line {
    bus: Arc<dyn MessageBus>,
    /// The owner's queue. It may be temporary, so that declaring it like those of capabilities is a conflict.
    own: Destination,
    outcomes: mpsc::Sender<Outcome>,
    returned: mpsc::Sender<AttemptId>,
    declared: Mutex<FxHashSet<QueueName>>,
}

impl Line {
    pub(super) fn new(
        bus: Arc<dyn MessageBus>,
        own: QueueName,
        outcomes: mpsc::Sender<Outcome>,
        returned: mpsc::Sender<AttemptId>,
    ) -> Self {
        Self {
            bus,
            own: Destination::Queue(own),
            outcomes,
            returned,
            declared: Mutex::default(),
        }
    }

    /// Publishes a batch, however long it takes; says how many there were, and what has become of them.
    pub(super) async fn carry(
        &self,
        lane: Lane,
        batch: Vec<Envelope>,
        is_anew: bool,
    ) -> (Lane, usize, Ended) {
        let count = batch.len();
        if is_anew {
            tokio::time::sleep(HELD).await;
        }
        let ended = self.publish(&lane, batch).await;
        (lane, count, ended)
    }

    async fn publish(&self, lane: &Lane, mut batch: Vec<Envelope>) -> Ended {
        let to = &lane.to;
        let mut delay = FIRST_RETRY;
        let mut is_gone = false;
        loop {
            let published = match self.declare(lane).await {
                Ok(()) => {
                    if let (true, Destination::Queue(queue)) = (is_gone, to) {
                        self.tell_anew(queue).await;
                        return Ended::Anew(batch);
                    }
                    self.bus.publish_batch(to, batch).await
                }
                Err(error) => Err(PublishError::of_batch(error, batch)),
            };
            let Err(refused) = published else {
                return Ended::Done;
            };
            match refused.kind() {
                ErrorKind::Closed => return Ended::Closed,
                // Nobody listens to what only tells.
                ErrorKind::NoRoute if !matches!(to, Destination::Queue(_)) => return Ended::Done,
                ErrorKind::NoRoute if lane.returns => {
                    self.give_back(refused).await;
                    return Ended::Done;
                }
                ErrorKind::NoRoute if *to != self.own => {
                    self.forget(to);
                    is_gone = true;
                }
                ErrorKind::TooLarge | ErrorKind::Invalid if refused.envelopes().len() > 1 => {
                    return self.publish_each(lane, refused).await;
                }
                // A queue that somebody has made differently stays as it is until a person takes it away.
                ErrorKind::TooLarge | ErrorKind::Invalid | ErrorKind::Conflict => {
                    self.refuse(lane, refused).await;
                    return Ended::Done;
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
            if self.has_ended() && matches!(to, Destination::Queue(_)) {
                // The next owner publishes these tasks, and echoes are for nobody.
                return Ended::Done;
            }
        }
    }

    /// Publishes one by one, since the error is that of one of them: each gets its own.
    async fn publish_each(&self, lane: &Lane, refused: PublishError) -> Ended {
        let mut left = Vec::new();
        for envelope in refused.into_envelopes() {
            match Box::pin(self.publish(lane, vec![envelope])).await {
                Ended::Done => {}
                Ended::Anew(batch) => left.extend(batch),
                Ended::Closed => return Ended::Closed,
            }
        }
        match left.is_empty() {
            true => Ended::Done,
            false => Ended::Anew(left),
        }
    }

    async fn declare(&self, lane: &Lane) -> Result<(), Error> {
        let Destination::Queue(queue) = &lane.to else {
            return Ok(());
        };
        if lane.returns || lane.to == self.own || self.declared.lock().contains(queue) {
            return Ok(());
        }
        self.bus.declare(QueueSpec::new(queue.clone())).await?;
        let mut declared = self.declared.lock();
        if declared.len() >= DECLARED {
            declared.clear();
        }
        declared.insert(queue.clone());
        Ok(())
    }

    fn forget(&self, to: &Destination) {
        if let Destination::Queue(queue) = to {
            self.declared.lock().remove(queue);
        }
    }

    /// With the queue went what had been published before, here or by another owner.
    async fn tell_anew(&self, queue: &QueueName) {
        while !worker::tell_anew(&*self.bus, queue, None).await && !self.has_ended() {}
    }

    /// Says whether the owner takes in nothing any more.
    fn has_ended(&self) -> bool {
        self.outcomes.is_closed()
    }

    /// Tells the owner that the instance is gone to which tasks were to go.
    async fn give_back(&self, refused: PublishError) {
        for envelope in refused.into_envelopes() {
            let Ok(message) = TaskMessage::read(&envelope) else {
                continue;
            };
            let returned = AttemptId {
                run: message.run,
                task: message.task,
                attempt: message.attempt,
            };
            // An owner that has ended gives the attempt to the next.
            let _ = self.returned.send(returned).await;
        }
    }

    /// Tells the owner that tasks cannot be published at all.
    async fn refuse(&self, lane: &Lane, refused: PublishError) {
        let kind = match refused.kind() {
            ErrorKind::TooLarge => FailureKind::TooLarge,
            _ => FailureKind::Permanent,
        };
        let text = format!("the bus refused the task: {}", refused.error());
        let (mut unread, to) = (0_usize, &lane.to);
        for envelope in refused.into_envelopes() {
            let Ok(message) = TaskMessage::read(&envelope) else {
                unread += 1;
                continue;
            };
            let outcome = Outcome {
                run: message.run,
                task: message.task,
                attempt: message.attempt,
                by: None,
                ended: worker::Ended::failed(Failure::new(kind, text.clone())),
            };
            // An owner that has ended gives the attempt to the next.
            let _ = self.outcomes.send(outcome).await;
        }
        if unread > 0 {
            tracing::error!(%to, unread, reason = text, "what the bus refused is lost, as it is no task");
        }
    }
}
