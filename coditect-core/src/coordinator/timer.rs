//! What is to happen to a run at an instant.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use coditect_dag::{RunId, TaskId, Timestamp};

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The run is to start.
    Start,
    /// A backoff has ended.
    Backoff,
    /// A task's deadline has come.
    TaskDeadline(TaskId),
    /// The worker that has claimed a task should have been heard of.
    Claim(TaskId),
    /// The time is over for which a task waits.
    Wait(TaskId),
    /// The time is over for which a task is parked.
    Parking(TaskId),
    /// The run's deadline has come.
    RunDeadline,
}

/// Instants at which something is due, the earliest first.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Timestamp, RunId, Due)>>,
    /// How many runs have ended since timers of ended runs were last thrown away.
    ended: usize,
}

/// After how many ended runs it is worth looking at every timer.
const ENDED: usize = 1024;

impl Timers {
    pub(super) fn push(&mut self, at: Timestamp, run: RunId, due: Due) {
        self.heap.push(Reverse((at, run, due)));
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes what is due by now.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<(RunId, Due)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, run, due))| (run, due))
    }

    /// Notes that a run has ended; throws timers of ended runs away when there may be many.
    pub(super) fn forget_ended(&mut self, lives: impl Fn(RunId) -> bool) {
        self.ended += 1;
        if self.ended >= ENDED {
            self.ended = 0;
            self.heap.retain(|Reverse((_, run, _))| lives(*run));
        }
    }
}
