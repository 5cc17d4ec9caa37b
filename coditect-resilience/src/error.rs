//! What can go wrong in this crate, sorted by what the caller should do about it.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// Says that a call ran out of time or that a policy makes no sense.
///
/// A layer never wraps the error of the service it protects: the service's own error type comes
/// through unchanged, and what the layer itself has to say is converted into it by `From<Error>`.
/// A boxed error has that conversion already.
pub struct Error {
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Timeout { after: Duration },
    InvalidPolicy { reason: &'static str },
}

/// Sorts errors by what the caller should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call did not end in time and was dropped. It may have had its effect: repeat it only
    /// if repetition is harmless.
    Timeout,
    /// A policy was built from values that contradict each other. Correct the configuration.
    InvalidPolicy,
}

impl Error {
    /// Says that a call was dropped because it did not end within `after`.
    #[must_use]
    pub const fn timeout(after: Duration) -> Self {
        Self {
            kind: Kind::Timeout { after },
        }
    }

    pub(crate) const fn invalid_policy(reason: &'static str) -> Self {
        Self {
            kind: Kind::InvalidPolicy { reason },
        }
    }

    /// Returns the kind, by which a caller decides what to do.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self.kind {
            Kind::Timeout { .. } => ErrorKind::Timeout,
            Kind::InvalidPolicy { .. } => ErrorKind::InvalidPolicy,
        }
    }

    /// Tells whether the same call may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, Kind::Timeout { .. })
    }

    /// Tells whether the call may have had its effect all the same.
    #[must_use]
    pub const fn outcome_unknown(&self) -> bool {
        matches!(self.kind, Kind::Timeout { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Timeout { after } => write!(f, "the call did not end within {after:?}"),
            Kind::InvalidPolicy { reason } => write!(f, "invalid policy: {reason}"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Error").field(&self.kind).finish()
    }
}

impl StdError for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_retryable_and_its_outcome_unknown() {
        let error = Error::timeout(Duration::from_millis(1500));
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.is_retryable() && error.outcome_unknown());
        assert_eq!(error.to_string(), "the call did not end within 1.5s");
    }

    #[test]
    fn an_invalid_policy_names_its_reason_and_is_not_retryable() {
        let error = Error::invalid_policy("max is shorter than base");
        assert_eq!(error.kind(), ErrorKind::InvalidPolicy);
        assert!(!error.is_retryable() && !error.outcome_unknown());
        assert_eq!(
            error.to_string(),
            "invalid policy: max is shorter than base"
        );
        assert_eq!(
            format!("{error:?}"),
            r#"Error(InvalidPolicy { reason: "max is shorter than base" })"#
        );
    }
}
