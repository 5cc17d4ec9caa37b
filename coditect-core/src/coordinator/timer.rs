//! What is to happen to a run at an instant.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use coditect_dag::{RunId, TaskId, Timestamp};

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// A backoff has ended.
    Backoff,
    /// A task's deadline has come.
    TaskDeadline(TaskId),
    /// The run's deadline has come.
    RunDeadline,
}

/// Instants at which something is due, the earliest first.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Timestamp, RunId, Due)>>);

impl Timers {
    pub(super) fn push(&mut self, at: Timestamp, run: RunId, due: Due) {
        self.0.push(Reverse((at, run, due)));
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes what is due by now.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<(RunId, Due)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, run, due))| (run, due))
    }
}
