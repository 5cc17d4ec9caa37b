//! The crate's one error: what went wrong, and what the caller should do about it.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Describes why a store operation did not do what was asked.
///
/// Ask [`kind`](Error::kind) what to do; the text is for people. The chain of
/// [`source`](StdError::source)s carries what lower levels had to say.
pub struct Error(Box<Repr>);

struct Repr {
    kind: ErrorKind,
    context: Cow<'static, str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Sorts errors by what the caller should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Somebody else changed what was read: start again from the first read.
    ///
    /// [`transact`](crate::StateStoreExt::transact) does so by itself.
    Conflict,
    /// The commit may or may not have happened: look before trying again.
    ///
    /// [`transact`](crate::StateStoreExt::transact) looks by itself and gives this kind only if the
    /// store stayed out of reach until its deadline.
    OutcomeUnknown,
    /// A key, a value or a transaction is larger than the store takes: make it smaller, never retry.
    TooLarge,
    /// The lease or its fencing token is no longer the current one: stop working under it.
    LeaseLost,
    /// The store cannot be reached or does not answer in time: try later.
    Unavailable,
    /// Stored bytes are not what was expected: a person has to look.
    Corrupt,
    /// The call was wrong in itself (an inverted range, a value that serde refuses): fix the program.
    Invalid,
    /// The closure gave up on purpose with [`Error::abort`]: its cause is the source.
    Aborted,
}

impl Error {
    /// Creates an error of this kind; `context` says what was being done, in lower case.
    pub fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Repr {
            kind,
            context: context.into(),
            source: None,
        }))
    }

    /// Adds the error of the level below.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Creates the error with which a closure leaves [`transact`](crate::StateStoreExt::transact)
    /// without committing and without a retry.
    ///
    /// The cause comes back as [`source`](StdError::source) and by [`into_cause`](Error::into_cause).
    pub fn abort(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Aborted, "transaction aborted by its closure").with_source(cause)
    }

    /// Creates the error for something over a limit; both figures are in bytes.
    pub fn too_large(what: &str, size: usize, limit: usize) -> Self {
        Self::new(
            ErrorKind::TooLarge,
            format!("{what} of {size} bytes is over the limit of {limit} bytes"),
        )
    }

    pub(crate) fn conflict(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Conflict, context)
    }

    pub(crate) fn invalid(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Invalid, context)
    }

    pub(crate) fn corrupt(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Corrupt, context)
    }

    pub(crate) fn lease_lost(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::LeaseLost, context)
    }

    /// Returns what the caller should do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns whether the same work may be tried again as it is.
    ///
    /// True for conflicts and for a store out of reach. An unknown outcome is not retryable: look first.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), ErrorKind::Conflict | ErrorKind::Unavailable)
    }

    /// Returns whether the operation may have happened in spite of the error.
    pub fn outcome_unknown(&self) -> bool {
        self.kind() == ErrorKind::OutcomeUnknown
    }

    /// Gives back the error of the level below, such as the cause handed to [`Error::abort`].
    pub fn into_cause(self) -> Option<Box<dyn StdError + Send + Sync>> {
        self.0.source
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.context)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("context", &self.0.context)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_large_says_size_and_limit() {
        let error = Error::too_large("value", 120_000, 100_000);
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert_eq!(
            error.to_string(),
            "value of 120000 bytes is over the limit of 100000 bytes"
        );
        assert!(!error.is_retryable() && !error.outcome_unknown());
    }

    #[test]
    fn abort_gives_its_cause_back() {
        let error = Error::abort("the account is empty");
        assert_eq!(
            error.source().map(ToString::to_string).as_deref(),
            Some("the account is empty")
        );
        assert_eq!(
            error.into_cause().map(|c| c.to_string()).as_deref(),
            Some("the account is empty")
        );
    }
}
