//! When a checker asks, and what it concludes.

use std::time::Duration;

/// Says how often instances are asked for a sign of life, and what follows from the answers.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use coditect_registry::CheckPolicy;
///
/// let eager = CheckPolicy::default()
///     .with_interval(Duration::from_secs(1))
///     .with_timeout(Duration::from_millis(500))
///     .with_thresholds(1, 3, 2);
/// # let _ = eager;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CheckPolicy {
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) degrade_after: u32,
    pub(super) evict_after: u32,
    pub(super) restore_after: u32,
    pub(super) concurrency: usize,
    max_evicted_share: f64,
}

impl Default for CheckPolicy {
    /// Every 5 seconds, 2 seconds for an answer; degraded after 2 that were missed in a row, evicted after 3, back after 2
    /// that were answered in a row; 64 at once; at most half of all evicted.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            degrade_after: 2,
            evict_after: 3,
            restore_after: 2,
            concurrency: 64,
            max_evicted_share: 0.5,
        }
    }
}

impl CheckPolicy {
    /// Sets how long after an answer the next probe follows, on average; each wait differs by up to a quarter, at random.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Sets how long an answer may take.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Returns how long an answer may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sets after how many missed probes in a row an instance is degraded and evicted, and after how many answered in a row
    /// nothing is held against it any more. Each is at least one, and eviction not before degradation.
    #[must_use]
    pub fn with_thresholds(mut self, degrade: u32, evict: u32, restore: u32) -> Self {
        self.degrade_after = degrade.max(1);
        self.evict_after = evict.max(self.degrade_after);
        self.restore_after = restore.max(1);
        self
    }

    /// Sets how many probes may be under way at once; at least one.
    #[must_use]
    pub fn with_concurrency(mut self, probes: usize) -> Self {
        self.concurrency = probes.max(1);
        self
    }

    /// Sets which share of all instances may be evicted at once, 0 to 1; one may always be.
    ///
    /// If most do not answer, it is rather the one who asks that is cut off. Those over the limit stay degraded.
    #[must_use]
    pub fn with_max_evicted_share(mut self, share: f64) -> Self {
        self.max_evicted_share = if share.is_nan() { 0.0 } else { share };
        self
    }

    /// Returns how long a checker that was elected stays so without asking again.
    pub(super) fn term(&self) -> Duration {
        const SHORTEST: Duration = Duration::from_secs(1);
        const LONGEST: Duration = Duration::from_secs(60);
        self.interval.saturating_mul(2).clamp(SHORTEST, LONGEST)
    }

    /// Tells whether one more of `instances` may be evicted.
    pub(super) fn allows(&self, evicted: usize, instances: usize) -> bool {
        evicted == 0 || (evicted + 1) as f64 <= self.max_evicted_share * instances as f64
    }
}
