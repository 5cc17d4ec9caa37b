//! The time of calendars: that of the store, and what this machine has slept through.

use std::time::{Duration, SystemTime};

use coditect_dag::Timestamp;
use coditect_state::StateStore;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::Error;

/// A difference between the machine's clocks that is none.
const SLACK: Duration = Duration::from_secs(60);

/// Tells the time by which occurrences come.
///
/// A store within this process goes on with the monotonic clock, which stands still while the machine is suspended. The
/// calendar does not: what the wall clock has gained on the monotonic one is added.
#[derive(Debug)]
pub(crate) struct CalendarClock {
    started: (SystemTime, Instant),
    gained: Mutex<Duration>,
}

impl Default for CalendarClock {
    fn default() -> Self {
        Self {
            started: (SystemTime::now(), Instant::now()),
            gained: Mutex::default(),
        }
    }
}

impl CalendarClock {
    pub(super) async fn now(&self, store: &dyn StateStore) -> Result<Timestamp, Error> {
        let now = Timestamp::from(store.now().await?);
        if store.capabilities().shared {
            // A server is not suspended with this machine.
            return Ok(now);
        }
        let (wall, monotonic) = self.started;
        let passed = SystemTime::now().duration_since(wall).unwrap_or_default();
        let mut kept = self.gained.lock();
        *kept = gained(*kept, passed, monotonic.elapsed());
        Ok(now.saturating_add(*kept))
    }
}

/// What the wall clock has gained, given what it had and how much time has passed by both clocks.
fn gained(before: Duration, wall: Duration, monotonic: Duration) -> Duration {
    let gained = wall.saturating_sub(monotonic);
    match gained.abs_diff(before) > SLACK {
        true => gained,
        false => before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const NONE: Duration = Duration::ZERO;

    #[test]
    fn what_was_slept_through_is_added_and_a_clock_that_is_set_back_takes_it_away() {
        assert_eq!(gained(NONE, HOUR, HOUR), NONE);
        assert_eq!(gained(NONE, HOUR + SLACK, HOUR), NONE, "it only drifts");
        assert_eq!(gained(NONE, 3 * HOUR, HOUR), 2 * HOUR);
        assert_eq!(gained(2 * HOUR, 4 * HOUR + SLACK, 2 * HOUR), 2 * HOUR);
        assert_eq!(gained(2 * HOUR, 7 * HOUR, 2 * HOUR), 5 * HOUR);
        assert_eq!(gained(5 * HOUR, 2 * HOUR, 2 * HOUR), NONE);
        // Paused time runs ahead of every wall clock.
        assert_eq!(gained(NONE, NONE, 24 * HOUR), NONE);
    }
}
