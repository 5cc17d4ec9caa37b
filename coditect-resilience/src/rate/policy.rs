//! A rate and its pure bookkeeping: the generic cell rate algorithm.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::millis::Millis;

/// Says how much may be done in a span, and how much of it at once.
///
/// ```
/// use std::time::Duration;
/// use coditect_resilience::RatePolicy;
///
/// // What a provider of models may grant: 90,000 tokens a minute, 10,000 of them at once.
/// let tokens = RatePolicy::new(90_000, Duration::from_secs(60))?.with_burst(10_000)?;
/// assert_eq!(tokens.burst(), 10_000);
/// # Ok::<(), coditect_resilience::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawRatePolicy", into = "RawRatePolicy")]
pub struct RatePolicy {
    amount: u32,
    per: Millis,
    burst: u32,
}

/// More would make a single token shorter than the clock can tell.
const MAX_PER_SECOND: u128 = 1_000_000;

impl RatePolicy {
    /// Allows so much in each span, all of it at once if it was saved up.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPolicy`](crate::ErrorKind::InvalidPolicy) if either is zero, or the rate above a million a second.
    pub fn new(amount: u32, per: Duration) -> Result<Self, Error> {
        let per = Millis::from_duration(per);
        if amount == 0 || per.duration().is_zero() {
            return Err(Error::invalid_policy("a rate needs an amount and a span"));
        }
        if u128::from(amount) * 1_000 > MAX_PER_SECOND * per.duration().as_millis() {
            return Err(Error::invalid_policy(
                "the rate is above a million a second",
            ));
        }
        Ok(Self {
            amount,
            per,
            burst: amount,
        })
    }

    /// Replaces how much may be done at once.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPolicy`](crate::ErrorKind::InvalidPolicy) if it is zero.
    pub const fn with_burst(mut self, burst: u32) -> Result<Self, Error> {
        if burst == 0 {
            return Err(Error::invalid_policy("nothing may be done at once"));
        }
        self.burst = burst;
        Ok(self)
    }

    /// Returns how much is allowed in each span.
    #[must_use]
    pub const fn amount(&self) -> u32 {
        self.amount
    }

    /// Returns the span.
    #[must_use]
    pub const fn per(&self) -> Duration {
        self.per.duration()
    }

    /// Returns how much is allowed at once.
    #[must_use]
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// Returns the same rate divided between `parts`, never less than one in a span.
    #[must_use]
    pub fn divided(&self, parts: u32) -> Self {
        let part = |whole: u32| (whole / parts.max(1)).max(1);
        Self {
            amount: part(self.amount),
            burst: part(self.burst),
            ..*self
        }
    }

    /// Nanoseconds in which so many tokens are earned. A single one is rounded up, so that the rate is never exceeded,
    /// and many are a multiple of it, so that a burst is the same whether it is taken at once or one by one.
    fn nanos(&self, tokens: u32) -> u64 {
        let one = self.per().as_nanos().div_ceil(u128::from(self.amount));
        u64::try_from(one.saturating_mul(u128::from(tokens))).unwrap_or(u64::MAX)
    }
}

/// What is left of a rate: one instant, in nanoseconds since whatever the caller counts from.
///
/// This is the generic cell rate algorithm (ITU-T I.371, 1996), a token bucket turned into a clock: the state is
/// the instant at which the bucket would be full again. A token that is not there yet can be reserved,
/// and the answer is the wait for it.
///
/// ```
/// use std::time::Duration;
/// use coditect_resilience::{RateBucket, RatePolicy};
///
/// let policy = RatePolicy::new(2, Duration::from_secs(1))?;
/// let mut bucket = RateBucket::default();
/// let second = 1_000_000_000;
/// assert_eq!(bucket.reserve(&policy, 2, 0, 0), Ok(0));
/// assert_eq!(bucket.reserve(&policy, 1, 0, second), Ok(second / 2));
/// assert_eq!(bucket.reserve(&policy, 1, 0, second / 2), Err(second / 2), "half a second too early");
/// # Ok::<(), coditect_resilience::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateBucket {
    full_at: u64,
}

impl RateBucket {
    /// Returns the bucket that is full again at an instant.
    #[must_use]
    pub const fn full_at(nanos: u64) -> Self {
        Self { full_at: nanos }
    }

    /// Returns when the bucket will be full again.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.full_at
    }

    /// Takes tokens and returns how long to wait until they are earned. More than the burst can be taken, after a wait.
    ///
    /// # Errors
    ///
    /// The time after which the wait would be no longer than allowed; nothing is taken.
    pub fn reserve(
        &mut self,
        policy: &RatePolicy,
        tokens: u32,
        now: u64,
        max_wait: u64,
    ) -> Result<u64, u64> {
        let full_at = self.full_at.max(now).saturating_add(policy.nanos(tokens));
        let wait = full_at
            .saturating_sub(policy.nanos(policy.burst))
            .saturating_sub(now);
        if wait > max_wait {
            return Err(wait - max_wait);
        }
        self.full_at = full_at;
        Ok(wait)
    }

    /// Takes tokens that were used without asking. What follows waits for them.
    pub fn charge(&mut self, policy: &RatePolicy, tokens: u32, now: u64) {
        self.full_at = self.full_at.max(now).saturating_add(policy.nanos(tokens));
    }

    /// Gives tokens back that were taken and not used.
    pub fn refund(&mut self, policy: &RatePolicy, tokens: u32) {
        self.full_at = self.full_at.saturating_sub(policy.nanos(tokens));
    }
}

/// A rate as it travels, not yet checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRatePolicy {
    amount: u32,
    per_ms: Millis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    burst: Option<u32>,
}

impl TryFrom<RawRatePolicy> for RatePolicy {
    type Error = Error;

    fn try_from(raw: RawRatePolicy) -> Result<Self, Error> {
        let policy = Self::new(raw.amount, raw.per_ms.duration())?;
        policy.with_burst(raw.burst.unwrap_or(raw.amount))
    }
}

impl From<RatePolicy> for RawRatePolicy {
    fn from(policy: RatePolicy) -> Self {
        Self {
            amount: policy.amount,
            per_ms: policy.per,
            burst: (policy.burst != policy.amount).then_some(policy.burst),
        }
    }
}

#[cfg(test)]
mod tests;
