//! When a second call is made: plain data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::latency::LatencyTracker;
use crate::error::Error;
use crate::millis::Millis;

/// Says after which latency a call is hedged.
///
/// The share of calls that are hedged is what the quantile leaves: with 0.95, one in twenty. See "The Tail at Scale"
/// (Dean and Barroso, 2013).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawHedgePolicy", into = "RawHedgePolicy")]
pub struct HedgePolicy {
    quantile: f64,
    min_delay: Millis,
    min_calls: u32,
}

impl HedgePolicy {
    /// Hedges a call that takes longer than this share of calls, and no less than a span.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPolicy`](crate::ErrorKind::InvalidPolicy) unless the share is at least ½ and less than 1: to
    /// hedge more calls than that is to double the load.
    pub fn new(quantile: f64, min_delay: Duration) -> Result<Self, Error> {
        if !(0.5..1.0).contains(&quantile) {
            return Err(Error::invalid_policy(
                "the quantile of a hedge lies outside of one half to one",
            ));
        }
        Ok(Self {
            quantile,
            min_delay: Millis::from_duration(min_delay),
            min_calls: 100,
        })
    }

    /// Replaces how many calls must be known before any is hedged, 100 unless told otherwise.
    #[must_use]
    pub const fn with_min_calls(mut self, calls: u32) -> Self {
        self.min_calls = calls;
        self
    }

    /// Returns the share of calls that is not hedged.
    #[must_use]
    pub const fn quantile(&self) -> f64 {
        self.quantile
    }

    /// Returns the shortest delay.
    #[must_use]
    pub const fn min_delay(&self) -> Duration {
        self.min_delay.duration()
    }

    /// Returns after which delay a call is hedged, or nothing while too few calls are known.
    ///
    /// ```
    /// use std::time::Duration;
    /// use coditect_resilience::{HedgePolicy, LatencyTracker};
    ///
    /// let policy = HedgePolicy::new(0.9, Duration::ZERO)?.with_min_calls(10);
    /// let mut latencies = LatencyTracker::new();
    /// assert_eq!(policy.delay(&latencies), None);
    /// for ms in 1..=100 {
    ///     latencies.record(Duration::from_millis(ms));
    /// }
    /// let delay = policy.delay(&latencies).expect("enough calls");
    /// assert!((90..=102).contains(&delay.as_millis()), "{delay:?}");
    /// # Ok::<(), coditect_resilience::Error>(())
    /// ```
    #[must_use]
    pub fn delay(&self, latencies: &LatencyTracker) -> Option<Duration> {
        if latencies.calls() < u64::from(self.min_calls.max(1)) {
            return None;
        }
        Some(latencies.quantile(self.quantile)?.max(self.min_delay()))
    }
}

impl Default for HedgePolicy {
    /// Hedges one call in twenty, after 10 ms at the earliest.
    fn default() -> Self {
        Self {
            quantile: 0.95,
            min_delay: Millis::from_duration(Duration::from_millis(10)),
            min_calls: 100,
        }
    }
}

/// A policy as it travels, not yet checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHedgePolicy {
    quantile: f64,
    min_delay_ms: Millis,
    min_calls: u32,
}

impl TryFrom<RawHedgePolicy> for HedgePolicy {
    type Error = Error;

    fn try_from(raw: RawHedgePolicy) -> Result<Self, Error> {
        let policy = Self::new(raw.quantile, raw.min_delay_ms.duration())?;
        Ok(policy.with_min_calls(raw.min_calls))
    }
}

impl From<HedgePolicy> for RawHedgePolicy {
    fn from(policy: HedgePolicy) -> Self {
        Self {
            quantile: policy.quantile,
            min_delay_ms: policy.min_delay,
            min_calls: policy.min_calls,
        }
    }
}
