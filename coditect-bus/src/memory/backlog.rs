//! What waits in a queue: ready by priority, or delayed. Pure: time is handed in.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::{Destination, Envelope, Priority, PriorityTurns};

/// A message in a queue.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) envelope: Envelope,
    pub(super) destination: Option<Destination>,
    pub(super) expires: Option<Instant>,
    pub(super) redeliveries: u32,
    pub(super) first_failed_at: Option<SystemTime>,
}

#[derive(Debug, Default)]
pub(super) struct Backlog {
    ready: [VecDeque<Stored>; 3],
    turns: PriorityTurns,
    delayed: BinaryHeap<Reverse<Delayed>>,
    /// Grows with each delayed message, so that equal instants keep their order.
    sequence: u64,
    /// No ready message expires before this; `None` if none expires at all.
    next_sweep: Option<Instant>,
}

/// Expired messages leave when they would be taken; a sweep of the whole backlog, for those that nobody takes, is rarer.
const SWEEP_EVERY: Duration = Duration::from_millis(50);

impl Backlog {
    pub(super) fn len(&self) -> usize {
        self.ready_len() + self.delayed.len()
    }

    pub(super) fn ready_len(&self) -> usize {
        self.ready.iter().map(VecDeque::len).sum()
    }

    pub(super) fn ready_by_priority(&self) -> [usize; 3] {
        [0, 1, 2].map(|index: usize| self.ready[index].len())
    }

    pub(super) fn delayed_len(&self) -> usize {
        self.delayed.len()
    }

    pub(super) fn push_back(&mut self, stored: Stored) {
        self.note_expiry(&stored);
        self.ready[stored.envelope.priority().index()].push_back(stored);
    }

    pub(super) fn push_front(&mut self, stored: Stored) {
        self.note_expiry(&stored);
        self.ready[stored.envelope.priority().index()].push_front(stored);
    }

    pub(super) fn push_delayed(&mut self, stored: Stored, due: Instant) {
        self.sequence += 1;
        self.delayed.push(Reverse(Delayed {
            due,
            sequence: self.sequence,
            stored,
        }));
    }

    /// Takes the next message by priority; it may have expired.
    pub(super) fn take(&mut self) -> Option<Stored> {
        let waiting = [0, 1, 2].map(|index: usize| !self.ready[index].is_empty());
        let priority = self.turns.next(waiting)?;
        self.ready[priority.index()].pop_front()
    }

    /// Takes the oldest message of the least urgent priority, unless that is more urgent than `than`.
    pub(super) fn take_least_urgent(&mut self, than: Priority) -> Option<Stored> {
        Priority::ALL
            .into_iter()
            .rev()
            .take_while(|priority| *priority >= than)
            .find_map(|priority| self.ready[priority.index()].pop_front())
    }

    /// Says whether time means anything to this backlog.
    pub(super) fn is_timed(&self) -> bool {
        self.next_sweep.is_some() || !self.delayed.is_empty()
    }

    /// Returns when [`advance`](Self::advance) has something to do.
    pub(super) fn next_event(&self) -> Option<Instant> {
        let due = self.delayed.peek().map(|Reverse(delayed)| delayed.due);
        [due, self.next_sweep].into_iter().flatten().min()
    }

    /// Makes due messages ready and gives out the expired ones; says how many became ready.
    pub(super) fn advance(&mut self, now: Instant, expired: &mut Vec<Stored>) -> usize {
        let mut promoted = 0;
        while self
            .delayed
            .peek()
            .is_some_and(|Reverse(delayed)| delayed.due <= now)
        {
            if let Some(Reverse(delayed)) = self.delayed.pop() {
                self.push_back(delayed.stored);
                promoted += 1;
            }
        }
        if self.next_sweep.is_some_and(|at| at <= now) {
            self.sweep(now, expired);
        }
        promoted
    }

    fn sweep(&mut self, now: Instant, expired: &mut Vec<Stored>) {
        let mut next = None;
        for queue in &mut self.ready {
            if queue.iter().any(|stored| stored.has_expired(now)) {
                for stored in std::mem::take(queue) {
                    if stored.has_expired(now) {
                        expired.push(stored);
                    } else {
                        queue.push_back(stored);
                    }
                }
            }
            let earliest = queue.iter().filter_map(|stored| stored.expires).min();
            next = [next, earliest].into_iter().flatten().min();
        }
        self.next_sweep = next.map(|at| at.max(now + SWEEP_EVERY));
    }

    fn note_expiry(&mut self, stored: &Stored) {
        if let Some(at) = stored.expires {
            self.next_sweep = Some(self.next_sweep.map_or(at, |known| known.min(at)));
        }
    }
}

impl Stored {
    pub(super) fn has_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

/// A message that becomes ready later, ordered by when.
#[derive(Debug)]
struct Delayed {
    due: Instant,
    sequence: u64,
    stored: Stored,
}

impl Delayed {
    fn key(&self) -> (Instant, u64) {
        (self.due, self.sequence)
    }
}

impl PartialEq for Delayed {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Delayed {}

impl PartialOrd for Delayed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Delayed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
