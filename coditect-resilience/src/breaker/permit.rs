//! Leave for one call, which is given back by itself.

use std::time::Duration;

use tokio::time::Instant;

use super::handle::Breaker;
use super::machine::Admission;
use super::policy::CallOutcome;
use crate::classification::Classification;

/// Leave for one call of a [`Breaker`]. Dropping it says that the call showed nothing, so that a probe that was
/// dropped makes room for another.
#[derive(Debug)]
#[must_use = "a permit that is dropped at once stands for a call that was not made"]
pub struct BreakerPermit {
    breaker: Breaker,
    admission: Admission,
    started: Option<Instant>,
    is_settled: bool,
}

impl BreakerPermit {
    pub(super) const fn new(
        breaker: Breaker,
        admission: Admission,
        started: Option<Instant>,
    ) -> Self {
        Self {
            breaker,
            admission,
            started,
            is_settled: false,
        }
    }

    /// Tells whether the call is a probe.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.admission.is_probe()
    }

    /// Reports that the call succeeded.
    pub fn success(self) {
        self.settle(Classification::Success);
    }

    /// Reports that the call failed.
    pub fn failure(self) {
        self.settle(Classification::Fail);
    }

    /// Reports what the outcome of the call means. [`Classification::Ignore`] counts as no call.
    pub fn settle(self, class: Classification) {
        let is_timeless = class == Classification::Success
            && self.started.is_none()
            && !self.breaker.policy().needs_window();
        let now = if is_timeless {
            // Such a success opens nothing and is put into no window, so that no clock has to be read for it.
            self.breaker.epoch()
        } else {
            Instant::now()
        };
        let elapsed = self.started.map_or(Duration::ZERO, |started| {
            now.saturating_duration_since(started)
        });
        if let Some(outcome) = self.breaker.policy().outcome(class, elapsed) {
            self.record(outcome, now);
        }
    }

    /// Reports what the call showed, as of an instant.
    pub fn record(mut self, outcome: CallOutcome, now: Instant) {
        self.is_settled = true;
        self.breaker.record(self.admission, outcome, now);
    }
}

impl Drop for BreakerPermit {
    fn drop(&mut self) {
        // Outside of half-open nothing is held for a call.
        if !self.is_settled && self.admission.is_probe() {
            self.breaker.release(self.admission);
        }
    }
}
