//! Whether a coordinator is there for the others, and when it looks and tries again.

use std::time::Duration;

use tokio::time::Instant;

/// After how many failures in a row a coordinator stays away, so that others take what is there for it.
const FAILURES: u32 = 3;
/// How often it looks at least, however long leases are.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// For how many leases it stays away at most.
const LONGEST_AWAY: u32 = 8;

/// Whether this process is there for the others.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    /// When it has to be renewed.
    pub(super) due: Option<Instant>,
    /// Nothing has to be said to be gone.
    pub(super) is_gone: bool,
    pub(super) failures: u32,
    /// Nothing is taken before.
    pub(super) rests_until: Option<Instant>,
    away_until: Option<Instant>,
}

impl Attendance {
    pub(super) fn is_away(&self, now: Instant) -> bool {
        self.away_until.is_some_and(|until| until > now)
    }

    pub(super) fn rest(&mut self, now: Instant, ttl: Duration) {
        self.rests_until = Some(now + pause(ttl));
    }

    /// Stays away for longer and longer when nothing can be taken.
    pub(super) fn fail(&mut self, now: Instant, ttl: Duration) {
        self.rest(now, ttl);
        self.failures = self.failures.saturating_add(1);
        if self.failures.is_multiple_of(FAILURES) && !self.is_away(now) {
            let times = 1 << (self.failures / FAILURES - 1).min(LONGEST_AWAY.ilog2());
            tracing::warn!(
                leases = times,
                "partitions cannot be taken here; leaving them to others for a while"
            );
            self.away_until = Some(now + ttl * times);
        }
    }
}

/// How long nothing is looked at or tried again, where nobody calls for it.
pub(super) fn pause(ttl: Duration) -> Duration {
    (ttl / 4).min(LONGEST_PAUSE)
}
