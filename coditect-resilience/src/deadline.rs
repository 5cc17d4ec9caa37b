//! Deadlines: the instant by which an answer is worth having, shortened at each hop.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// The instant by which an answer must be there, on the clock of this process.
///
/// A deadline is the one limit that crosses processes. It travels as milliseconds since the Unix epoch
/// ([`to_unix_millis`](Self::to_unix_millis)); where it arrives it becomes an instant of the local monotonic
/// clock again, which no later change of the wall clock can move. Every hop shortens it by what the way
/// back takes, so that the caller still hears the answer or the failure of the callee:
///
/// ```
/// use std::time::Duration;
/// use coditect_resilience::Deadline;
/// use tokio::time::Instant;
///
/// let now = Instant::now();
/// let mine = Deadline::after(now, Duration::from_secs(10));
/// let theirs = mine.shorten(Duration::from_millis(200));
/// assert_eq!(theirs.remaining(now), Duration::from_millis(9_800));
/// // A callee with a limit of its own takes whichever ends first.
/// assert_eq!(theirs.timeout(now, Duration::from_secs(3)), Duration::from_secs(3));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(Instant);

/// About thirty years: where an instant would overflow, this is as good as never.
const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

impl Deadline {
    /// Sets the deadline to an instant.
    #[must_use]
    pub const fn at(instant: Instant) -> Self {
        Self(instant)
    }

    /// Sets the deadline to the end of a span that starts now; thirty years at most.
    #[must_use]
    pub fn after(now: Instant, span: Duration) -> Self {
        Self(now + span.min(FAR))
    }

    /// Returns the instant of the deadline.
    #[must_use]
    pub const fn instant(self) -> Instant {
        self.0
    }

    /// Returns what is left of the time, zero once the deadline has passed.
    #[must_use]
    pub fn remaining(self, now: Instant) -> Duration {
        self.0.saturating_duration_since(now)
    }

    /// Tells whether the deadline has passed.
    #[must_use]
    pub fn is_expired(self, now: Instant) -> bool {
        self.0 <= now
    }

    /// Returns the deadline for the next hop: earlier by the margin that the way back takes.
    #[must_use]
    pub fn shorten(self, margin: Duration) -> Self {
        Self(self.0.checked_sub(margin.min(FAR)).unwrap_or(self.0))
    }

    /// Returns whichever of two deadlines comes first.
    #[must_use]
    pub fn earliest(self, other: Self) -> Self {
        self.min(other)
    }

    /// Returns the timeout of one call: its own limit, or what is left if that is less.
    #[must_use]
    pub fn timeout(self, now: Instant, limit: Duration) -> Duration {
        self.remaining(now).min(limit)
    }

    /// Converts the deadline into milliseconds since the Unix epoch, to be sent.
    ///
    /// `now` and `wall` are the same moment on the monotonic clock and on the wall clock.
    #[must_use]
    pub fn to_unix_millis(self, now: Instant, wall: SystemTime) -> u64 {
        let wall = millis(wall.duration_since(UNIX_EPOCH).unwrap_or_default());
        match self.0.checked_duration_since(now) {
            Some(ahead) => wall.saturating_add(millis(ahead)),
            None => wall.saturating_sub(millis(now.saturating_duration_since(self.0))),
        }
    }

    /// Converts received milliseconds since the Unix epoch into a deadline on this process's clock.
    ///
    /// A deadline that has passed is `now`, one that is absurdly far ends in thirty years: a value that was
    /// received never panics.
    #[must_use]
    pub fn from_unix_millis(unix_millis: u64, now: Instant, wall: SystemTime) -> Self {
        let wall = millis(wall.duration_since(UNIX_EPOCH).unwrap_or_default());
        Self::after(now, Duration::from_millis(unix_millis.saturating_sub(wall)))
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WALL: u64 = 1_800_000_000_000;

    fn wall() -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(WALL)
    }

    #[test]
    fn a_deadline_expires_at_its_instant() {
        let now = Instant::now();
        let deadline = Deadline::after(now, Duration::from_millis(5));
        assert!(!deadline.is_expired(now + Duration::from_millis(4)));
        assert!(deadline.is_expired(now + Duration::from_millis(5)));
        assert_eq!(
            deadline.remaining(now + Duration::from_secs(1)),
            Duration::ZERO
        );
        assert_eq!(Deadline::at(deadline.instant()), deadline);
        let limit = Duration::from_secs(3);
        assert_eq!(deadline.timeout(now, limit), Duration::from_millis(5));
    }

    #[test]
    fn a_deadline_that_has_passed_stays_so_on_its_way() {
        let now = Instant::now() + Duration::from_secs(10);
        let passed = Deadline::at(now - Duration::from_secs(2));
        let sent = passed.to_unix_millis(now, wall());
        assert_eq!(sent, WALL - 2_000);
        assert!(Deadline::from_unix_millis(sent, now, wall()).is_expired(now));
    }

    proptest! {
        #[test]
        fn a_deadline_survives_the_way_to_the_millisecond(ahead in 0_u64..100_000_000) {
            let now = Instant::now();
            let deadline = Deadline::after(now, Duration::from_millis(ahead));
            let sent = deadline.to_unix_millis(now, wall());
            prop_assert_eq!(Deadline::from_unix_millis(sent, now, wall()), deadline);
        }

        #[test]
        fn whatever_is_received_never_panics(received: u64, span: Duration, margin: Duration) {
            let now = Instant::now();
            let deadline = Deadline::from_unix_millis(received, now, wall());
            prop_assert!(deadline.shorten(margin) <= deadline);
            prop_assert!(deadline.timeout(now, span) <= span);
            prop_assert!(deadline.earliest(Deadline::after(now, span)) <= deadline);
            prop_assert!(Deadline::after(now, span).to_unix_millis(now, wall()) >= WALL);
        }
    }
}
