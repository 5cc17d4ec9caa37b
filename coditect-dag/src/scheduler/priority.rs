//! Gives tasks another priority, or another class, while they wait.

use super::Scheduler;
use super::event::Applied;
use super::spec::{Class, TaskSpec};
use super::transition::TaskState;
use crate::{Error, TaskId};

impl<P: Ord + Copy> Scheduler<P> {
    pub(super) fn prioritize(&mut self, tasks: &[TaskId], priority: P) -> Result<Applied, Error> {
        for task in tasks {
            self.known(*task)?;
        }
        let mut applied = Applied::Ignored;
        for task in tasks {
            if self.prioritize_one(task.get(), priority) {
                applied = Applied::Changed;
            }
        }
        Ok(applied)
    }

    /// Lets a task that has not ended wait in the queue of another class; says whether that changed anything.
    ///
    /// It is no event: whoever follows the run by its records does the same wherever they say so.
    pub fn reclass(&mut self, task: TaskId, class: Class) -> bool {
        let Ok(task) = self.known(task) else {
            return false;
        };
        let spec = self.profiles.get(self.tasks[task as usize].profile).spec;
        let state = self.state_of(task);
        if spec.class == class || state.is_final() {
            return false;
        }
        self.describe(task, TaskSpec { class, ..spec });
        true
    }

    /// Says whether that changed anything.
    fn prioritize_one(&mut self, task: u32, priority: P) -> bool {
        let number = self.tasks[task as usize].profile;
        let spec = self.profiles.get(number).spec;
        let state = self.state_of(task);
        if spec.priority == priority || state.is_final() {
            return false;
        }
        self.describe(task, TaskSpec { priority, ..spec });
        true
    }

    /// Changes what is known of a task, and its place if it is ready.
    pub(super) fn describe(&mut self, task: u32, changed: TaskSpec<P>) {
        let number = self.profile(changed);
        let ready = self.state_of(task) == TaskState::Ready;
        if ready {
            self.leave_queue(task);
        }
        self.tasks[task as usize].profile = number;
        if ready {
            let bucket = self.profiles.get(number).bucket;
            self.queues.push(&mut self.tasks, bucket, task);
        }
    }
}
