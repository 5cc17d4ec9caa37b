//! Backoffs, deadlines of tasks and deadlines of runs, when they are due.

use coditect_dag::journal::{RecordKind, Settlement};
use coditect_dag::{RunId, TaskId};

use super::owner::Owner;
use super::record::encode_failure;
use super::timer::Due;

impl Owner {
    /// Sets the timers of the tasks of a plan that was just taken up.
    pub(super) fn set_deadlines(&mut self, run: RunId, scope: Option<TaskId>) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        for (task, at) in active.machine.deadlines(scope) {
            self.timers.push(at, run, Due::TaskDeadline(task));
        }
    }

    /// Does what is due by now.
    pub(super) fn due(&mut self) {
        while let Some((run, due)) = self.timers.pop(self.now) {
            match due {
                Due::Backoff => self.backoffs(run),
                Due::TaskDeadline(task) => self.must(run, RecordKind::Expired { task }),
                Due::RunDeadline => self.run_deadline(run),
            }
        }
    }

    fn backoffs(&mut self, run: RunId) {
        let mut effects = std::mem::take(&mut self.effects);
        if let Some(active) = self.runs.get_mut(&run) {
            active.machine.due(self.now, &mut effects);
        }
        self.carry_out(run, effects);
    }

    fn run_deadline(&mut self, run: RunId) {
        let Some(active) = self
            .runs
            .get(&run)
            .filter(|active| !active.machine.is_settled())
        else {
            return;
        };
        let failure = encode_failure(&active.machine.missed_run_deadline());
        self.settle(run, Settlement::Failed { failure });
    }
}
