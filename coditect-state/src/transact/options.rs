//! How often, how long and at what pace `transact` tries.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bounds the attempts of a [`transact`](crate::StateStoreExt::transact) in number and in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactOptions {
    pub(super) max_attempts: u32,
    pub(super) timeout: Duration,
    pub(super) base: Duration,
    pub(super) cap: Duration,
}

impl Default for TransactOptions {
    /// Creates options for 100 attempts within 10 s, waiting up to 1 ms after the second and up to 250 ms between later ones.
    fn default() -> Self {
        Self {
            max_attempts: 100,
            timeout: Duration::from_secs(10),
            base: Duration::from_millis(1),
            cap: Duration::from_millis(250),
        }
    }
}

impl TransactOptions {
    /// Creates the default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how often the closure runs at most; at least once.
    #[must_use]
    pub fn with_max_attempts(mut self, max_attempts: u32) -> Self {
        self.max_attempts = max_attempts.max(1);
        self
    }

    /// Sets the time for all attempts together, a year at most.
    ///
    /// When a commit gets no answer, as much again may pass while its outcome is looked for.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        // So that no sum of times overflows.
        self.timeout = timeout.min(Duration::from_secs(365 * 24 * 3600));
        self
    }

    /// Sets the longest wait after the second attempt, which doubles from there, and its greatest value.
    #[must_use]
    pub fn with_backoff(mut self, base: Duration, cap: Duration) -> Self {
        self.base = base;
        self.cap = cap;
        self
    }

    /// Returns how long to wait after this attempt: not at all after the first, this share of a doubling span later.
    pub(super) fn backoff(&self, attempt: u32, share: f64) -> Duration {
        if attempt < 2 {
            return Duration::ZERO;
        }
        let span = self
            .base
            .saturating_mul(1 << (attempt - 2).min(20))
            .min(self.cap);
        span.mul_f64(share)
    }
}

/// Returns a number in `0.0..1.0`: SplitMix64 (Steele, Lea and Flood 2014) over a counter with a random start.
pub(crate) fn random_share() -> f64 {
    static STATE: LazyLock<AtomicU64> =
        LazyLock::new(|| AtomicU64::new(RandomState::new().hash_one(0)));
    let mut z = STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_from_nothing_to_the_cap() {
        let options = TransactOptions::new();
        assert_eq!(options.backoff(1, 0.9), Duration::ZERO);
        for attempt in 2..200 {
            assert!(options.backoff(attempt, random_share()) < options.cap);
        }
        let mut waits = std::iter::repeat_with(|| options.backoff(50, random_share())).take(100);
        assert!(waits.any(|wait| wait > options.cap / 2));
        assert!(waits.any(|wait| wait < options.cap / 2));
    }
}
