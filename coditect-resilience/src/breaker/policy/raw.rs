//! A breaker's policy as it travels, and the checks on its arrival.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::{BreakerPolicy, SlowCalls, Window};
use crate::backoff::Backoff;
use crate::error::Error;
use crate::millis::Millis;

/// A policy as it travels, not yet checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBreakerPolicy {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) consecutive_failures: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failure_rate: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) slow_after_ms: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) slow_rate: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) window_calls: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) window_ms: Option<Millis>,
    pub(super) min_calls: u32,
    pub(super) open_for: Backoff,
    pub(super) probes: u32,
    pub(super) successes_to_close: u32,
}

impl RawBreakerPolicy {
    /// The default policy without its signs.
    pub(super) fn untripped() -> Self {
        Self {
            consecutive_failures: None,
            failure_rate: None,
            ..BreakerPolicy::default().into()
        }
    }

    fn window(&self) -> Result<Window, Error> {
        match (self.window_calls, self.window_ms) {
            (Some(calls), None) if (1..=Window::MAX_CALLS).contains(&calls) => {
                Ok(Window::Calls(calls))
            }
            (None, Some(span)) if !span.duration().is_zero() => Ok(Window::Time(span.duration())),
            _ => Err(Error::invalid_policy(
                "the window is neither 1 to 10000 calls nor a span",
            )),
        }
    }

    fn slow(&self) -> Result<Option<SlowCalls>, Error> {
        match (self.slow_after_ms, share(self.slow_rate)?) {
            (None, None) => Ok(None),
            (Some(span), Some(rate)) => Ok(Some(SlowCalls {
                longer_than: span.duration(),
                rate,
            })),
            _ => Err(Error::invalid_policy(
                "slow calls need both a span and a share",
            )),
        }
    }
}

fn share(share: Option<f64>) -> Result<Option<f64>, Error> {
    match share {
        Some(share) if !(share > 0.0 && share <= 1.0) => Err(Error::invalid_policy(
            "a share of calls is not above 0 and at most 1",
        )),
        share => Ok(share),
    }
}

fn positive(number: u32) -> Result<NonZeroU32, Error> {
    NonZeroU32::new(number).ok_or(Error::invalid_policy("a number of calls is zero"))
}

impl TryFrom<RawBreakerPolicy> for BreakerPolicy {
    type Error = Error;

    fn try_from(raw: RawBreakerPolicy) -> Result<Self, Error> {
        let policy = Self {
            consecutive: raw.consecutive_failures.map(positive).transpose()?,
            failure_rate: share(raw.failure_rate)?,
            slow: raw.slow()?,
            window: raw.window()?,
            min_calls: positive(raw.min_calls)?,
            open_for: raw.open_for,
            probes: positive(raw.probes)?,
            successes_to_close: positive(raw.successes_to_close)?,
        };
        if policy.consecutive.is_none() && !policy.needs_window() {
            return Err(Error::invalid_policy("nothing trips the breaker"));
        }
        if policy.needs_window()
            && matches!(policy.window, Window::Calls(calls) if calls < policy.min_calls())
        {
            return Err(Error::invalid_policy(
                "the window is shorter than its minimum of calls",
            ));
        }
        Ok(policy)
    }
}

impl From<BreakerPolicy> for RawBreakerPolicy {
    fn from(policy: BreakerPolicy) -> Self {
        let (window_calls, window_ms) = match policy.window {
            Window::Calls(calls) => (Some(calls), None),
            Window::Time(span) => (None, Some(Millis::from_duration(span))),
        };
        Self {
            consecutive_failures: policy.consecutive_failures(),
            failure_rate: policy.failure_rate,
            slow_after_ms: policy
                .slow
                .map(|slow| Millis::from_duration(slow.longer_than)),
            slow_rate: policy.slow.map(|slow| slow.rate),
            window_calls,
            window_ms,
            min_calls: policy.min_calls(),
            open_for: policy.open_for,
            probes: policy.probes(),
            successes_to_close: policy.successes_to_close(),
        }
    }
}
