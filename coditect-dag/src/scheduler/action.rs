//! What the scheduler wants done: the answers to an event.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::event::LossReason;
use super::transition::TaskState;
use crate::{Attempt, TaskId, Timestamp};

/// Something that the caller must do or may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// The task waits in the queue of its class from now on.
    Ready {
        /// The task.
        task: TaskId,
    },
    /// A worker should stop this attempt; whatever it still answers is ignored.
    Stop {
        /// The task.
        task: TaskId,
        /// The attempt that runs.
        attempt: Attempt,
        /// Why it should stop.
        reason: Cause,
    },
    /// The scheduler wants [`Event::Due`](super::Event::Due) at this instant.
    WakeAt {
        /// The task that backs off.
        task: TaskId,
        /// When its backoff ends.
        at: Timestamp,
    },
    /// The task has reached a final state.
    Settled {
        /// The task.
        task: TaskId,
        /// The final state.
        state: TaskState,
        /// Why it ended so.
        cause: Cause,
    },
    /// A task that was final, or ready, is open again: it, a task on which it hangs, or the run was given another chance,
    /// or a patch lets it wait for more.
    Reopened {
        /// The task.
        task: TaskId,
    },
    /// All subtasks of an expanded task are final; answer with
    /// [`Event::Resolved`](super::Event::Resolved) or
    /// [`Event::ScopeFailed`](super::Event::ScopeFailed).
    ScopeSettled {
        /// The expanded task.
        task: TaskId,
        /// Whether one of the scope's sinks did not succeed, or the scope failed fast.
        failed: bool,
    },
    /// Every task of the run is final; the last action, unless the run is opened again.
    RunSettled {
        /// How the run ended: succeeded, failed or cancelled.
        state: TaskState,
    },
}

/// Says why a task reached its final state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// Its attempt ended well, or its scope has a result.
    Completed,
    /// Its handler failed in a way that trying again does not cure.
    NotRetryable,
    /// Its handler failed as often as it may.
    AttemptsExhausted,
    /// Its attempts were lost more often than is forgiven.
    LossesExhausted(LossReason),
    /// Its deadline passed.
    Deadline,
    /// Its expansion was over a limit.
    ExpansionRefused,
    /// Its subtasks could bring no result.
    ScopeFailed,
    /// An upstream that it needed did not succeed.
    Upstream(TaskId),
    /// A task of its scope failed, and the scope fails fast.
    FailFast(TaskId),
    /// It was cancelled by name.
    Cancelled,
    /// A patch took it out of its graph before it had begun.
    Removed,
    /// The task from which it was expanded has ended without it.
    NotNeeded(TaskId),
    /// The run has its result and does not need it.
    RunResolved,
    /// The run failed as a whole.
    RunFailed,
    /// The run was cancelled as a whole.
    RunCancelled,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::NotRetryable => f.write_str("failed in a way that trying again does not cure"),
            Self::AttemptsExhausted => f.write_str("failed as often as it may"),
            Self::LossesExhausted(reason) => write!(f, "lost too often: {reason}"),
            Self::Deadline => f.write_str("its deadline passed"),
            Self::ExpansionRefused => f.write_str("its expansion was over a limit"),
            Self::ScopeFailed => f.write_str("its subtasks failed"),
            Self::Upstream(task) => write!(f, "task {task}, which it needed, did not succeed"),
            Self::FailFast(task) => write!(f, "task {task} failed, and the others with it"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Removed => f.write_str("taken out of the graph"),
            Self::NotNeeded(task) => write!(f, "task {task} ended without it"),
            Self::RunResolved => f.write_str("the run has its result without it"),
            Self::RunFailed => f.write_str("the run failed"),
            Self::RunCancelled => f.write_str("the run was cancelled"),
        }
    }
}
