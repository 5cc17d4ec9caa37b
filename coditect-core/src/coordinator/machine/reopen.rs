//! A run that had ended and goes on: what was kept of its end is forgotten.

use coditect_dag::{Action, TaskId, TaskState, Timestamp};

use super::{Effect, RunMachine};
use crate::aggregate::AggregatorCatalogue;

impl RunMachine {
    /// Forgets how the run ended, and makes the aggregators anew of what is kept.
    pub(super) fn reopen(
        &mut self,
        at: Timestamp,
        actions: &[Action],
        catalogue: Option<&AggregatorCatalogue>,
        effects: &mut Vec<Effect>,
    ) {
        self.settled = None;
        self.cancel_reason = None;
        self.failed_fast.clear();
        self.openings += 1;
        match self.run_span {
            Some(span) => self.run_deadline = Some(at.saturating_add(span)),
            // It ended while it waited for its start, and has all its time from then on.
            None if self.starts_at().is_some_and(|start| start < at) => self.reschedule(at),
            None if self.start_at.is_none() => self.run_deadline = None,
            None => {}
        }
        for action in actions {
            if let Action::Reopened { task } = *action
                && self.open_again(task, at)
            {
                self.by_person.insert(task);
            }
        }
        for index in 0..self.scopes.len() {
            let task = self.scopes[index].task;
            let is_open = task.is_none_or(|task| {
                let last = self.expanded.get(&task);
                self.scheduler.is_expanded(task) && last.is_some_and(|last| *last as usize == index)
            });
            if is_open && self.begin_anew(index, catalogue) {
                effects.push(Effect::Enough(task));
            }
        }
    }

    /// Lets a scope begin anew with what is kept of its tasks; says whether that is enough for its aggregator.
    fn begin_anew(&mut self, index: usize, catalogue: Option<&AggregatorCatalogue>) -> bool {
        let scope = &mut self.scopes[index];
        scope.begin_anew(catalogue);
        let mut enough = false;
        let tasks: Vec<TaskId> = scope.tasks.iter().collect();
        for task in tasks {
            // What was skipped once more is told as it is.
            let state = self.scheduler.state(task).unwrap_or(TaskState::Pending);
            if matches!(state, TaskState::Succeeded | TaskState::Failed) {
                let output = self.outputs.get(task);
                let cause = coditect_dag::Cause::NotRetryable;
                let failure = || super::explain(&self.failures, task, state, cause);
                enough |= scope.absorb(task, state, output, failure);
            }
        }
        enough
    }

    /// Forgets how a task ended that is open again, and lets its time count anew; says whether it had failed.
    pub(super) fn open_again(&mut self, task: TaskId, at: Timestamp) -> bool {
        self.outputs.remove(task);
        self.dispatched.remove(&task);
        self.unserved.remove(&task);
        self.claims.remove(&task);
        self.opened_again.insert(task, at);
        self.forget_redrives(task);
        self.forget_rejection(task);
        self.failures.remove(&task).is_some()
    }
}
