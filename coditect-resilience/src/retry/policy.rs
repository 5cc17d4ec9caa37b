//! Whether to try again, and when: a pure decision.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backoff::Backoff;
use crate::classification::Classification;
use crate::error::Error;
use crate::millis::Millis;

/// Decides whether a call is tried again, and after how long a wait.
///
/// Pure data: no clock and no randomness inside, so that it can travel with a task, be written into a
/// plan, and decide the same way wherever it is asked. Spans are whole milliseconds.
///
/// ```
/// use std::time::Duration;
/// use coditect_resilience::{Classification, GiveUp, RetryPolicy, Tries, Verdict};
///
/// let policy = RetryPolicy::builder(3).max_elapsed(Duration::from_secs(60)).build()?;
/// let first = Tries { made: 1, elapsed: Duration::from_millis(20), last_delay: None };
/// match policy.decide(Classification::Retry, first, 0.5) {
///     Verdict::Retry { attempt, delay } => {
///         assert_eq!(attempt, 2);
///         assert_eq!(delay, Duration::from_millis(50)); // full jitter: half of 100 ms
///     }
///     other => panic!("{other:?}"),
/// }
/// let third = Tries { made: 3, elapsed: Duration::from_secs(1), last_delay: None };
/// assert_eq!(
///     policy.decide(Classification::Retry, third, 0.5),
///     Verdict::GiveUp(GiveUp::Attempts),
/// );
///
/// let json = serde_json::to_string(&policy)?;
/// assert_eq!(serde_json::from_str::<RetryPolicy>(&json)?, policy);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    max_attempts: NonZeroU32,
    #[serde(
        rename = "max_elapsed_ms",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    max_elapsed: Option<Millis>,
    #[serde(default)]
    backoff: Backoff,
}

/// What has happened to a call so far, as far as the decision needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Tries {
    /// The tries that have ended, with the one being judged: 1 after the first.
    pub made: u32,
    /// The time since the first try began.
    pub elapsed: Duration,
    /// The wait before the try being judged, if it was a retry.
    pub last_delay: Option<Duration>,
}

/// What to do after a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Return the outcome: it was a success, or one that is to be ignored.
    Return,
    /// Try again after a wait.
    Retry {
        /// The number of the next try, from 2.
        attempt: u32,
        /// How long to wait before it.
        delay: Duration,
    },
    /// Return the failure: another try is not allowed or would not help.
    GiveUp(GiveUp),
}

/// Why a failed call is not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GiveUp {
    /// The failure was classified as one that a repetition would not cure.
    NotRetryable,
    /// All attempts are used up.
    Attempts,
    /// The next try would begin after the time limit.
    Elapsed,
    /// The retry budget is spent: too many calls are failing at once.
    Budget,
}

impl RetryPolicy {
    /// Starts a policy with its number of attempts, the first one included.
    ///
    /// The rest has defaults: no time limit, and the default [`Backoff`].
    pub const fn builder(max_attempts: u32) -> RetryPolicyBuilder {
        RetryPolicyBuilder {
            max_attempts,
            max_elapsed: None,
            backoff: None,
        }
    }

    /// Never tries again.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            max_attempts: NonZeroU32::MIN,
            max_elapsed: None,
            backoff: Backoff::none(),
        }
    }

    /// Returns the number of attempts, the first one included.
    #[must_use]
    pub const fn max_attempts(&self) -> u32 {
        self.max_attempts.get()
    }

    /// Returns the span after which no further try begins.
    #[must_use]
    pub fn max_elapsed(&self) -> Option<Duration> {
        self.max_elapsed.map(Millis::duration)
    }

    /// Returns the backoff between tries.
    #[must_use]
    pub const fn backoff(&self) -> &Backoff {
        &self.backoff
    }

    /// Decides what follows a try. `random` lies in `[0, 1)`.
    ///
    /// After [`Classification::RetryAfter`] the wait is the one that the callee asked for, or the backoff if
    /// that is longer. A wait that would end at the time limit or later is not begun: the caller
    /// hears of the failure now rather than then.
    #[must_use]
    pub fn decide(&self, class: Classification, tries: Tries, random: f64) -> Verdict {
        let asked = match class {
            Classification::Success | Classification::Ignore => return Verdict::Return,
            Classification::Fail => return Verdict::GiveUp(GiveUp::NotRetryable),
            Classification::Retry => Duration::ZERO,
            Classification::RetryAfter(span) => span,
        };
        if tries.made >= self.max_attempts() {
            return Verdict::GiveUp(GiveUp::Attempts);
        }
        let delay = self
            .backoff
            .delay(tries.made, tries.last_delay, random)
            .max(asked);
        if let Some(limit) = self.max_elapsed()
            && tries.elapsed.saturating_add(delay) >= limit
        {
            return Verdict::GiveUp(GiveUp::Elapsed);
        }
        Verdict::Retry {
            attempt: tries.made.saturating_add(1),
            delay,
        }
    }
}

impl Default for RetryPolicy {
    /// Makes three attempts with the default backoff and no time limit.
    fn default() -> Self {
        const THREE: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);
        Self {
            max_attempts: THREE,
            max_elapsed: None,
            backoff: Backoff::default(),
        }
    }
}

/// Collects the parts of a [`RetryPolicy`].
#[derive(Debug, Clone, Copy)]
#[must_use = "a builder does nothing until `build`"]
pub struct RetryPolicyBuilder {
    max_attempts: u32,
    max_elapsed: Option<Duration>,
    backoff: Option<Backoff>,
}

impl RetryPolicyBuilder {
    /// Lets no try begin once this span has passed since the first one began.
    pub const fn max_elapsed(mut self, limit: Duration) -> Self {
        self.max_elapsed = Some(limit);
        self
    }

    /// Replaces the waits between tries.
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// Checks the parts and returns the policy.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPolicy`](crate::ErrorKind::InvalidPolicy) if there is not even one attempt.
    pub fn build(self) -> Result<RetryPolicy, Error> {
        let max_attempts = NonZeroU32::new(self.max_attempts)
            .ok_or(Error::invalid_policy("a call needs at least one attempt"))?;
        Ok(RetryPolicy {
            max_attempts,
            max_elapsed: self.max_elapsed.map(Millis::from_duration),
            backoff: self.backoff.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests;
