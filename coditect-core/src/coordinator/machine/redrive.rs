//! Tasks that were put back: which attempt they follow, and those that will be put back by themselves.

use coditect_dag::{Attempt, Event, TaskId, TaskState, Timestamp};

use super::super::redrive::mark_of;
use super::{Intern, RunMachine};
use crate::aim::Aim;

/// What is known of the redrives of a task.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Redriven {
    /// How often it was put back by itself since a person last did.
    by_itself: u32,
    /// The last attempt that was set aside.
    origin: Attempt,
    /// Whether a person has put it back since.
    by_person: bool,
    /// How many failures had been counted then, which count no longer.
    forgiven: u32,
}

impl RunMachine {
    /// How often a task was put back by itself since a person last did.
    pub(crate) fn redrives(&self, task: TaskId) -> u32 {
        self.redriven.get(&task).map_or(0, |known| known.by_itself)
    }

    /// How often the handler of a task has failed since a person last put it back.
    pub(crate) fn failures(&self, task: TaskId) -> u32 {
        let forgiven = self.redriven.get(&task).map_or(0, |known| known.forgiven);
        self.scheduler.failures(task).saturating_sub(forgiven)
    }

    /// The attempt that was set aside before a task was put back; none if it never was.
    pub(crate) fn origin(&self, task: TaskId) -> Option<Attempt> {
        let known = self.redriven.get(&task)?;
        let was_set_aside = known.origin > Attempt::NONE;
        let follows = was_set_aside && (known.by_person || self.redrive_at(task).is_none());
        follows.then_some(known.origin)
    }

    /// How often a person has opened a task again, by itself or with all of its run.
    pub(crate) fn times_opened(&self, task: TaskId) -> u32 {
        self.opened.get(&task).map_or(0, |times| *times) + self.retries
    }

    /// When a task that is set aside is put back by itself; none of any other.
    pub(crate) fn redrive_at(&self, task: TaskId) -> Option<Timestamp> {
        let known = self.redriven.get(&task)?;
        let waits = !known.by_person
            && known.by_itself > 0
            && known.origin == self.scheduler.attempt(task)
            && self.scheduler.state(task) == Some(TaskState::Backoff);
        self.scheduler.wake_at(task).filter(|_| waits)
    }

    /// Notes what follows a failure, where that is no retry.
    pub(super) fn note_set_aside(&mut self, task: TaskId, attempt: Attempt, failure: &[u8]) {
        let mark = mark_of(failure);
        if mark.spared {
            let known = self.redriven.entry(task).or_default();
            known.forgiven = known.forgiven.saturating_add(1);
        }
        if let Some(number) = mark.redrive {
            let known = Redriven {
                by_itself: number,
                origin: attempt,
                by_person: false,
                forgiven: self.redriven.get(&task).map_or(0, |known| known.forgiven),
            };
            self.redriven.insert(task, known);
        }
    }

    /// Lets everything count anew for a task that is open again.
    pub(super) fn forget_redrives(&mut self, task: TaskId) {
        if let Some(known) = self.redriven.get_mut(&task) {
            (known.by_itself, known.forgiven) = (0, 0);
        }
    }

    /// Notes that a person has put a task back.
    pub(super) fn note_redriven(&mut self, task: TaskId) {
        let known = Redriven {
            by_itself: 0,
            origin: self.scheduler.attempt(task),
            by_person: true,
            forgiven: self.scheduler.failures(task),
        };
        self.redriven.insert(task, known);
    }

    /// The scheduler's event for a task that a person puts back: one that would be by itself later waits no longer.
    pub(super) fn put_back(&mut self, task: TaskId) -> Event<u8> {
        if self.redrive_at(task).is_none() {
            return Event::Redriven { task };
        }
        // Others that are due wait on: it has no record which of them their owner has put off.
        self.scheduler.put_off(task, Timestamp::EPOCH);
        Event::Due {
            now: Timestamp::EPOCH,
        }
    }

    /// Lets a task be done by others than its plan says. What cannot be read changes nothing: whoever asked had made sure.
    pub(super) fn aim(&mut self, task: TaskId, to: &str, intern: Intern<'_>) {
        let Ok(aim) = to.parse::<Aim>() else {
            return;
        };
        let class = intern(&aim.requirement, aim.agent.as_ref());
        self.scheduler.reclass(task, class);
        self.aims.insert(task, (aim, class));
    }
}
