//! The policies of a whole stack, and presets for what CODITECT calls.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backoff::{Backoff, Jitter};
use crate::breaker::{BreakerPolicy, Window};
use crate::bulkhead::BulkheadPolicy;
use crate::error::Error;
use crate::millis::Millis;
use crate::retry::{BudgetPolicy, RetryPolicy};

/// The policies of a [`StackLayer`](super::StackLayer): plain data, which travels and can be configured.
///
/// | preset | a try | in all | tries | at once | for |
/// |---|---|---|---|---|---|
/// | [`service`](Self::service) (the default) | 10 s | 30 s | 3 | 64, 128 wait | what nothing else fits |
/// | [`agent`](Self::agent) | 5 min | 5 min | 1 | 64, 64 wait | an agent's handler: the run's timers retry it |
/// | [`model`](Self::model) | 2 min | 5 min | 4 | 32, 256 wait | a model behind a provider's API: slow, busy, and it says when to come again |
/// | [`store`](Self::store) | 1 s | 5 s | 4 | 128, 1,024 wait | a registry, a store: quick or gone |
/// | [`bus`](Self::bus) | 5 s | 15 s | 3 | 1,024, 4,096 wait | a publish with its confirm |
///
/// ```
/// use std::time::Duration;
/// use coditect_resilience::StackPolicy;
///
/// let policy = StackPolicy::store().with_timeouts(Duration::from_millis(200), Duration::from_secs(1))?;
/// assert_eq!(policy.retry.max_attempts(), 4);
/// let json = serde_json::to_string(&policy)?;
/// assert_eq!(serde_json::from_str::<StackPolicy>(&json)?, policy);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StackPolicy {
    #[serde(rename = "timeout_ms")]
    timeout: Millis,
    /// Whether a call is tried again.
    pub retry: RetryPolicy,
    /// How many retries all calls together may make.
    pub budget: BudgetPolicy,
    /// How many tries run at once.
    pub bulkhead: BulkheadPolicy,
    /// When the callee is left alone.
    pub breaker: BreakerPolicy,
    #[serde(rename = "try_timeout_ms")]
    try_timeout: Millis,
}

/// The numbers in which presets differ.
struct Preset {
    try_secs: u64,
    secs: u64,
    attempts: u32,
    backoff_ms: (u64, u64),
    at_once: u32,
    queue: u32,
}

impl StackPolicy {
    /// For what nothing else fits: three tries of ten seconds.
    #[must_use]
    pub fn service() -> Self {
        Self::preset(&Preset {
            try_secs: 10,
            secs: 30,
            attempts: 3,
            backoff_ms: (100, 5_000),
            at_once: 64,
            queue: 128,
        })
    }

    /// For an agent's handler: one try, since only the run's timers retry it, and a breaker that waits for few calls.
    #[must_use]
    pub fn agent() -> Self {
        let mut policy = Self::preset(&Preset {
            try_secs: 300,
            secs: 300,
            attempts: 1,
            backoff_ms: (0, 0),
            at_once: 64,
            queue: 64,
        });
        // Calls are few and long: the last ones say more than those of the last seconds.
        policy.breaker = BreakerPolicy::builder()
            .failure_rate(0.5)
            .window(Window::Calls(20))
            .min_calls(10)
            .build()
            .expect("a window of twenty holds ten calls");
        policy
    }

    /// For a model behind a provider's API: long tries, patient retries, few at once.
    #[must_use]
    pub fn model() -> Self {
        Self::preset(&Preset {
            try_secs: 120,
            secs: 300,
            attempts: 4,
            backoff_ms: (500, 30_000),
            at_once: 32,
            queue: 256,
        })
    }

    /// For a registry or a store: short tries, quick retries.
    #[must_use]
    pub fn store() -> Self {
        Self::preset(&Preset {
            try_secs: 1,
            secs: 5,
            attempts: 4,
            backoff_ms: (20, 500),
            at_once: 128,
            queue: 1_024,
        })
    }

    /// For a publish to a bus, with its confirm.
    #[must_use]
    pub fn bus() -> Self {
        Self::preset(&Preset {
            try_secs: 5,
            secs: 15,
            attempts: 3,
            backoff_ms: (50, 1_000),
            at_once: 1_024,
            queue: 4_096,
        })
    }

    fn preset(preset: &Preset) -> Self {
        const VALID: &str = "a preset is valid";
        let (base, max) = preset.backoff_ms;
        let (base, max) = (Duration::from_millis(base), Duration::from_millis(max));
        let backoff = Backoff::new(base, max).expect(VALID);
        Self {
            timeout: Millis::from_duration(Duration::from_secs(preset.secs)),
            retry: RetryPolicy::builder(preset.attempts)
                .backoff(backoff.with_jitter(Jitter::Full))
                .max_elapsed(Duration::from_secs(preset.secs))
                .build()
                .expect(VALID),
            budget: BudgetPolicy::new(0.1, 10).expect(VALID),
            bulkhead: BulkheadPolicy::new(preset.at_once)
                .expect(VALID)
                .with_queue(preset.queue),
            breaker: BreakerPolicy::default(),
            try_timeout: Millis::from_duration(Duration::from_secs(preset.try_secs)),
        }
    }

    /// Replaces how long one try and the call as a whole may take. No try begins after that, so that a callee that wants to
    /// be asked much later is given up at once.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPolicy`](crate::ErrorKind::InvalidPolicy) if a try may take longer than the whole.
    pub fn with_timeouts(mut self, one_try: Duration, whole: Duration) -> Result<Self, Error> {
        if one_try > whole {
            return Err(Error::invalid_policy(
                "a try may take longer than the call as a whole",
            ));
        }
        self.retry = RetryPolicy::builder(self.retry.max_attempts())
            .backoff(*self.retry.backoff())
            .max_elapsed(whole)
            .build()?;
        self.try_timeout = Millis::from_duration(one_try);
        self.timeout = Millis::from_duration(whole);
        Ok(self)
    }

    /// Returns how long the call as a whole may take, waits included.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout.duration()
    }

    /// Returns how long one try may take.
    #[must_use]
    pub const fn try_timeout(&self) -> Duration {
        self.try_timeout.duration()
    }
}

impl Default for StackPolicy {
    /// The preset [`service`](Self::service).
    fn default() -> Self {
        Self::service()
    }
}
