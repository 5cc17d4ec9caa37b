//! Why a task or a run did not succeed, as it travels and is kept.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::IntoDeserializer;
use serde::de::value::CowStrDeserializer;
use serde::{Deserialize, Deserializer, Serialize};

use crate::agent::Performer;

/// What went wrong, by what can be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// The agent answered with an error that may pass: it is tried again while attempts are left.
    Error,
    /// The agent answered with an error that no other attempt can mend.
    Permanent,
    /// The agent panicked; treated as [`FailureKind::Error`].
    Panic,
    /// The attempt took longer than its timeout; treated as [`FailureKind::Error`].
    Timeout,
    /// The input does not have the shape that the agent takes.
    InvalidInput,
    /// The input or the output is larger than the runtime allows.
    TooLarge,
    /// The answer of an orchestrator is no valid plan, or goes over a limit of the run.
    InvalidPlan,
    /// The deadline passed while the task waited or ran.
    DeadlineExceeded,
    /// The deadline passed and no agent offered the capability.
    Unserved,
    /// Attempts were lost with their workers more often than the task allows.
    Lost,
    /// The task or the run was cancelled.
    Cancelled,
    /// A task that this one needs did not succeed.
    Upstream,
    /// An irreversible task was begun, and nobody knows whether it took effect: look before it is done again.
    OutcomeUnknown,
    /// Somebody was asked to [approve](crate::Approval), and did not.
    Rejected,
}

impl FailureKind {
    /// The kind's name, as it is written: `error`, `permanent`, `invalid_input` and so on.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Permanent => "permanent",
            Self::Panic => "panic",
            Self::Timeout => "timeout",
            Self::InvalidInput => "invalid_input",
            Self::TooLarge => "too_large",
            Self::InvalidPlan => "invalid_plan",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Unserved => "unserved",
            Self::Lost => "lost",
            Self::Cancelled => "cancelled",
            Self::Upstream => "upstream",
            Self::Rejected => "rejected",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }

    /// Says whether another attempt may succeed.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Error | Self::Panic | Self::Timeout)
    }
}

/// Why a task or a run did not succeed: a kind to act on and a text for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What can be done about it; one that this release does not know is read as
    /// [`FailureKind::Error`].
    #[serde(deserialize_with = "kind_or_error")]
    pub kind: FailureKind,
    /// What happened, in words.
    pub message: String,
    /// The causes below the message, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
    /// The key of the task that failed, where it is not the one that this failure belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Who had the attempt that failed, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Arc<Performer>>,
}

impl Failure {
    /// Creates a failure without causes.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            chain: Vec::new(),
            task: None,
            by: None,
        }
    }

    /// Names the task that failed.
    #[must_use]
    pub fn with_task(mut self, key: impl Into<String>) -> Self {
        self.task = Some(key.into());
        self
    }
}

/// Reads a kind that a newer release may have added.
fn kind_or_error<'de, D: Deserializer<'de>>(deserializer: D) -> Result<FailureKind, D::Error> {
    let name = Cow::<'_, str>::deserialize(deserializer)?;
    let name: CowStrDeserializer<'_, D::Error> = name.into_deserializer();
    Ok(FailureKind::deserialize(name).unwrap_or(FailureKind::Error))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(task) = &self.task {
            write!(f, "task `{task}`: ")?;
        }
        f.write_str(&self.message)?;
        for cause in &self.chain {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
