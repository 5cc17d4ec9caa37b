//! Scopes: the run's own tasks, or the subtasks of one expanded task.

use super::ranges::TaskRanges;
use super::spec::FailurePolicy;
use super::transition::TaskState;

/// The scope of the run's own tasks.
pub(super) const TOP: u32 = 0;

/// Tasks that make one graph and share a failure policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// The expanded task; meaningless for the top.
    pub(super) parent: u32,
    pub(super) tasks: TaskRanges,
    /// The attempt of the parent that expanded; 0 for the top.
    pub(super) attempt: u32,
    /// How many expansions led here.
    pub(super) depth: u32,
    /// How many of the tasks are not final.
    pub(super) unsettled: u32,
    /// Sinks that failed or were skipped.
    bad_sinks: u32,
    cancelled_sinks: u32,
    pub(super) policy: FailurePolicy,
    /// A task failed, and the policy is to fail fast.
    pub(super) failed_fast: bool,
    /// Nobody waits for the scope any more: its parent is final, or the run was ended as a whole.
    pub(super) closed: bool,
}

impl Scope {
    pub(super) fn new(
        parent: u32,
        first: u32,
        len: u32,
        depth: u32,
        policy: FailurePolicy,
    ) -> Self {
        Self {
            parent,
            tasks: TaskRanges::new(first, len),
            attempt: 0,
            depth,
            unsettled: len,
            bad_sinks: 0,
            cancelled_sinks: 0,
            policy,
            failed_fast: false,
            closed: false,
        }
    }

    /// Says in which attempt the parent expanded.
    pub(super) fn of_attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// Adds tasks that stand from this one on.
    pub(super) fn extend(&mut self, first: u32, len: u32) {
        self.tasks.extend(first, len);
        self.unsettled += len;
    }

    /// Begins anew, as if none of the tasks were final.
    pub(super) fn reset(&mut self) {
        self.unsettled = self.tasks.len();
        self.bad_sinks = 0;
        self.cancelled_sinks = 0;
        self.failed_fast = false;
        self.closed = false;
    }

    /// Tells whether every task that is not final is about to be cancelled.
    #[inline]
    pub(super) const fn is_stopping(&self) -> bool {
        self.failed_fast || self.closed
    }

    /// Counts a task that has become final.
    #[inline]
    pub(super) fn count(&mut self, state: TaskState, is_sink: bool) {
        self.unsettled -= 1;
        if is_sink && let Some(count) = self.sinks(state) {
            *count += 1;
        }
    }

    /// Takes back the count of a task that was final and is open again.
    pub(super) fn uncount(&mut self, state: TaskState, is_sink: bool) {
        self.unsettled += 1;
        if is_sink && let Some(count) = self.sinks(state) {
            *count -= 1;
        }
    }

    /// Returns how the scope ended, once every task is final.
    pub(super) const fn outcome(&self) -> TaskState {
        if self.failed_fast || self.bad_sinks > 0 {
            TaskState::Failed
        } else if self.cancelled_sinks > 0 {
            TaskState::Cancelled
        } else {
            TaskState::Succeeded
        }
    }

    fn sinks(&mut self, state: TaskState) -> Option<&mut u32> {
        match state {
            TaskState::Failed | TaskState::Skipped => Some(&mut self.bad_sinks),
            TaskState::Cancelled => Some(&mut self.cancelled_sinks),
            _ => None,
        }
    }
}
