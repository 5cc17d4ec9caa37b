//! How long to wait before the next try: exponential backoff and its jitter.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::millis::Millis;
use crate::random::unit;

/// Computes how long to wait before a retry, exponentially longer each time.
///
/// Pure: the number of the retry, the previous delay and a random number are handed in, and the
/// answer depends on nothing else. Spans are kept in whole milliseconds (finer parts are rounded up),
/// which is also how a backoff travels and how finely tokio's timer ticks. It never panics: what would
/// overflow is the longest delay.
///
/// ```
/// use std::time::Duration;
/// use coditect_resilience::{Backoff, Jitter};
///
/// let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1))?
///     .with_jitter(Jitter::None);
/// let delays: Vec<_> = (1..=5).map(|retry| backoff.delay(retry, None, 0.0).as_millis()).collect();
/// assert_eq!(delays, [100, 200, 400, 800, 1000]);
/// # Ok::<(), coditect_resilience::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawBackoff", into = "RawBackoff")]
pub struct Backoff {
    base: Millis,
    max: Millis,
    multiplier: f64,
    jitter: Jitter,
}

/// Says which random share of a delay is left out, so that callers that failed together do not
/// come back together.
///
/// The names and formulas are those of "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
/// Below, `delay` stands for the exponential delay of the retry, already cut off at the maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Jitter {
    /// Waits exactly `delay`. For a single caller, and for tests.
    None,
    /// Waits between nothing and `delay`. Spreads best, and is the default.
    #[default]
    Full,
    /// Waits between half of `delay` and all of it, where a minimum matters.
    Equal,
    /// Waits between the base and the previous wait times the multiplier, cut off at the maximum.
    /// The published form has the multiplier 3.
    Decorrelated,
}

impl Backoff {
    /// Starts from the first delay and the longest one, doubling in between, with full jitter.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPolicy`](crate::ErrorKind::InvalidPolicy) if `max` is shorter than `base`.
    pub const fn new(base: Duration, max: Duration) -> Result<Self, Error> {
        let (base, max) = (Millis::from_duration(base), Millis::from_duration(max));
        if max.duration().as_nanos() < base.duration().as_nanos() {
            return Err(Error::invalid_policy(
                "the longest delay is shorter than the first",
            ));
        }
        Ok(Self {
            base,
            max,
            multiplier: 2.0,
            jitter: Jitter::Full,
        })
    }

    /// Never waits.
    #[must_use]
    pub const fn none() -> Self {
        Self::constant(Duration::ZERO)
    }

    /// Waits the same span every time, without jitter.
    #[must_use]
    pub const fn constant(delay: Duration) -> Self {
        let delay = Millis::from_duration(delay);
        Self {
            base: delay,
            max: delay,
            multiplier: 1.0,
            jitter: Jitter::None,
        }
    }

    /// Replaces the jitter.
    #[must_use]
    pub const fn with_jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Replaces the factor from one delay to the next, 2 unless told otherwise.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPolicy`](crate::ErrorKind::InvalidPolicy) unless it is finite and at least 1.
    pub fn with_multiplier(mut self, multiplier: f64) -> Result<Self, Error> {
        if !(multiplier.is_finite() && multiplier >= 1.0) {
            return Err(Error::invalid_policy("the multiplier is less than 1"));
        }
        self.multiplier = multiplier;
        Ok(self)
    }

    /// Returns the delay before the first retry, before jitter.
    #[must_use]
    pub const fn base(&self) -> Duration {
        self.base.duration()
    }

    /// Returns the longest delay.
    #[must_use]
    pub const fn max(&self) -> Duration {
        self.max.duration()
    }

    /// Returns the factor from one delay to the next.
    #[must_use]
    pub const fn multiplier(&self) -> f64 {
        self.multiplier
    }

    /// Returns the jitter.
    #[must_use]
    pub const fn jitter(&self) -> Jitter {
        self.jitter
    }

    /// Returns how long to wait before a retry.
    ///
    /// `retry` counts retries from 1 (0 is taken as 1), `random` lies in `[0, 1)`. `previous` is the delay that this
    /// function returned for the retry before; only [`Jitter::Decorrelated`] uses it, and takes the longest that it can
    /// have been where the caller does not know it.
    #[must_use]
    pub fn delay(&self, retry: u32, previous: Option<Duration>, random: f64) -> Duration {
        let random = unit(random);
        match self.jitter {
            Jitter::None => self.exponential(retry),
            Jitter::Full => share(self.exponential(retry), random),
            Jitter::Equal => {
                let whole = self.exponential(retry);
                let half = whole / 2;
                half + share(whole - half, random)
            }
            Jitter::Decorrelated => {
                let previous = previous
                    .unwrap_or_else(|| self.exponential(retry))
                    .max(self.base());
                let span = self.grown(previous, self.multiplier) - self.base();
                self.base() + share(span, random)
            }
        }
    }

    fn exponential(&self, retry: u32) -> Duration {
        let exponent = i32::try_from(retry.saturating_sub(1)).unwrap_or(i32::MAX);
        self.grown(self.base(), self.multiplier.powi(exponent))
    }

    /// Multiplies a span that is at least the base, between the base and the longest delay.
    fn grown(&self, span: Duration, factor: f64) -> Duration {
        if span.is_zero() {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(span.as_secs_f64() * factor)
            .unwrap_or(Duration::MAX)
            .clamp(self.base(), self.max())
    }
}

impl Default for Backoff {
    /// Doubles from 100 ms to 30 s with full jitter.
    fn default() -> Self {
        Self {
            base: Millis::from_duration(Duration::from_millis(100)),
            max: Millis::from_duration(Duration::from_secs(30)),
            multiplier: 2.0,
            jitter: Jitter::Full,
        }
    }
}

/// The random share of a span: at most the span itself, whatever the rounding does.
fn share(span: Duration, random: f64) -> Duration {
    Duration::try_from_secs_f64(span.as_secs_f64() * random).map_or(span, |share| share.min(span))
}

/// A backoff as it travels, not yet checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBackoff {
    base_ms: Millis,
    max_ms: Millis,
    #[serde(default = "doubling")]
    multiplier: f64,
    #[serde(default)]
    jitter: Jitter,
}

const fn doubling() -> f64 {
    2.0
}

impl TryFrom<RawBackoff> for Backoff {
    type Error = Error;

    fn try_from(raw: RawBackoff) -> Result<Self, Error> {
        let backoff = Self::new(raw.base_ms.duration(), raw.max_ms.duration())?;
        Ok(backoff
            .with_multiplier(raw.multiplier)?
            .with_jitter(raw.jitter))
    }
}

impl From<Backoff> for RawBackoff {
    fn from(backoff: Backoff) -> Self {
        Self {
            base_ms: backoff.base,
            max_ms: backoff.max,
            multiplier: backoff.multiplier,
            jitter: backoff.jitter,
        }
    }
}

#[cfg(test)]
mod tests;
