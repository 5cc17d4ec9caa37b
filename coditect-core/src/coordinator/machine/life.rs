//! What people change about a run under way: its priority, and that of its tasks.

use coditect_bus::Priority;
use coditect_dag::TaskId;
use coditect_dag::journal::RecordKind;

use super::RunMachine;

impl RunMachine {
    /// The priority of a task: what was set for it last, what its plan says, or that of the run.
    pub(crate) fn priority(&self, task: TaskId) -> Priority {
        let set = self.priorities.get(&task).copied();
        let own = || self.settings(task).priority;
        set.or_else(own).unwrap_or(self.priority)
    }

    /// The tasks whose priority changes with that of a task, or of the run.
    pub(super) fn to_prioritize(&self, task: Option<TaskId>) -> Vec<TaskId> {
        if let Some(task) = task {
            return vec![task];
        }
        let count = u32::try_from(self.scheduler.len()).unwrap_or(u32::MAX);
        let follows = |task: &TaskId| {
            self.settings(*task).priority.is_none() && !self.priorities.contains_key(task)
        };
        (0..count).map(TaskId::new).filter(follows).collect()
    }

    pub(super) fn set_priority(&mut self, task: Option<TaskId>, priority: u8) {
        // Whoever wrote the record had one of these.
        let Some(priority) = Priority::ALL.get(usize::from(priority)).copied() else {
            return;
        };
        match task {
            Some(task) => drop(self.priorities.insert(task, priority)),
            None => self.priority = priority,
        }
    }

    /// Keeps what the scheduler has no use for; says whether there was anything.
    pub(super) fn keep_beside_the_scheduler(&mut self, kind: &RecordKind) -> bool {
        match kind {
            // The end of a run is kept even where every task had ended before it.
            RecordKind::Settled(settlement) => {
                self.settled = Some(settlement.state());
                true
            }
            // Plans that are yet to come have the run's priority too.
            RecordKind::Prioritized {
                task: None,
                priority,
            } if usize::from(*priority) != self.priority.index() => {
                self.set_priority(None, *priority);
                true
            }
            _ => false,
        }
    }
}
