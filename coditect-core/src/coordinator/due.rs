//! Backoffs, deadlines of tasks and deadlines of runs, when they are due.

use coditect_dag::journal::{RecordKind, Settlement};
use coditect_dag::{RunId, TaskId};

use super::owner::Owner;
use super::record::encode_failure;
use super::timer::Due;
use crate::failure::{Failure, FailureKind};

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

    /// Sets the timer of one task, whose time counts anew.
    pub(super) fn set_deadline(&mut self, run: RunId, task: TaskId) {
        let active = self.runs.get(&run);
        let deadline = active.and_then(|active| active.machine.deadline(task));
        if let Some(at) = deadline.filter(|at| *at > self.now) {
            self.timers.push(at, run, Due::TaskDeadline(task));
        }
    }

    /// Does what is due by now.
    pub(super) fn due(&mut self) {
        while let Some((run, due)) = self.timers.pop(self.now) {
            match due {
                Due::Start => self.start_due(run),
                Due::Backoff => self.backoffs(run, None),
                Due::TaskDeadline(task) => self.task_deadline(run, task),
                Due::Claim(task) => self.claim_due(run, task),
                Due::Wait(task) => self.wait_is_over(run, task),
                Due::Parking(task) => self.parking_is_over(run, task),
                Due::RunDeadline => self.run_deadline(run),
            }
        }
        self.pay_out();
    }

    /// Lets the backoffs of a run end that are due, as far as its retries are paid for; one was already.
    pub(super) fn backoffs(&mut self, run: RunId, paid: Option<TaskId>) {
        self.hold_back(run, paid);
        let mut effects = std::mem::take(&mut self.effects);
        if let Some(active) = self.runs.get_mut(&run) {
            active.machine.due(self.now, &mut effects);
        }
        self.carry_out(run, effects);
    }

    fn task_deadline(&mut self, run: RunId, task: TaskId) {
        let active = self.runs.get(&run);
        let at = active.and_then(|active| active.machine.deadline(task));
        // A redriven task has a later deadline than the one that this timer was set for.
        if at.is_some_and(|at| at <= self.now) {
            self.must(run, RecordKind::Expired { task });
        }
    }

    fn run_deadline(&mut self, run: RunId) {
        if self.stuck.contains(&run) {
            let failure = Failure::new(
                FailureKind::DeadlineExceeded,
                "the run's deadline passed, and no process could go on with it",
            );
            let failure = encode_failure(&failure);
            return self.settle_stuck(run, Settlement::Failed { failure });
        }
        let Some(active) = self
            .runs
            .get(&run)
            .filter(|active| !active.machine.is_settled())
            // A run that was opened again has more time than this timer knows.
            .filter(|active| active.deadline.is_some_and(|deadline| deadline <= self.now))
        else {
            return;
        };
        let failure = encode_failure(&active.machine.missed_run_deadline());
        self.settle(run, Settlement::Failed { failure });
    }
}
