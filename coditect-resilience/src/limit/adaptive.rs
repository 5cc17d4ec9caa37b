//! How many calls a callee bears at once, found out from how long they take.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Says between which bounds an [`AdaptiveLimit`] moves, and where it starts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawAdaptivePolicy", into = "RawAdaptivePolicy")]
pub struct AdaptivePolicy {
    start: u32,
    min: u32,
    max: u32,
    tolerance: f64,
    backoff: f64,
}

impl AdaptivePolicy {
    /// Moves between two bounds, from a start between them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPolicy`](crate::ErrorKind::InvalidPolicy) unless `1 <= min <= start <= max`.
    pub const fn new(min: u32, start: u32, max: u32) -> Result<Self, Error> {
        if min == 0 || start < min || max < start {
            return Err(Error::invalid_policy(
                "the bounds of the limit are not in order",
            ));
        }
        Ok(Self {
            start,
            min,
            max,
            tolerance: 1.5,
            backoff: 0.9,
        })
    }

    /// A limit that stays what it is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPolicy`](crate::ErrorKind::InvalidPolicy) if it is zero.
    pub const fn fixed(limit: u32) -> Result<Self, Error> {
        Self::new(limit, limit, limit)
    }

    /// Replaces how many times longer than at best calls may take, on average, before the limit falls: 1.5 unless told
    /// otherwise, and more where calls differ much among themselves.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPolicy`](crate::ErrorKind::InvalidPolicy) unless it is finite and at least 1.
    pub fn with_tolerance(mut self, tolerance: f64) -> Result<Self, Error> {
        if !(tolerance.is_finite() && tolerance >= 1.0) {
            return Err(Error::invalid_policy("the tolerance is less than 1"));
        }
        self.tolerance = tolerance;
        Ok(self)
    }

    /// Returns the limit to begin with.
    #[must_use]
    pub const fn start(&self) -> u32 {
        self.start
    }

    /// Returns the lowest limit.
    #[must_use]
    pub const fn min(&self) -> u32 {
        self.min
    }

    /// Returns the highest limit.
    #[must_use]
    pub const fn max(&self) -> u32 {
        self.max
    }
}

impl Default for AdaptivePolicy {
    /// Starts at 20, never below 4 nor above 1,000.
    fn default() -> Self {
        Self {
            start: 20,
            min: 4,
            max: 1_000,
            tolerance: 1.5,
            backoff: 0.9,
        }
    }
}

/// What one call showed about how loaded the callee is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// How long the call took.
    pub latency: Duration,
    /// How many calls were under way when it began, itself included.
    pub in_flight: u32,
    /// The call was dropped, timed out or refused by the callee as one too many.
    pub overloaded: bool,
}

/// Finds out how many calls a callee bears at once. Pure.
///
/// Additive increase, multiplicative decrease (Chiu and Jain, "Analysis of the increase and decrease algorithms", 1989),
/// with the mean latency of a round of calls as its sign of congestion. A round that took longer than the tolerance times the
/// best of the last 16 to 32 rounds cuts the limit to 0.9 / tolerance of what it was; any other that used the limit raises it
/// by one, or by a twentieth if that is more.
///
/// The cut is that deep for a reason. In a callee that queues, latency grows with the calls under way, so that the limit
/// is the tolerance times too high when it is cut, and ends a tenth below what the callee bears: the queue
/// drains, and the best latency is measured afresh in each cycle, as by the minimum filter of BBR (Cardwell and others,
/// 2016). Limits that follow an average of the latency instead (Gradient2 of Netflix's `concurrency-limits`) take a
/// queue that stays for the usual state, and drift up under a load that lasts.
///
/// A call that overloaded the callee cuts the limit by a tenth at once. While less than half of the limit is
/// used, latency says nothing about it, and it stays.
///
/// ```
/// use std::time::Duration;
/// use coditect_resilience::{AdaptiveLimit, AdaptivePolicy, Sample};
///
/// let policy = AdaptivePolicy::new(1, 10, 100)?;
/// let mut limit = AdaptiveLimit::new(&policy);
/// let call = |ms, limit: u32| Sample { latency: Duration::from_millis(ms), in_flight: limit, overloaded: false };
/// for _ in 0..100 {
///     limit.sample(&policy, call(10, limit.limit()));
/// }
/// let healthy = limit.limit();
/// assert!(healthy > 10, "nothing slows down, so it grows");
/// for _ in 0..healthy * 2 {
///     limit.sample(&policy, call(100, limit.limit()));
/// }
/// assert!(limit.limit() < healthy, "calls queue up in the callee, so it falls");
/// # Ok::<(), coditect_resilience::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaptiveLimit {
    limit: f64,
    round: Round,
    /// The best mean of this window of rounds and of the one before, in seconds.
    best: [f64; 2],
    rounds: u32,
    /// Calls to pass over: they began before the limit was cut.
    skip: u32,
}

/// The calls since the limit was last judged.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Round {
    calls: u32,
    seconds: f64,
    /// Those that found at least half of the limit in use.
    used: u32,
}

const SHORTEST_ROUND: u32 = 10;
const WINDOW: u32 = 16;

impl AdaptiveLimit {
    /// Begins at the start of the policy.
    #[must_use]
    pub fn new(policy: &AdaptivePolicy) -> Self {
        Self {
            limit: f64::from(policy.start),
            round: Round::default(),
            best: [f64::INFINITY; 2],
            rounds: 0,
            skip: 0,
        }
    }

    /// Returns how many calls may be under way at once.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit as u32
    }

    /// Learns from a call that has ended.
    pub fn sample(&mut self, policy: &AdaptivePolicy, sample: Sample) {
        if sample.overloaded {
            // How long it took says when somebody gave up, not how long the callee needs.
            self.change(policy, self.limit * policy.backoff);
            return;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        self.round.calls += 1;
        self.round.seconds += sample.latency.as_secs_f64();
        // Half of it rounded down, which is all that the lowest priority may fill.
        self.round.used += u32::from(sample.in_flight >= self.limit() / 2);
        if self.round.calls >= self.limit().max(SHORTEST_ROUND) {
            self.judge(policy);
        }
    }

    /// Ends a round.
    fn judge(&mut self, policy: &AdaptivePolicy) {
        let round = std::mem::take(&mut self.round);
        let mean = round.seconds / f64::from(round.calls);
        self.best[0] = self.best[0].min(mean);
        let best = self.best[0].min(self.best[1]);
        self.rounds += 1;
        if self.rounds == WINDOW {
            self.best = [f64::INFINITY, self.best[0]];
            self.rounds = 0;
        }
        if round.used * 2 < round.calls {
            return;
        }
        if mean > policy.tolerance * best {
            self.skip = self.limit();
            self.change(policy, self.limit * 0.9 / policy.tolerance);
        } else {
            self.change(policy, self.limit + (self.limit / 20.0).max(1.0));
        }
    }

    fn change(&mut self, policy: &AdaptivePolicy, limit: f64) {
        self.limit = limit.clamp(f64::from(policy.min), f64::from(policy.max));
        self.round = Round::default();
    }
}

/// A policy as it travels, not yet checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAdaptivePolicy {
    min: u32,
    start: u32,
    max: u32,
    #[serde(default = "usual_tolerance")]
    tolerance: f64,
}

const fn usual_tolerance() -> f64 {
    1.5
}

impl TryFrom<RawAdaptivePolicy> for AdaptivePolicy {
    type Error = Error;

    fn try_from(raw: RawAdaptivePolicy) -> Result<Self, Error> {
        Self::new(raw.min, raw.start, raw.max)?.with_tolerance(raw.tolerance)
    }
}

impl From<AdaptivePolicy> for RawAdaptivePolicy {
    fn from(policy: AdaptivePolicy) -> Self {
        Self {
            min: policy.min,
            start: policy.start,
            max: policy.max,
            tolerance: policy.tolerance,
        }
    }
}

#[cfg(test)]
mod tests;
