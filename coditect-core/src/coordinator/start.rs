//! Runs that wait for their start, and start.

use coditect_dag::journal::RecordKind;
use coditect_dag::{RunId, Timestamp};

use super::owner::Owner;
use super::timer::Due;

impl Owner {
    /// Starts a run that was taken up, or sets the timers of one whose time has not come.
    pub(super) fn start_or_wait(&mut self, run: RunId) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        if let Some(at) = active.machine.starts_at().filter(|at| *at > self.now) {
            tracing::debug!(%run, until = at.as_millis(), "the run waits for its start");
            return self.timers.push(at, run, Due::Start);
        }
        self.must(run, RecordKind::Started);
        self.set_deadlines(run, None);
    }

    /// Starts a run whose time has come, unless it was put off.
    pub(super) fn start_due(&mut self, run: RunId) {
        let waits = |run: &super::active::ActiveRun| run.machine.starts_at().is_some();
        if self.runs.get(&run).is_some_and(waits) {
            self.start_or_wait(run);
        }
    }

    /// Gives a run another time to start that waits for it. Its deadline moves with it.
    pub(super) fn reschedule(&mut self, run: RunId, start_at: Timestamp) {
        let starts_at = |run: &super::active::ActiveRun| run.machine.starts_at();
        let before = self.runs.get(&run).and_then(starts_at);
        if before.is_none_or(|before| before == start_at) {
            return;
        }
        self.must(run, RecordKind::Rescheduled { start_at });
        if let Some(active) = self.runs.get_mut(&run) {
            active.deadline = active.machine.run_deadline();
            if let Some(deadline) = active.deadline {
                self.timers.push(deadline, run, Due::RunDeadline);
            }
        }
        self.start_or_wait(run);
    }
}
