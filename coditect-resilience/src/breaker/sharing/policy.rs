//! How often to listen, how long to wait for the store, and how far to trust what others say.

use std::time::Duration;

use crate::error::Error;

/// Says how breakers are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharingPolicy {
    every: Duration,
    timeout: Duration,
    keep_closed: Duration,
    limit: usize,
    adoption: Adoption,
}

/// What a process does when another says that a callee is failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Adoption {
    /// Opens its own breaker. Saves the most calls; a single process with a bad network keeps all others away, for
    /// one open time at a time.
    #[default]
    Open,
    /// Makes its own breaker half-open: one probe decides rather than many failures. Right where
    /// processes see the callee over different networks.
    Probe,
}

impl SharingPolicy {
    /// Listens this often, and gives the store that long to answer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPolicy`](crate::ErrorKind::InvalidPolicy) if either span is zero.
    pub fn new(every: Duration, timeout: Duration) -> Result<Self, Error> {
        if every.is_zero() || timeout.is_zero() {
            return Err(Error::invalid_policy("sharing needs spans above zero"));
        }
        Ok(Self {
            every,
            timeout,
            ..Self::default()
        })
    }

    /// Replaces what it does when another process says that a callee is failing.
    #[must_use]
    pub const fn with_adoption(mut self, adoption: Adoption) -> Self {
        self.adoption = adoption;
        self
    }

    /// Replaces how many notices are read at once, and so how much memory what others say can take.
    #[must_use]
    pub const fn with_limit(mut self, notices: usize) -> Self {
        self.limit = notices;
        self
    }

    pub(super) const fn every(&self) -> Duration {
        self.every
    }

    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Long enough for all to hear of it: they listen every so often, and may miss a turn or two.
    pub(super) fn keep_closed(&self) -> Duration {
        self.keep_closed.max(self.every * 4)
    }

    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    pub(super) const fn adoption(&self) -> Adoption {
        self.adoption
    }
}

impl Default for SharingPolicy {
    /// Listens four times a second, waits 250 ms for the store, reads 10,000 notices at most, and believes them.
    fn default() -> Self {
        Self {
            every: Duration::from_millis(250),
            timeout: Duration::from_millis(250),
            keep_closed: Duration::from_secs(2),
            limit: 10_000,
            adoption: Adoption::Open,
        }
    }
}
