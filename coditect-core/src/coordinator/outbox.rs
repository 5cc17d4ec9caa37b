//! The way to a partition's publisher: what an owner puts in never waits.

use std::collections::VecDeque;

use coditect_bus::{Destination, Envelope, QueueName};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::owner::Lost;

/// How many envelopes of a kind may wait to be published, and how many more the publisher holds.
pub(super) const WAITING: usize = 4096;

/// What the publisher has no room for stays here, and an owner that sees that dispatches no more.
///
/// What stops attempts, and what the owner tells itself, has a way of its own: it must get through when tasks do not.
#[derive(Debug)]
pub(super) struct Outbox {
    own: QueueName,
    tasks: Way,
    urgent: Way,
}

/// What is to be published.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) to: Destination,
    pub(super) envelope: Envelope,
    /// The owner is told if there is no such queue, which is not for it to declare.
    pub(super) returns: bool,
}

#[derive(Debug)]
struct Way {
    sender: mpsc::Sender<Parcel>,
    backlog: VecDeque<Parcel>,
}

impl Outbox {
    /// Makes one with what comes out of it: tasks, and what is urgent.
    pub(super) fn new(own: QueueName) -> (Self, mpsc::Receiver<Parcel>, mpsc::Receiver<Parcel>) {
        let (tasks, all_tasks) = Way::new();
        let (urgent, all_urgent) = Way::new();
        (Self { own, tasks, urgent }, all_tasks, all_urgent)
    }

    pub(super) fn push(&mut self, parcel: Parcel) {
        let is_task = matches!(&parcel.to, Destination::Queue(queue) if *queue != self.own);
        let way = match is_task {
            true => &mut self.tasks,
            false => &mut self.urgent,
        };
        way.backlog.push_back(parcel);
    }

    /// Hands the publisher what it has room for; it wakes the owner when it has more.
    pub(super) fn flush(&mut self) -> Result<(), Lost> {
        self.urgent.flush()?;
        self.tasks.flush()
    }

    /// Says whether more would wait.
    pub(super) fn is_full(&self) -> bool {
        self.tasks.is_full() || self.urgent.is_full()
    }
}

impl Way {
    fn new() -> (Self, mpsc::Receiver<Parcel>) {
        let (sender, receiver) = mpsc::channel(WAITING);
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

    fn is_full(&self) -> bool {
        !self.backlog.is_empty() || self.sender.capacity() == 0
    }
}
