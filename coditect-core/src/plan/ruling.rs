//! What becomes of an irreversible task whose outcome nobody knows: a person's word, or what the plan says when none came.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::settings::millis;
use crate::error::Error;
use crate::failure::{Failure, FailureKind};

/// What becomes of a task that is parked, because nobody knows whether its attempt took effect; given by
/// [`RunHandle::rule`](crate::RunHandle::rule).
///
/// Whoever rules has looked: at the system outside, under the task's
/// [idempotency key](crate::TaskContext::idempotency_key).
///
/// # Examples
///
/// ```
/// use coditect_core::Ruling;
///
/// # fn main() -> Result<(), coditect_core::Error> {
/// let paid = Ruling::complete("ann", "receipt 17")?.comment("The bank has it.");
/// let unpaid = Ruling::retry("ann").comment("The bank has never heard of it.");
/// # let _ = (paid, unpaid);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ruling {
    verdict: RulingKind,
    /// None where the time was over and the plan's default ruled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RulingKind {
    /// It had no effect, or may have it again: another attempt follows.
    Retry,
    /// It took effect, and this is its output.
    Complete(Value),
    /// The task fails.
    Fail,
}

impl Ruling {
    /// Lets another attempt follow: the former had no effect, or may have it again.
    #[must_use]
    pub fn retry(by: impl Into<String>) -> Self {
        Self::of(RulingKind::Retry, by)
    }

    /// Takes the task for done, with the output that it would have had.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if the output cannot be written as JSON.
    pub fn complete<O: Serialize>(by: impl Into<String>, output: O) -> Result<Self, Error> {
        Ok(Self::of(RulingKind::Complete(value(&output)?), by))
    }

    /// Fails the task.
    #[must_use]
    pub fn fail(by: impl Into<String>) -> Self {
        Self::of(RulingKind::Fail, by)
    }

    /// Says something about it.
    #[must_use]
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }

    fn of(verdict: RulingKind, by: impl Into<String>) -> Self {
        Self {
            verdict,
            by: Some(by.into()),
            comment: None,
        }
    }

    /// What the plan says when nobody has ruled in time.
    pub(crate) fn by_default(verdict: RulingKind) -> Self {
        Self {
            verdict,
            by: None,
            comment: None,
        }
    }

    pub(crate) fn verdict(&self) -> &RulingKind {
        &self.verdict
    }

    /// Why a task fails for which this was ruled, and why its outcome was not known.
    pub(crate) fn failure(&self, unknown: &str) -> Failure {
        let (kind, text) = match &self.by {
            Some(by) => (FailureKind::Permanent, format!("{by} ruled that it failed")),
            None => (
                FailureKind::OutcomeUnknown,
                "nobody has said in time what became of it".to_owned(),
            ),
        };
        let text = match &self.comment {
            Some(comment) => format!("{text}: {comment}"),
            None => text,
        };
        let mut failure = Failure::new(kind, text);
        failure.chain.push(unknown.to_owned());
        failure
    }
}

/// How long an irreversible task stays parked at most, and what becomes of it then.
///
/// Without it a parked task waits for a [`Ruling`] until its deadline or that of its run, or for ever.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use coditect_core::prelude::*;
/// use coditect_core::{EffectClass, Parking};
///
/// const PAY: Call<u64, String> = Call::new("pay");
/// let mut plan = Plan::builder();
/// let receipt = plan.task("pay", &PAY, 17);
/// plan.configure(&receipt, |task| {
///     // After a day without a word it fails, and says that its outcome is not known.
///     task.effect(EffectClass::Irreversible)
///         .parking(Parking::within(Duration::from_secs(24 * 3600)))
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parking {
    pub(crate) timeout_ms: u64,
    /// What is ruled when the time is over.
    #[serde(default = "fails")]
    pub(crate) then: RulingKind,
}

fn fails() -> RulingKind {
    RulingKind::Fail
}

impl Parking {
    /// Waits so long for a ruling; then the task fails as [`OutcomeUnknown`](FailureKind::OutcomeUnknown), unless
    /// something else is said.
    #[must_use]
    pub fn within(limit: Duration) -> Self {
        Self {
            timeout_ms: millis(limit),
            then: RulingKind::Fail,
        }
    }

    /// Lets another attempt follow when the time is over. It is right only where doing it twice is better than not at all.
    #[must_use]
    pub fn or_retry(mut self) -> Self {
        self.then = RulingKind::Retry;
        self
    }

    /// Takes the task for done when the time is over, with this output.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if the output cannot be written as JSON.
    pub fn or_complete<O: Serialize>(mut self, output: O) -> Result<Self, Error> {
        self.then = RulingKind::Complete(value(&output)?);
        Ok(self)
    }
}

fn value<O: Serialize>(output: &O) -> Result<Value, Error> {
    serde_json::to_value(output)
        .map_err(|error| Error::invalid("the output cannot be written as JSON").with_source(error))
}
