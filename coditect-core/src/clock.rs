//! The one clock of a runtime: wall time that follows tokio's time.

use std::time::{Duration, SystemTime};

use coditect_dag::Timestamp;
use tokio::time::Instant;

/// Wall-clock time anchored once and advanced by tokio's clock.
///
/// Paused time therefore moves deadlines, leases and journal times together, and a step of the
/// system's clock in mid-run moves none of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    wall: Timestamp,
    origin: Instant,
}

impl Clock {
    /// Starts a clock that shows `now`.
    pub(crate) fn start(now: SystemTime) -> Self {
        Self {
            wall: Timestamp::from(now),
            origin: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.wall.saturating_add(self.origin.elapsed())
    }

    /// The instant of tokio's clock at which `at` is reached, for sleeping.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        let span = at.saturating_since(self.wall);
        self.origin
            .checked_add(span)
            .unwrap_or_else(|| self.origin + Duration::from_secs(86_400 * 365))
    }

    /// How long it is until `at`; zero if it has passed.
    pub(crate) fn until(&self, at: Timestamp) -> Duration {
        at.saturating_since(self.now())
    }
}
