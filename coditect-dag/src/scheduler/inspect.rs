//! What can be asked of a scheduler.

use std::fmt;
use std::iter::Copied;
use std::slice::Iter;

use super::Scheduler;
use super::scope::{Scope, TOP};
use super::spec::Class;
use super::table::{Record, Trouble};
use super::transition::TaskState;
use crate::{Attempt, TaskId, Timestamp};

impl<P: Ord + Copy> Scheduler<P> {
    /// Returns how many tasks of a class wait to be dispatched.
    #[must_use]
    pub fn ready_len(&self, class: Class) -> usize {
        self.queues.len(class)
    }

    /// Returns the task of a class that should be dispatched next, and its priority; none while the run is paused.
    #[must_use]
    pub fn peek(&self, class: Class) -> Option<(TaskId, P)> {
        if self.paused {
            return None;
        }
        let (task, priority) = self.queues.peek(class)?;
        Some((TaskId::new(task), priority))
    }

    /// Iterates over the classes in which tasks wait to be dispatched, in no meaningful order; there are none while
    /// the run is paused.
    ///
    /// Costs nothing for classes in which nothing waits.
    pub fn classes_with_ready(&self) -> Copied<Iter<'_, Class>> {
        let occupied = if self.paused {
            &[]
        } else {
            self.queues.occupied()
        };
        occupied.iter().copied()
    }

    /// Returns the priority of a task.
    #[must_use]
    pub fn priority(&self, task: TaskId) -> Option<P> {
        let record = self.record(task)?;
        Some(self.profiles.get(record.profile).spec.priority)
    }

    /// Returns how many bytes the scheduler has allocated, to within a few per cent.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.tasks.capacity() * size_of::<Record>()
            + self.troubles.capacity() * size_of::<Trouble>()
            + (self.waiting.capacity() + self.targets.capacity()) * size_of::<u32>()
            + self.profiles.heap_bytes()
            + self.queues.heap_bytes()
            + self.backoffs.heap_bytes()
            + self.scopes.capacity() * size_of::<Scope>()
            + self
                .scopes
                .iter()
                .map(|scope| scope.tasks.heap_bytes())
                .sum::<usize>()
            + self.expansions.capacity() * size_of::<(u32, u32)>()
            + self.work.capacity() * size_of::<super::settle::Work>()
            + self.finished.capacity() * size_of::<u32>()
    }
}

impl<P> Scheduler<P> {
    /// Returns the number of tasks, with those that expansions added.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Tells whether the run has no task.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Returns the state of a task, if there is such a task.
    #[must_use]
    pub fn state(&self, task: TaskId) -> Option<TaskState> {
        self.record(task).map(|record| record.state.get())
    }

    /// Returns the current or last attempt of a task.
    #[must_use]
    pub fn attempt(&self, task: TaskId) -> Attempt {
        Attempt::new(self.record(task).map_or(0, |record| record.attempt))
    }

    /// Returns how often the handler of a task has failed since it was last redriven.
    #[must_use]
    pub fn failures(&self, task: TaskId) -> u32 {
        self.trouble(task).map_or(0, |trouble| trouble.failures)
    }

    /// Returns how many attempts of a task were lost since it was last redriven.
    #[must_use]
    pub fn losses(&self, task: TaskId) -> u32 {
        self.trouble(task).map_or(0, |trouble| trouble.losses)
    }

    /// Returns how many tasks are in a state.
    #[must_use]
    pub fn count(&self, state: TaskState) -> usize {
        self.counts[state as usize] as usize
    }

    /// Returns the task from which this one was expanded.
    #[must_use]
    pub fn parent(&self, task: TaskId) -> Option<TaskId> {
        let record = self.record(task)?;
        (record.scope != TOP).then(|| TaskId::new(self.scopes[record.scope as usize].parent))
    }

    /// Returns how many expansions led to a task: 0 for the run's own tasks.
    #[must_use]
    pub fn depth(&self, task: TaskId) -> u32 {
        self.record(task)
            .map_or(0, |record| self.scopes[record.scope as usize].depth)
    }

    /// Tells whether a task has expanded and its subtasks are still its concern.
    #[must_use]
    pub fn is_expanded(&self, task: TaskId) -> bool {
        self.record(task).is_some_and(|record| record.expanded)
    }

    /// Iterates over the subtasks of a task's last expansion.
    pub fn subtasks(
        &self,
        task: TaskId,
    ) -> impl ExactSizeIterator<Item = TaskId> + DoubleEndedIterator + use<P> {
        let scope = self.expansions.get(&task.get());
        let subtasks: Vec<_> = scope.map_or_else(Vec::new, |&scope| {
            self.scopes[scope as usize].tasks.iter().collect()
        });
        subtasks.into_iter()
    }

    /// Returns the earliest instant at which a backoff ends.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.backoffs.first()
    }

    /// Iterates over the tasks whose backoff ends by `now`, the first to end first.
    pub fn due(&self, now: Timestamp) -> impl Iterator<Item = TaskId> {
        self.backoffs.due(now).map(TaskId::new)
    }

    /// Returns when the backoff of a task ends, if it is in one.
    #[must_use]
    pub fn wake_at(&self, task: TaskId) -> Option<Timestamp> {
        self.backoffs.until(task.get())
    }

    /// Tells whether the run has started.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.started
    }

    /// Tells whether nothing is to be dispatched for the time being.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Tells whether every task is final and the run has its outcome.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.outcome.is_some()
    }

    /// Returns how the run ended: succeeded, failed or cancelled.
    #[must_use]
    pub fn outcome(&self) -> Option<TaskState> {
        self.outcome
    }

    fn trouble(&self, task: TaskId) -> Option<&Trouble> {
        self.troubles.get(task.index())
    }

    fn record(&self, task: TaskId) -> Option<&Record> {
        self.tasks.get(task.index())
    }
}

impl<P> fmt::Debug for Scheduler<P> {
    /// Shows the counts by state; a million tasks would help nobody.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Scheduler");
        debug.field("started", &self.started);
        for state in TaskState::ALL {
            debug.field(&state.to_string(), &self.count(state));
        }
        debug.field("outcome", &self.outcome).finish()
    }
}
