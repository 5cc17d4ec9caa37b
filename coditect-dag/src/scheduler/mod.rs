//! Decides what may run: a pure state machine for one run, events in, actions out.

mod action;
mod event;
mod expansion;
mod spec;
mod transition;

pub use action::{Action, Cause};
pub use event::{Applied, Event, LossReason};
pub use expansion::Expansion;
pub use spec::{Class, FailurePolicy, Join, Limits, Options, TaskSpec};
pub use transition::TaskState;

use std::marker::PhantomData;

use crate::{Attempt, Error, TaskGraph, TaskId, Timestamp};

/// Schedules one run.
#[derive(Debug, Clone)]
pub struct Scheduler<P> {
    marker: PhantomData<P>,
}

impl<P: Ord + Copy> Scheduler<P> {
    /// Makes the scheduler of a run that has not started.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded) if the graph alone has more
    /// tasks than the run may have.
    pub fn new<N>(
        _graph: &TaskGraph<N>,
        _spec: impl FnMut(TaskId, &N) -> TaskSpec<P>,
        _options: Options,
    ) -> Result<Self, Error> {
        Ok(Self {
            marker: PhantomData,
        })
    }

    /// Takes note of an event and appends what is to be done to `actions`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidEvent`](crate::ErrorKind::InvalidEvent) if the event names a task that
    /// is not there, or does not fit the state of a task that is not final; nothing changed.
    pub fn apply(
        &mut self,
        _event: &Event<P>,
        _actions: &mut Vec<Action>,
    ) -> Result<Applied, Error> {
        Ok(Applied::Ignored)
    }

    /// Checks an expansion against the limits without applying it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded), saying which.
    pub fn check_expansion(&self, _task: TaskId, _expansion: &Expansion<P>) -> Result<(), Error> {
        Ok(())
    }

    /// Returns how many tasks of a class wait to be dispatched.
    #[must_use]
    pub fn ready_len(&self, _class: Class) -> usize {
        0
    }

    /// Returns the task of a class that should be dispatched next, and its priority.
    #[must_use]
    pub fn peek(&self, _class: Class) -> Option<(TaskId, P)> {
        None
    }

    /// Iterates over the classes in which tasks wait to be dispatched.
    pub fn classes_with_ready(&self) -> impl Iterator<Item = Class> {
        std::iter::empty()
    }

    /// Returns the number of tasks, with those that expansions added.
    #[must_use]
    pub fn len(&self) -> usize {
        0
    }

    /// Tells whether the run has no task.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the state of a task, if there is such a task.
    #[must_use]
    pub fn state(&self, _task: TaskId) -> Option<TaskState> {
        None
    }

    /// Returns the current or last attempt of a task.
    #[must_use]
    pub fn attempt(&self, _task: TaskId) -> Attempt {
        Attempt::NONE
    }

    /// Returns how often the handler of a task has failed since it was last redriven.
    #[must_use]
    pub fn failures(&self, _task: TaskId) -> u32 {
        0
    }

    /// Returns how many attempts of a task were lost since it was last redriven.
    #[must_use]
    pub fn losses(&self, _task: TaskId) -> u32 {
        0
    }

    /// Returns how many tasks are in a state.
    #[must_use]
    pub fn count(&self, _state: TaskState) -> usize {
        0
    }

    /// Returns the task from which this one was expanded.
    #[must_use]
    pub fn parent(&self, _task: TaskId) -> Option<TaskId> {
        None
    }

    /// Returns how many expansions led to a task: 0 for the run's own tasks.
    #[must_use]
    pub fn depth(&self, _task: TaskId) -> u32 {
        0
    }

    /// Tells whether a task has expanded and its subtasks are still its concern.
    #[must_use]
    pub fn is_expanded(&self, _task: TaskId) -> bool {
        false
    }

    /// Returns the earliest instant at which a backoff ends.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        None
    }

    /// Tells whether every task is final and the run has its outcome.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.outcome().is_some()
    }

    /// Returns how the run ended: succeeded, failed or cancelled.
    #[must_use]
    pub fn outcome(&self) -> Option<TaskState> {
        None
    }

    /// Returns how many bytes the scheduler has allocated.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        0
    }
}
