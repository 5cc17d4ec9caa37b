//! Gives failed tasks another chance, and with them what hangs on them.

use super::Scheduler;
use super::action::Action;
use super::event::Applied;
use super::transition::TaskState;
use crate::{Error, TaskId};

impl<P: Ord + Copy> Scheduler<P> {
    /// Opens a failed task again, unless its scope is past caring; opens a settled run again for it.
    pub(super) fn redrive(
        &mut self,
        task: TaskId,
        actions: &mut Vec<Action>,
    ) -> Result<Applied, Error> {
        let task = self.known(task)?;
        if self.outcome.is_some() {
            return Ok(self.reopen(Some(task), actions));
        }
        // Redriving a task that could not run even then would help nobody.
        if self.state_of(task) != TaskState::Failed
            || self.is_hopeless(task)
            || self.scope_of(task).is_stopping()
        {
            return Ok(Applied::Ignored);
        }
        let trouble = &mut self.troubles[task as usize];
        trouble.failures = 0;
        trouble.losses = 0;
        self.count_open_again(task);
        actions.push(Action::Reopened {
            task: TaskId::new(task),
        });
        if self.started && self.waiting[task as usize] == 0 {
            self.make_ready(task, actions);
        } else {
            self.advance(task, TaskState::Pending);
        }
        self.reopen_downstreams(task, actions);
        Ok(Applied::Changed)
    }

    /// Lets everything wait again for a task that is open again.
    ///
    /// What was skipped because of it is open again as well. What is ready goes back to wait; what
    /// was dispatched before is not called back.
    fn reopen_downstreams(&mut self, task: u32, actions: &mut Vec<Action>) {
        let mut reopened = vec![task];
        while let Some(task) = reopened.pop() {
            for edge in self.tasks[task as usize].row() {
                let downstream = self.targets[edge];
                self.waiting[downstream as usize] += 1;
                let broken = &mut self.troubles[downstream as usize].broken;
                *broken -= 1;
                let unbroken = *broken == 0;
                match self.state_of(downstream) {
                    TaskState::Skipped if unbroken => {
                        self.count_open_again(downstream);
                        reopened.push(downstream);
                    }
                    TaskState::Ready => self.leave_queue(downstream),
                    _ => continue,
                }
                self.advance(downstream, TaskState::Pending);
                actions.push(Action::Reopened {
                    task: TaskId::new(downstream),
                });
            }
        }
    }

    fn count_open_again(&mut self, task: u32) {
        let record = &self.tasks[task as usize];
        self.scopes[record.scope as usize].uncount(record.state.get(), record.is_sink());
    }
}
