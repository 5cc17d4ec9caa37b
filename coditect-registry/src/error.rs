//! The one error of this crate, and what a caller should do about it.

use std::error::Error as StdError;
use std::fmt;

type Source = Box<dyn StdError + Send + Sync + 'static>;

/// Abbreviates a result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Says what failed in the registry; [`Error::kind`] says what to do about it.
///
/// # Examples
///
/// ```
/// use coditect_registry::{AgentId, ErrorKind};
///
/// let error = "not a name".parse::<AgentId>().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Invalid);
/// assert!(!error.is_retryable());
/// ```
pub struct Error {
    kind: ErrorKind,
    context: String,
    source: Option<Source>,
}

/// Sorts errors by what the caller should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input breaks a rule of the registry. Correct it; repeating it as it is fails again.
    Invalid,
    /// The lease expired or was given up: the registration no longer exists. Register again.
    LeaseLost,
    /// A newer incarnation holds this exclusive agent name. Stop; do not register again.
    Superseded,
    /// The registry cannot be reached, and nothing has happened. Try again after a backoff.
    Unavailable,
    /// The request was sent but its answer was lost: it may have happened. Every method of
    /// [`Registry`](crate::Registry) may safely be called again with the same arguments.
    OutcomeUnknown,
}

impl Error {
    /// Creates an error of `kind`; `context` is lower case, without a full stop, about this level only.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
            source: None,
        }
    }

    /// Attaches the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the kind, which says what to do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Tells whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Unavailable | ErrorKind::OutcomeUnknown
        )
    }

    /// Tells whether the call may have happened although it failed.
    pub fn outcome_unknown(&self) -> bool {
        self.kind == ErrorKind::OutcomeUnknown
    }

    pub(crate) fn invalid(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, context)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug
            .field("kind", &self.kind)
            .field("context", &self.context);
        if let Some(source) = &self.source {
            debug.field("source", source);
        }
        debug.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_own_level_and_keeps_its_source() {
        let error = Error::new(ErrorKind::OutcomeUnknown, "no answer to a renewal")
            .with_source(std::io::Error::other("connection reset"));
        assert_eq!(error.to_string(), "no answer to a renewal");
        assert!(error.is_retryable() && error.outcome_unknown());
        assert_eq!(
            error.source().map(ToString::to_string).as_deref(),
            Some("connection reset")
        );
        assert!(format!("{error:?}").contains("connection reset"));
        assert!(!Error::new(ErrorKind::LeaseLost, "gone").is_retryable());
    }
}
