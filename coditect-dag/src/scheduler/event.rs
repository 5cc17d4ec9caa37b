//! What the scheduler is told: everything that changes a run, in the words of the journal.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::expansion::Expansion;
use super::patch::Patch;
use crate::{Attempt, Error, TaskId, Timestamp};

/// Something that happened to a run.
///
/// The same events in the same order always lead to the same scheduler, so the list of them is all
/// that a journal must keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event<P> {
    /// The run begins: tasks without upstreams become ready.
    Started,
    /// A ready task was handed out; it runs as the next attempt.
    Dispatched {
        /// The task, which need not be the first of its queue.
        task: TaskId,
    },
    /// An attempt ended well.
    Succeeded {
        /// The task.
        task: TaskId,
        /// The attempt that ended.
        attempt: Attempt,
    },
    /// The handler of an attempt returned an error.
    Failed {
        /// The task.
        task: TaskId,
        /// The attempt that ended.
        attempt: Attempt,
        /// When to try again, as the caller's retry policy computed it; `None` if the error can
        /// not be cured by trying again.
        retry_at: Option<Timestamp>,
    },
    /// An attempt vanished without an outcome; the handler is not to blame.
    Lost {
        /// The task.
        task: TaskId,
        /// The attempt that vanished.
        attempt: Attempt,
        /// How it was noticed.
        reason: LossReason,
    },
    /// The handler asked to be called again later; this spends nothing.
    Snoozed {
        /// The task.
        task: TaskId,
        /// The attempt that ended.
        attempt: Attempt,
        /// When to call it again.
        until: Timestamp,
    },
    /// An attempt answered with a graph: the task stays running while its subtasks run.
    Expanded {
        /// The task.
        task: TaskId,
        /// The attempt that answered.
        attempt: Attempt,
        /// The subtasks.
        expansion: Box<Expansion<P>>,
    },
    /// An expanded task has its result; subtasks that are not final are no longer needed.
    Resolved {
        /// The expanded task.
        task: TaskId,
    },
    /// An expanded task can have no result any more; subtasks that are not final are cancelled.
    ScopeFailed {
        /// The expanded task.
        task: TaskId,
    },
    /// The deadline of a task has passed.
    Expired {
        /// The task.
        task: TaskId,
    },
    /// Somebody wants a task to stop, with its subtasks.
    Cancelled {
        /// The task.
        task: TaskId,
    },
    /// A task that had failed finally gets another chance, with fresh counts of failures and losses.
    ///
    /// What was skipped because of it waits for it again, and so does what is ready; what was
    /// dispatched is not called back. Ignored if the task has not failed, if an upstream keeps it
    /// from running, or if its scope has ended or failed fast.
    ///
    /// A settled run is opened again for the task, with the expanded tasks around it, and with all that was skipped or
    /// cancelled. Other failed tasks stay failed. Ignored if a task around it has succeeded without it, or if another
    /// failure has failed one of the scopes around it fast.
    Redriven {
        /// The task.
        task: TaskId,
    },
    /// Nothing is to be dispatched until the run is resumed. What was dispatched goes on.
    Paused,
    /// What is ready may be dispatched again.
    Resumed,
    /// Tasks get another priority, those that are final excepted.
    ///
    /// What is ready goes behind everything that waits with that priority; what was dispatched is not called back.
    Prioritized {
        /// The tasks.
        tasks: Vec<TaskId>,
        /// The priority that they get.
        priority: P,
    },
    /// The graph of a scope under way changes, as a whole or not at all.
    Patched {
        /// What changes.
        patch: Box<Patch<P>>,
    },
    /// A settled run is opened again: what has not succeeded gets another chance, what has succeeded is kept.
    ///
    /// Failed, skipped and cancelled tasks wait again, with fresh counts. If the last attempt of such a task has
    /// expanded, the task is not dispatched but goes on with its subtasks in the same way. Ignored if the run has not
    /// settled.
    Retried,
    /// Time has come to this instant: tasks whose backoff ends by then become ready.
    Due {
        /// The instant.
        now: Timestamp,
    },
    /// The run has its result; what is not final is no longer needed.
    RunResolved,
    /// The run can have no result any more; what is not final is cancelled.
    RunFailed,
    /// Somebody wants the whole run to stop.
    RunCancelled,
}

/// Says how it was noticed that an attempt had vanished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LossReason {
    /// The worker is gone: its lease ended or its heartbeats stopped.
    WorkerGone,
    /// The bus gave the task up after too many deliveries.
    DeadLettered,
    /// The bus could not deliver the task to anybody.
    Undeliverable,
    /// The worker refused the task, for example because it could not read it.
    Rejected,
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WorkerGone => "the worker is gone",
            Self::DeadLettered => "dead-lettered after too many deliveries",
            Self::Undeliverable => "nobody to deliver it to",
            Self::Rejected => "rejected by the worker",
        })
    }
}

/// Says what an event did.
#[derive(Debug)]
#[must_use]
pub enum Applied {
    /// The event took effect.
    Changed,
    /// The event came too late or twice: an attempt that is not the current one, a task that is
    /// final already. Nothing changed.
    Ignored,
    /// The expansion is over a limit: the task failed finally, for the reason given.
    Refused(Error),
}

impl Applied {
    /// Tells whether the event came too late or twice.
    #[must_use]
    pub const fn is_ignored(&self) -> bool {
        matches!(self, Self::Ignored)
    }
}
