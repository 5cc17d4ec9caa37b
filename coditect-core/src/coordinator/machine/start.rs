//! When a run starts that does not start at once.

use coditect_dag::Timestamp;

use super::RunMachine;

impl RunMachine {
    /// Sets when the run is to start, as it was submitted.
    pub(crate) fn schedule(&mut self, start_at: Option<Timestamp>) {
        self.start_at = start_at;
    }

    /// When the run is to start; none if it has, or has ended before it did.
    pub(crate) fn starts_at(&self) -> Option<Timestamp> {
        let waits = !self.scheduler.is_started() && self.settled.is_none();
        self.start_at.filter(|_| waits)
    }

    /// Moves the start of the run, and its deadline with it.
    pub(super) fn reschedule(&mut self, start_at: Timestamp) {
        let Some(before) = self.starts_at() else {
            return;
        };
        let moved =
            |deadline: Timestamp| start_at.saturating_add(deadline.saturating_since(before));
        self.run_deadline = self.run_deadline.map(moved);
        self.start_at = Some(start_at);
    }
}
