//! What the outcome of a try means for the next one.

use std::time::Duration;

/// Says what the outcome of a try means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Classification {
    /// The call did what it should. It earns the retry budget its deposit.
    Success,
    /// The call failed and may succeed if it is repeated.
    Retry,
    /// The call failed, and the callee said after which span it wants to be asked again.
    RetryAfter(Duration),
    /// The call failed, and would fail again.
    Fail,
    /// The outcome says nothing about the callee: the caller gave up, or the request was wrong. It is
    /// returned as it is, earns nothing and costs nothing.
    Ignore,
}

impl Classification {
    /// Tells whether another try may help.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Retry | Self::RetryAfter(_))
    }
}

/// Judges the outcome of a try.
///
/// Any `Fn(&Result<T, E>) -> Classification` is one. [`retry_errors`] is the simplest.
pub trait Classify<T, E> {
    /// Says what the outcome means.
    fn classify(&self, outcome: &Result<T, E>) -> Classification;
}

impl<F, T, E> Classify<T, E> for F
where
    F: Fn(&Result<T, E>) -> Classification,
{
    fn classify(&self, outcome: &Result<T, E>) -> Classification {
        self(outcome)
    }
}

/// Classifies every answer as a success and every error as worth another try.
///
/// Right where the service fails for passing reasons only; anything else deserves a classifier of its own.
pub const fn retry_errors<T, E>(outcome: &Result<T, E>) -> Classification {
    match outcome {
        Ok(_) => Classification::Success,
        Err(_) => Classification::Retry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_retrying_classes_are_retryable() {
        assert!(Classification::Retry.is_retryable());
        assert!(Classification::RetryAfter(Duration::ZERO).is_retryable());
        for class in [
            Classification::Success,
            Classification::Fail,
            Classification::Ignore,
        ] {
            assert!(!class.is_retryable(), "{class:?}");
        }
    }

    #[test]
    fn a_plain_function_classifies() {
        let judge: &dyn Classify<u8, &str> = &retry_errors;
        assert_eq!(judge.classify(&Ok(1)), Classification::Success);
        assert_eq!(judge.classify(&Err("busy")), Classification::Retry);
    }
}
