//! Holds a run up, and lets it go on.

use super::Scheduler;
use super::event::Applied;

impl<P: Ord + Copy> Scheduler<P> {
    /// Says whether anything may be dispatched; a settled run has nothing to hold up.
    pub(super) fn pause(&mut self, paused: bool) -> Applied {
        if self.paused == paused || self.outcome.is_some() {
            return Applied::Ignored;
        }
        self.paused = paused;
        Applied::Changed
    }
}
