//! What a run's log consists of.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Attempt, TaskId, Timestamp};

/// Is a position in a run's log or a partition's inbox; the first entry has 1.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(u64);

impl Seq {
    /// The position before the first entry.
    pub const ZERO: Self = Self(0);

    /// Names a position, from 1.
    #[must_use]
    pub const fn new(position: u64) -> Self {
        Self(position)
    }

    /// Returns the position, from 1; 0 before the first entry.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Is one entry of a run's log: what happened, and when.
///
/// A record is at most 64 bytes. Its serde form works with every format: the kind is the name of an
/// externally tagged variant. A reader ignores fields that it does not know and fills in those that
/// are missing and optional; a kind that it does not know is an error, because a run that is replayed
/// without it would be another run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it happened, by the clock of the partition's owner.
    pub at: Timestamp,
    /// What happened.
    pub kind: RecordKind,
}

impl Record {
    /// Says what happened, and when.
    #[must_use]
    pub const fn new(at: Timestamp, kind: RecordKind) -> Self {
        Self { at, kind }
    }
}

/// Is a transition of a run or of one of its tasks.
///
/// The enum is exhaustive on purpose: whoever replays a log must decide about every kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    /// The owner of the partition has taken the run in.
    Started,
    /// The run, which waits for its start, is to start at another time.
    Rescheduled {
        /// When.
        start_at: Timestamp,
    },
    /// An attempt was handed out; it is committed before its envelope is published.
    Dispatched {
        /// The task.
        task: TaskId,
        /// The attempt that this begins.
        attempt: Attempt,
        /// The process to which it was given directly; `None` if any may take it from a queue.
        #[serde(default)]
        incarnation: Option<Arc<str>>,
    },
    /// A worker holds the attempt and lives by heartbeats from now on.
    Claimed {
        /// The task.
        task: TaskId,
        /// The attempt that is held.
        attempt: Attempt,
        /// The process that holds it.
        incarnation: Arc<str>,
        /// After how many milliseconds of silence it is taken for dead, where that was said.
        #[serde(default)]
        lease_ms: Option<u64>,
    },
    /// A worker may begin an attempt that must not be begun twice, and lives by heartbeats from now on. It is committed
    /// before the worker hears of it.
    Granted {
        /// The task.
        task: TaskId,
        /// The attempt that may begin.
        attempt: Attempt,
        /// The process that may begin it.
        incarnation: Arc<str>,
        /// After how many milliseconds of silence it is taken for dead.
        lease_ms: u64,
        /// Which of that process's claims this answers.
        claim: u64,
    },
    /// Nobody knows what became of an attempt that must not be begun twice. The task waits for a ruling.
    Parked {
        /// The task.
        task: TaskId,
        /// The attempt whose outcome is not known.
        attempt: Attempt,
        /// Why it is not known.
        reason: Arc<str>,
    },
    /// An attempt ended well, and with it the task.
    Succeeded {
        /// The task.
        task: TaskId,
        /// The attempt that ended.
        attempt: Attempt,
        /// The task's output.
        output: Bytes,
    },
    /// An attempt ended badly.
    Failed {
        /// The task.
        task: TaskId,
        /// The attempt that ended.
        attempt: Attempt,
        /// Why, in the caller's encoding.
        failure: Bytes,
        /// When the next attempt is due; `None` if the task has failed for good.
        #[serde(default)]
        retry_at: Option<Timestamp>,
    },
    /// An attempt vanished without an outcome: its worker died or its envelope was dead-lettered.
    Lost {
        /// The task.
        task: TaskId,
        /// The attempt that vanished.
        attempt: Attempt,
        /// Why it is taken for lost.
        reason: Arc<str>,
    },
    /// An attempt was put off, at its own wish, without being spent.
    Snoozed {
        /// The task.
        task: TaskId,
        /// The attempt that is put off.
        attempt: Attempt,
        /// When it is due again.
        until: Timestamp,
    },
    /// An attempt answered with a graph that now stands in the task's place.
    Expanded {
        /// The task.
        task: TaskId,
        /// The attempt that ended.
        attempt: Attempt,
        /// The graph, in the caller's encoding.
        plan: Bytes,
    },
    /// A task that had been expanded got its output from what it was expanded into.
    Resolved {
        /// The task.
        task: TaskId,
        /// The task's output.
        output: Bytes,
    },
    /// A task that had been expanded failed with what it was expanded into.
    ScopeFailed {
        /// The task.
        task: TaskId,
        /// Why, in the caller's encoding.
        failure: Bytes,
    },
    /// A task's deadline passed before it ended.
    Expired {
        /// The task.
        task: TaskId,
    },
    /// A task was cancelled.
    Cancelled {
        /// The task.
        task: TaskId,
    },
    /// The run as a whole is being cancelled.
    RunCancelled {
        /// Why.
        reason: Arc<str>,
    },
    /// Nobody offers what a task needs; it goes on waiting. For information only.
    Unserved {
        /// The task.
        task: TaskId,
    },
    /// A task that had ended badly was put back on purpose. In a settled run, this opens it again.
    Redriven {
        /// The task.
        task: TaskId,
        /// What it is given from now on, if that is not what its plan says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input: Option<Bytes>,
    },
    /// A task is to be done by others than its plan says, from now on.
    Aimed {
        /// The task.
        task: TaskId,
        /// By whom, in the caller's words.
        to: Arc<str>,
    },
    /// A settled run was opened again, for everything in it that had not succeeded.
    Retried,
    /// Nothing is to be handed out until the run is resumed.
    Paused {
        /// Why.
        reason: Arc<str>,
    },
    /// What waits may be handed out again.
    Resumed,
    /// A task has another priority from now on, or the run has.
    Prioritized {
        /// The task; `None` for the run, which changes the tasks that have no priority of their own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<TaskId>,
        /// The priority, in the caller's numbers; the smaller one goes first.
        priority: u8,
    },
    /// A task waits for a signal, as this attempt, and nobody works on it.
    Waiting {
        /// The task.
        task: TaskId,
        /// The attempt that waits.
        attempt: Attempt,
    },
    /// A signal came for the run, whether or not a task waits for it yet.
    Signalled {
        /// The signal's name within the run.
        name: Arc<str>,
        /// What it brings, in the caller's encoding.
        payload: Bytes,
    },
    /// The graph of the run changed, or that of an expanded task.
    Patched {
        /// What changed, in the caller's encoding.
        patch: Bytes,
    },
    /// A patch was asked for that does not fit the run. For information only.
    PatchRefused {
        /// Which patch.
        id: Arc<str>,
        /// Why it does not fit.
        reason: Arc<str>,
    },
    /// The run ended. Nothing may follow but what [opens it again](Self::reopens).
    Settled(Settlement),
}

impl RecordKind {
    /// Makes a record of this, at an instant.
    #[must_use]
    pub const fn at(self, at: Timestamp) -> Record {
        Record { at, kind: self }
    }

    /// Makes the record of a task that was put back with the input that it had.
    #[must_use]
    pub const fn redriven(task: TaskId) -> Self {
        Self::Redriven { task, input: None }
    }

    /// Returns whether this opens a settled run again.
    #[must_use]
    pub const fn reopens(&self) -> bool {
        matches!(self, Self::Redriven { .. } | Self::Retried)
    }

    /// Returns the task that this is about, unless it is about the run as a whole.
    #[must_use]
    pub const fn task(&self) -> Option<TaskId> {
        match self {
            Self::Dispatched { task, .. }
            | Self::Claimed { task, .. }
            | Self::Granted { task, .. }
            | Self::Parked { task, .. }
            | Self::Succeeded { task, .. }
            | Self::Failed { task, .. }
            | Self::Lost { task, .. }
            | Self::Snoozed { task, .. }
            | Self::Expanded { task, .. }
            | Self::Resolved { task, .. }
            | Self::ScopeFailed { task, .. }
            | Self::Expired { task }
            | Self::Cancelled { task }
            | Self::Unserved { task }
            | Self::Waiting { task, .. }
            | Self::Aimed { task, .. }
            | Self::Redriven { task, .. } => Some(*task),
            Self::Prioritized { task, .. } => *task,
            Self::Started
            | Self::Rescheduled { .. }
            | Self::RunCancelled { .. }
            | Self::Retried
            | Self::Paused { .. }
            | Self::Resumed
            | Self::Signalled { .. }
            | Self::Patched { .. }
            | Self::PatchRefused { .. }
            | Self::Settled(_) => None,
        }
    }
}

/// Says how a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// It reached its goal.
    Succeeded {
        /// Its result, in the caller's encoding.
        result: Bytes,
    },
    /// It cannot reach its goal any more.
    Failed {
        /// Why, in the caller's encoding.
        failure: Bytes,
    },
    /// It was cancelled.
    Cancelled {
        /// Why.
        reason: Arc<str>,
    },
}

#[cfg(test)]
mod tests;
