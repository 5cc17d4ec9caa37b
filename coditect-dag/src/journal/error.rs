//! Why a journal did not do what it was asked.

use std::borrow::Cow;
use std::fmt;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Says why a journal did not do what it was asked.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    context: Cow<'static, str>,
    source: Option<Source>,
}

/// Says what the caller should do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Somebody else has claimed the partition, or the lease was released: drop everything that is held
    /// of its runs, and write nothing more under this lease.
    Fenced,
    /// The run is unknown, or retention has forgotten it: nothing to repeat.
    NotFound,
    /// The request contradicts what is stored, such as an outcome for a settled run: nothing was changed;
    /// load the run and decide anew.
    Conflict,
    /// The request is wrong in itself, such as a run of another partition: a defect of the caller.
    Invalid,
    /// The store cannot be reached or is overloaded, and nothing was changed: try again later.
    Unavailable,
    /// The change may or may not have been made. A submission may be repeated with the same run id; an
    /// owner gives its lease up, claims the partition again and loads its runs.
    OutcomeUnknown,
    /// What is stored cannot be read: damaged, or written by a newer release. A person must look.
    Corrupt,
}

impl Error {
    /// Makes an error of a kind, with a short text about what went wrong.
    #[must_use]
    pub fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            context: context.into(),
            source: None,
        }
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns what the caller should do about it.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable)
    }

    /// Returns whether the change may have been made in spite of the error.
    #[must_use]
    pub const fn outcome_unknown(&self) -> bool {
        matches!(self.kind, ErrorKind::OutcomeUnknown)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_ref()
            .map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn the_chain_carries_what_the_text_leaves_out() {
        let error = Error::new(ErrorKind::Unavailable, "the store does not answer")
            .with_source("connection refused");
        assert_eq!(error.to_string(), "the store does not answer");
        assert_eq!(error.source().unwrap().to_string(), "connection refused");
    }

    #[test]
    fn only_what_changed_nothing_may_be_repeated_as_it_is() {
        let unavailable = Error::new(ErrorKind::Unavailable, "");
        assert!(unavailable.is_retryable() && !unavailable.outcome_unknown());
        let unknown = Error::new(ErrorKind::OutcomeUnknown, "");
        assert!(!unknown.is_retryable() && unknown.outcome_unknown());
    }
}
