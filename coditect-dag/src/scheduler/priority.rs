//! Gives tasks another priority while they wait.

use super::Scheduler;
use super::event::Applied;
use super::spec::TaskSpec;
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

    /// Says whether that changed anything.
    fn prioritize_one(&mut self, task: u32, priority: P) -> bool {
        let number = self.tasks[task as usize].profile;
        let spec = self.profiles.get(number).spec;
        let state = self.state_of(task);
        if spec.priority == priority || state.is_final() {
            return false;
        }
        let changed = TaskSpec { priority, ..spec };
        let number = self.profile(changed);
        self.move_to_profile(task, number);
        true
    }

    /// Gives a task another profile, and another place if it is ready.
    pub(super) fn move_to_profile(&mut self, task: u32, number: u32) {
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
