//! When a breaker opens, for how long, and what closes it: plain data.

mod raw;

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backoff::{Backoff, Jitter};
use crate::classification::Classification;
use crate::error::Error;
use crate::millis::Millis;
use raw::RawBreakerPolicy;

/// Says when a circuit breaker trips, how long it stays open, and what its probes must show.
///
/// It trips on any of three signs, each of which can be left out: failures in a row, the share of failures, and
/// the share of slow calls, both shares over the [`Window`] once that holds the minimum of calls.
///
/// ```
/// use std::time::Duration;
/// use coditect_resilience::{Backoff, BreakerPolicy, Window};
///
/// let policy = BreakerPolicy::builder()
///     .consecutive_failures(5)
///     .failure_rate(0.5)
///     .slow_calls(Duration::from_secs(2), 0.8)
///     .window(Window::Time(Duration::from_secs(10)))
///     .min_calls(20)
///     .open_for(Backoff::new(Duration::from_millis(500), Duration::from_secs(5))?)
///     .probes(2)
///     .build()?;
/// let json = serde_json::to_string(&policy)?;
/// assert_eq!(serde_json::from_str::<BreakerPolicy>(&json)?, policy);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawBreakerPolicy", into = "RawBreakerPolicy")]
pub struct BreakerPolicy {
    consecutive: Option<NonZeroU32>,
    failure_rate: Option<f64>,
    slow: Option<SlowCalls>,
    window: Window,
    min_calls: NonZeroU32,
    open_for: Backoff,
    probes: NonZeroU32,
    successes_to_close: NonZeroU32,
}

/// The outcomes over which the shares of failures and slow calls are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Window {
    /// The last so many calls, from 1 to [`Window::MAX_CALLS`]. Costs two bits a call.
    Calls(u32),
    /// The calls of a span that has just passed, in steps of a tenth of it. Costs 120 bytes at any rate of calls.
    Time(Duration),
}

impl Window {
    /// The longest window of calls.
    pub const MAX_CALLS: u32 = 10_000;
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct SlowCalls {
    longer_than: Duration,
    rate: f64,
}

/// What one call showed about the callee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallOutcome {
    /// The call failed.
    pub failed: bool,
    /// The call took longer than the policy takes for healthy.
    pub slow: bool,
}

impl CallOutcome {
    /// A success that was not slow.
    pub const SUCCESS: Self = Self {
        failed: false,
        slow: false,
    };
    /// A failure that was not slow.
    pub const FAILURE: Self = Self {
        failed: true,
        slow: false,
    };
}

impl BreakerPolicy {
    /// Starts a policy without any sign to trip on; the rest has the values of the default policy.
    pub fn builder() -> BreakerPolicyBuilder {
        BreakerPolicyBuilder(RawBreakerPolicy::untripped())
    }

    /// Returns the failures in a row that trip the breaker.
    #[must_use]
    pub fn consecutive_failures(&self) -> Option<u32> {
        self.consecutive.map(NonZeroU32::get)
    }

    /// Returns the share of failures that trips the breaker.
    #[must_use]
    pub const fn failure_rate(&self) -> Option<f64> {
        self.failure_rate
    }

    /// Returns the span after which a call is slow, and the share of slow calls that trips the breaker.
    #[must_use]
    pub fn slow_calls(&self) -> Option<(Duration, f64)> {
        self.slow.map(|slow| (slow.longer_than, slow.rate))
    }

    /// Returns the window of the shares.
    #[must_use]
    pub const fn window(&self) -> Window {
        self.window
    }

    /// Returns how many calls the window must hold before a share means something.
    #[must_use]
    pub const fn min_calls(&self) -> u32 {
        self.min_calls.get()
    }

    /// Returns how long the breaker stays open, longer each time that its probes fail.
    #[must_use]
    pub const fn open_for(&self) -> &Backoff {
        &self.open_for
    }

    /// Returns how many probes may be under way at once.
    #[must_use]
    pub const fn probes(&self) -> u32 {
        self.probes.get()
    }

    /// Returns how many probes must succeed, without one failing, to close the breaker.
    #[must_use]
    pub const fn successes_to_close(&self) -> u32 {
        self.successes_to_close.get()
    }

    /// Returns what a call showed, or nothing if its outcome is to be ignored.
    #[must_use]
    pub fn outcome(&self, class: Classification, elapsed: Duration) -> Option<CallOutcome> {
        let failed = match class {
            Classification::Ignore => return None,
            Classification::Success => false,
            Classification::Retry | Classification::RetryAfter(_) | Classification::Fail => true,
        };
        let slow = self.slow.is_some_and(|slow| elapsed > slow.longer_than);
        Some(CallOutcome { failed, slow })
    }

    pub(super) const fn needs_window(&self) -> bool {
        self.slow.is_some() || self.failure_rate.is_some()
    }
}

impl Default for BreakerPolicy {
    /// Trips on 20 failures in a row, which finds an outage at once under any traffic, or on half of at least 20 calls in
    /// 10 s failing, which finds a callee that is half broken; opens for 0.5 s at first and 1.5 s at most, less a
    /// random share; one probe at a time, of which two in a row close it.
    fn default() -> Self {
        const TWENTY: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);
        const TWO: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);
        Self {
            consecutive: Some(TWENTY),
            failure_rate: Some(0.5),
            slow: None,
            window: Window::Time(Duration::from_secs(10)),
            min_calls: TWENTY,
            open_for: short(),
            probes: NonZeroU32::MIN,
            successes_to_close: TWO,
        }
    }
}

/// Below two seconds, so that a callee that has healed is found out soon.
fn short() -> Backoff {
    Backoff::new(Duration::from_millis(500), Duration::from_millis(1_500))
        .expect("the longest delay is the longer one")
        .with_jitter(Jitter::Equal)
}

/// Collects the parts of a [`BreakerPolicy`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct BreakerPolicyBuilder(RawBreakerPolicy);

impl BreakerPolicyBuilder {
    /// Trips on so many failures in a row.
    pub const fn consecutive_failures(mut self, failures: u32) -> Self {
        self.0.consecutive_failures = Some(failures);
        self
    }

    /// Trips when at least this share (above 0, at most 1) of the calls in the window failed.
    pub const fn failure_rate(mut self, rate: f64) -> Self {
        self.0.failure_rate = Some(rate);
        self
    }

    /// Takes calls longer than a span for slow, and trips when at least this share of the window is slow.
    pub const fn slow_calls(mut self, longer_than: Duration, rate: f64) -> Self {
        self.0.slow_after_ms = Some(Millis::from_duration(longer_than));
        self.0.slow_rate = Some(rate);
        self
    }

    /// Replaces the window.
    pub const fn window(mut self, window: Window) -> Self {
        match window {
            Window::Calls(calls) => {
                self.0.window_calls = Some(calls);
                self.0.window_ms = None;
            }
            Window::Time(span) => {
                self.0.window_ms = Some(Millis::from_duration(span));
                self.0.window_calls = None;
            }
        }
        self
    }

    /// Replaces the number of calls below which a share means nothing.
    pub const fn min_calls(mut self, calls: u32) -> Self {
        self.0.min_calls = calls;
        self
    }

    /// Replaces how long the breaker stays open: its n-th opening in a row takes the n-th delay.
    pub const fn open_for(mut self, backoff: Backoff) -> Self {
        self.0.open_for = backoff;
        self
    }

    /// Replaces how many probes may be under way at once.
    pub const fn probes(mut self, probes: u32) -> Self {
        self.0.probes = probes;
        self
    }

    /// Replaces how many probes must succeed to close the breaker.
    pub const fn successes_to_close(mut self, successes: u32) -> Self {
        self.0.successes_to_close = successes;
        self
    }

    /// Checks the parts and returns the policy.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPolicy`](crate::ErrorKind::InvalidPolicy) if nothing trips the breaker, a share is not
    /// above 0 and at most 1, a number is zero, the window is empty or too long, or can never hold the minimum of calls.
    pub fn build(self) -> Result<BreakerPolicy, Error> {
        self.0.try_into()
    }
}

#[cfg(test)]
mod tests;
