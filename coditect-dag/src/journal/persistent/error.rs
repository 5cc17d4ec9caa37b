//! What a store's errors mean to those who use the journal.

use std::error::Error as _;

use coditect_state::{Error as StateError, ErrorKind as StateKind};

use crate::journal::{Error, ErrorKind};

/// Makes a transaction end with a journal's error, without commit and without a retry.
pub(super) fn abort(kind: ErrorKind, context: &'static str) -> StateError {
    StateError::abort(Error::new(kind, context))
}

pub(super) fn unknown_run() -> StateError {
    abort(ErrorKind::NotFound, "the run is unknown")
}

pub(super) fn fenced() -> StateError {
    abort(
        ErrorKind::Fenced,
        "the partition's lease was released or somebody else has claimed it",
    )
}

/// Says that what is stored cannot be read.
pub(super) fn corrupt(
    context: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StateError {
    StateError::abort(Error::new(ErrorKind::Corrupt, context).with_source(source))
}

impl From<StateError> for Error {
    fn from(error: StateError) -> Self {
        let kind = match error.kind() {
            StateKind::Aborted if error.source().is_some_and(|source| source.is::<Self>()) => {
                let cause = error.into_cause().map(|cause| cause.downcast::<Self>());
                return match cause {
                    Some(Ok(cause)) => *cause,
                    // Looked at just before.
                    _ => Self::new(ErrorKind::Unavailable, "the store gave up"),
                };
            }
            StateKind::OutcomeUnknown => ErrorKind::OutcomeUnknown,
            StateKind::TooLarge | StateKind::Invalid => ErrorKind::Invalid,
            StateKind::LeaseLost => ErrorKind::Fenced,
            StateKind::Corrupt => ErrorKind::Corrupt,
            // A conflict that was tried again until the time was up is a store that is overloaded.
            _ => ErrorKind::Unavailable,
        };
        Self::new(kind, "the store did not do what the journal asked").with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_comes_back_out_of_a_transaction_as_it_went_in() {
        let error = Error::from(fenced());
        assert_eq!(error.kind(), ErrorKind::Fenced);
        assert!(error.to_string().contains("claimed it"), "{error}");
    }

    #[test]
    fn a_store_that_is_overloaded_may_be_asked_again() {
        let of = |kind| Error::from(StateError::new(kind, "x"));
        assert!(of(StateKind::Conflict).is_retryable());
        assert!(of(StateKind::Unavailable).is_retryable());
        assert!(of(StateKind::OutcomeUnknown).outcome_unknown());
        assert_eq!(of(StateKind::TooLarge).kind(), ErrorKind::Invalid);
    }
}
