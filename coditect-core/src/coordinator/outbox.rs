//! The way to a partition's publisher: what an owner puts in never waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coditect_bus::{Destination, Envelope, QueueName};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::owner::Lost;

/// How many envelopes of a kind are handed to the publisher at once.
pub(super) const HANDED: usize = 4096;
/// How many envelopes may wait for one destination before nothing more is dispatched there.
const WAITING: usize = 1024;
/// How many of them may be notices, each of which can stop many attempts.
const NOTICES: usize = 16;

/// What the publisher has no room for stays here, and an owner that sees that dispatches no more.
///
/// What stops attempts, and what the owner tells itself, has a way of its own: it must get through when tasks do not.
#[derive(Debug)]
pub(super) struct Outbox {
    tasks: Way,
    urgent: Way,
    waiting: Arc<Waiting>,
}

/// What is to be published.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) to: Destination,
    pub(super) envelope: Envelope,
    /// The owner is told if there is no such queue, which is not for it to declare.
    pub(super) returns: bool,
}

/// How many envelopes the bus has not yet taken, by where they go.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    counts: Mutex<FxHashMap<Destination, usize>>,
    /// Whether the owner is to be told when none wait any more.
    tells_idle: AtomicBool,
}

#[derive(Debug)]
struct Way {
    sender: mpsc::Sender<Parcel>,
    backlog: VecDeque<Parcel>,
}

impl Outbox {
    /// Makes one with what comes out of it: tasks, and what is urgent.
    pub(super) fn new(
        waiting: Arc<Waiting>,
    ) -> (Self, mpsc::Receiver<Parcel>, mpsc::Receiver<Parcel>) {
        let (tasks, all_tasks) = Way::new();
        let (urgent, all_urgent) = Way::new();
        let outbox = Self {
            tasks,
            urgent,
            waiting,
        };
        (outbox, all_tasks, all_urgent)
    }

    /// Puts a task in.
    pub(super) fn push(&mut self, parcel: Parcel) {
        self.waiting.add(&parcel.to);
        self.tasks.backlog.push_back(parcel);
    }

    /// Puts something in that is no task.
    pub(super) fn push_notice(&mut self, to: Destination, envelope: Envelope) {
        self.waiting.add(&to);
        self.urgent.backlog.push_back(Parcel {
            to,
            envelope,
            returns: false,
        });
    }

    /// Hands the publisher what it has room for; it wakes the owner when it has more.
    pub(super) fn flush(&mut self) -> Result<(), Lost> {
        self.urgent.flush()?;
        self.tasks.flush()
    }

    /// Says whether the bus has taken all that was put in.
    pub(super) fn is_idle(&self) -> bool {
        let has_none = self.tasks.backlog.is_empty() && self.urgent.backlog.is_empty();
        has_none && self.waiting.counts.lock().is_empty()
    }

    /// Has the owner woken when the bus has taken all.
    pub(super) fn wake_when_idle(&self) {
        self.waiting.tells_idle.store(true, Ordering::Release);
    }

    /// Says whether more tasks would wait, wherever they go.
    pub(super) fn is_full(&self) -> bool {
        !self.tasks.backlog.is_empty() || self.tasks.sender.capacity() == 0
    }

    /// Says whether a queue takes more tasks, as far as is known. One that does not holds up no other.
    pub(super) fn has_room(&self, queue: &QueueName) -> bool {
        self.waiting.has_room(&Destination::Queue(queue.clone()))
    }

    /// Says whether more notices go there: while they do not, what they would say is better kept and said at once.
    pub(super) fn takes_notices(&self, to: &Destination) -> bool {
        self.waiting.has_room(to)
    }
}

impl Waiting {
    fn add(&self, to: &Destination) {
        *self.counts.lock().entry(to.clone()).or_default() += 1;
    }

    fn has_room(&self, to: &Destination) -> bool {
        let waiting = self.counts.lock();
        waiting.get(to).is_none_or(|count| *count < limit(to))
    }

    /// Notes that so many wait no more; says whether the owner is to be told: there is room again where there was none, or
    /// nothing waits any more where it asked for that.
    pub(super) fn release(&self, to: &Destination, count: usize) -> bool {
        let mut waiting = self.counts.lock();
        let Some(left) = waiting.get_mut(to) else {
            return false;
        };
        let before = *left;
        *left = before.saturating_sub(count);
        let now = *left;
        if now == 0 {
            waiting.remove(to);
        }
        let is_idle = waiting.is_empty() && self.tells_idle.load(Ordering::Acquire);
        is_idle || (before >= limit(to) && now < limit(to))
    }
}

fn limit(to: &Destination) -> usize {
    match to {
        Destination::Queue(_) => WAITING,
        Destination::Topic(_) | Destination::Fanout(_) => NOTICES,
    }
}

impl Way {
    fn new() -> (Self, mpsc::Receiver<Parcel>) {
        let (sender, receiver) = mpsc::channel(HANDED);
        let backlog = VecDeque::new();
        (Self { sender, backlog }, receiver)
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
