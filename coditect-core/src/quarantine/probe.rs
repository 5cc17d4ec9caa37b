//! A task that is tried although its pattern is held.

use std::sync::Arc;

use coditect_resilience::{Probe, Randomness};
use tokio::time::Instant;

use super::{Pattern, Quarantines};
use crate::agent::Performer;

/// Leave to try one task. Dropped, it says nothing, and another may be tried.
pub(crate) struct ProbeGuard {
    quarantines: Arc<Quarantines>,
    pattern: Pattern,
    probe: Option<Probe>,
    /// Whether somebody may wait for its end.
    has_begun: bool,
}

impl ProbeGuard {
    pub(super) fn new(quarantines: Arc<Quarantines>, pattern: Pattern, probe: Probe) -> Self {
        Self {
            quarantines,
            pattern,
            probe: Some(probe),
            has_begun: false,
        }
    }

    /// Says that a task is tried: others wait for its end from now on.
    pub(crate) fn begin(&mut self) {
        self.has_begun = true;
    }

    pub(crate) fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// Says how the task went, if it went to whom it was to try.
    pub(crate) fn settle(self, by: Option<&Performer>, passed: bool) {
        if by.is_some_and(|by| Pattern::of(by) == self.pattern) {
            self.settle_own(passed);
        }
    }

    /// Says how it went with whom it was to try.
    pub(crate) fn settle_own(mut self, passed: bool) {
        let Some(probe) = self.probe.take() else {
            return;
        };
        let random = || self.quarantines.randomness.next_unit();
        let mut board = self.quarantines.board.lock();
        if let Some(entry) = board.patterns.get_mut(&self.pattern) {
            let now = Instant::now();
            let ended = entry
                .machine
                .probed(&entry.policy, probe, passed, now, random);
            entry.is_kept = false;
            if ended {
                tracing::info!(pattern = %self.pattern, "an agent is well again; its work is held no longer");
                board.patterns.remove(&self.pattern);
                board.ended.push(self.pattern.clone());
            }
        }
        self.quarantines.note(&board);
    }
}

impl Drop for ProbeGuard {
    fn drop(&mut self) {
        let Some(probe) = self.probe.take() else {
            return;
        };
        let mut board = self.quarantines.board.lock();
        if let Some(entry) = board.patterns.get_mut(&self.pattern) {
            entry.machine.give_up(probe);
        }
        if self.has_begun {
            self.quarantines.note(&board);
        }
    }
}
