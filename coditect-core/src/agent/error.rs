//! What a handler answers when it cannot answer.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::failure::{Failure, FailureKind};

/// An agent's failure, made from any error by `?`.
///
/// It is retried under the task's retry policy unless it is [permanent](AgentError::permanent).
/// Like `anyhow::Error` it is no [`std::error::Error`] itself, which is what lets `?` take every
/// other error.
///
/// # Examples
///
/// ```
/// use coditect_core::AgentError;
///
/// fn parse(text: &str) -> Result<u32, AgentError> {
///     if text.is_empty() {
///         return Err(AgentError::permanent("nothing to parse"));
///     }
///     Ok(text.parse()?)
/// }
/// assert!(parse("").unwrap_err().is_permanent());
/// assert!(!parse("x").unwrap_err().is_permanent());
/// ```
pub struct AgentError {
    kind: FailureKind,
    message: String,
    retry_after: Option<Duration>,
    before_effect: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl AgentError {
    /// Creates an error that another attempt may not meet.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self::of(FailureKind::Error, message)
    }

    /// Creates an error that every attempt would meet, so that none is spent on it.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::of(FailureKind::Permanent, message)
    }

    /// Wraps a boxed error, for error types that are no [`std::error::Error`] themselves.
    pub fn from_boxed(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into();
        Self {
            kind: FailureKind::Error,
            message: source.to_string(),
            retry_after: None,
            before_effect: false,
            source: Some(source),
        }
    }

    pub(crate) fn from_failure(failure: Failure) -> Self {
        Self::of(failure.kind, failure.message)
    }

    pub(crate) fn of(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry_after: None,
            before_effect: false,
            source: None,
        }
    }

    /// Asks that the next attempt starts no earlier than after `delay`, for example because a
    /// provider said so.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Says that nothing outside had changed when the error came: an [irreversible](crate::EffectClass::Irreversible) task may
    /// be tried again by its retry policy.
    ///
    /// Without this word an error that may pass leaves it open whether such a task took effect, and parks it, as do a
    /// panic and a timeout. To other tasks it means nothing.
    #[must_use]
    pub fn before_effect(mut self) -> Self {
        self.before_effect = true;
        self
    }

    /// Makes the error one that no further attempt is spent on.
    #[must_use]
    pub fn into_permanent(mut self) -> Self {
        self.kind = FailureKind::Permanent;
        self
    }

    /// Says whether further attempts are pointless.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        !self.kind.is_retryable()
    }

    /// The delay that the agent asked for before the next attempt.
    #[must_use]
    pub const fn delay(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(crate) const fn is_before_effect(&self) -> bool {
        self.before_effect
    }

    pub(crate) fn to_failure(&self) -> Failure {
        let mut chain = Vec::new();
        let mut cause = self.source.as_deref().and_then(StdError::source);
        while let Some(error) = cause {
            chain.push(error.to_string());
            cause = error.source();
        }
        Failure {
            chain,
            ..Failure::new(self.kind, self.message.clone())
        }
    }
}

impl<E> From<E> for AgentError
where
    E: StdError + Send + Sync + 'static,
{
    fn from(error: E) -> Self {
        Self::from_boxed(error)
    }
}

impl fmt::Debug for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentError")
            .field("kind", &self.kind)
            .field("message", &self.message)
            .field("retry_after", &self.retry_after)
            .field("source", &self.source)
            .finish()
    }
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
