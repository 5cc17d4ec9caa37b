//! The one error of this crate.

use std::error::Error as StdError;
use std::fmt;

/// What went wrong with a graph, a scheduler or a journal.
///
/// The text says what failed at this level; [`source`](StdError::source) has the rest of the chain.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    context: Box<str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Says what the caller of a failed operation should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The graph has a cycle, a duplicate key or an unknown key: reject it, the text says why.
    InvalidGraph,
    /// A limit would be passed: ask for less, or raise the limit.
    LimitExceeded,
    /// The event fits no task or no state: a bug of the caller or a damaged log; nothing changed.
    InvalidEvent,
    /// The run is not known: stop asking for it.
    NotFound,
    /// Something with this id is already there: use that, or choose another id.
    AlreadyExists,
    /// A newer owner has the partition: stop at once and give up everything held for it.
    Fenced,
    /// The backend cannot be reached now: try again later.
    Unavailable,
    /// The operation may or may not have happened: look before trying again.
    OutcomeUnknown,
}

impl Error {
    /// Makes an error from its kind and a text in lower case without a full stop.
    #[must_use]
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into().into_boxed_str(),
            source: None,
        }
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns what the caller should do about it.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Tells whether the same call may succeed later without any change.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable)
    }

    /// Tells whether the operation may have happened in spite of the error.
    #[must_use]
    pub const fn outcome_unknown(&self) -> bool {
        matches!(self.kind, ErrorKind::OutcomeUnknown)
    }

    pub(crate) fn invalid_graph(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidGraph, context)
    }

    pub(crate) fn limit(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::LimitExceeded, context)
    }

    pub(crate) fn invalid_event(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidEvent, context)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // The cast drops the auto traits, which `Error::source` does not carry.
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_of_this_level_and_the_chain_has_the_cause() {
        let error = Error::new(ErrorKind::Unavailable, "append to partition 3")
            .with_source(std::io::Error::other("connection reset"));
        assert_eq!(error.to_string(), "append to partition 3");
        assert_eq!(error.source().unwrap().to_string(), "connection reset");
        assert!(error.is_retryable());
        assert!(!error.outcome_unknown());
    }

    #[test]
    fn only_an_unknown_outcome_says_so() {
        let error = Error::new(ErrorKind::OutcomeUnknown, "commit timed out");
        assert!(error.outcome_unknown());
        assert!(!error.is_retryable());
    }
}
