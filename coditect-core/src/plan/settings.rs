//! How a task is to be run, beyond what it is given.

use std::time::Duration;

use coditect_bus::Priority;
pub use coditect_dag::FailurePolicy;
use coditect_resilience::RetryPolicy;
use serde::{Deserialize, Serialize};

use super::ruling::Parking;
use crate::effect::EffectClass;

/// How a task is to be run: priority, times, retries.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use coditect_core::prelude::*;
///
/// const FETCH: Call<String, String> = Call::new("fetch");
/// let mut plan = Plan::builder();
/// let page = plan.task("page", &FETCH, "https://example.org".to_owned());
/// plan.configure(&page, |task| {
///     task.priority(Priority::P0).timeout(Duration::from_secs(10)).max_attempts(5)
/// });
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) priority: Option<Priority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deadline_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry: Option<RetryPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_losses: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) effect: Option<EffectClass>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parking: Option<Parking>,
    pub(crate) run_after_failure: bool,
}

impl TaskSettings {
    /// Sets the priority; where nothing is said it is the run's.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Limits how long one attempt may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = Some(millis(timeout));
        self
    }

    /// Limits the time from the moment the plan is taken up until the task has ended, over all
    /// attempts and waiting.
    #[must_use]
    pub fn deadline(mut self, after: Duration) -> Self {
        self.deadline_ms = Some(millis(after));
        self
    }

    /// Sets when and how often a failed attempt is followed by another.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// Sets how many attempts may fail before the task does; 1 is no retry.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        let policy = self.retry.unwrap_or_default();
        let mut changed = RetryPolicy::builder(attempts.max(1)).backoff(*policy.backoff());
        if let Some(limit) = policy.max_elapsed() {
            changed = changed.max_elapsed(limit);
        }
        self.retry = changed.build().ok().or(self.retry);
        self
    }

    /// Sets how many attempts may be lost with their workers before the task fails.
    #[must_use]
    pub fn max_losses(mut self, losses: u32) -> Self {
        self.max_losses = Some(losses);
        self
    }

    /// Has the task carried out under a stricter effect class than its agent declares; a more lenient one changes nothing.
    #[must_use]
    pub fn effect(mut self, class: EffectClass) -> Self {
        self.effect = Some(class);
        self
    }

    /// Limits how long the task stays parked, should it be irreversible and nobody know what became of an attempt.
    #[must_use]
    pub fn parking(mut self, parking: Parking) -> Self {
        self.parking = Some(parking);
        self
    }

    /// Runs the task once everything it needs has ended, whether or not it succeeded.
    #[must_use]
    pub fn run_after_failure(mut self) -> Self {
        self.run_after_failure = true;
        self
    }

    pub(crate) fn timeout_span(&self) -> Option<Duration> {
        self.timeout_ms.map(Duration::from_millis)
    }

    pub(crate) fn deadline_span(&self) -> Option<Duration> {
        self.deadline_ms.map(Duration::from_millis)
    }
}

pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
