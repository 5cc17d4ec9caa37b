//! What can go wrong in this crate, sorted by what the caller should do about it.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::classification::Classification;

/// Says that a call ran out of time, that it was refused, or that a policy makes no sense.
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
    CircuitOpen { left: Option<Duration> },
    Overloaded,
    RateLimited { left: Option<Duration> },
    InvalidPolicy { reason: &'static str },
}

/// Sorts errors by what the caller should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call did not end in time and was dropped. It may have had its effect: repeat it only
    /// if repetition is harmless.
    Timeout,
    /// A breaker refused the call, which was not made: the callee is failing. Ask another one, or come
    /// back after [`retry_after`](Error::retry_after).
    CircuitOpen,
    /// The call was refused because too many are under way here already; it was not made. Offer less, or come back later.
    Overloaded,
    /// The call was refused because it exceeds an agreed rate; it was not made. Come back after
    /// [`retry_after`](Error::retry_after).
    RateLimited,
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

    /// Says that a breaker refused a call, and what is left of its open time, where that is known.
    #[must_use]
    pub const fn circuit_open(left: Option<Duration>) -> Self {
        Self {
            kind: Kind::CircuitOpen { left },
        }
    }

    /// Says that a call was refused because too many are under way.
    #[must_use]
    pub const fn overloaded() -> Self {
        Self {
            kind: Kind::Overloaded,
        }
    }

    /// Says that a call exceeds a rate, and after which span it would not, if it ever would not.
    #[must_use]
    pub const fn rate_limited(left: Option<Duration>) -> Self {
        Self {
            kind: Kind::RateLimited { left },
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
            Kind::CircuitOpen { .. } => ErrorKind::CircuitOpen,
            Kind::Overloaded => ErrorKind::Overloaded,
            Kind::RateLimited { .. } => ErrorKind::RateLimited,
            Kind::InvalidPolicy { .. } => ErrorKind::InvalidPolicy,
        }
    }

    /// Returns the span after which the same call may be let through, where that is known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self.kind {
            Kind::CircuitOpen { left } | Kind::RateLimited { left } => left,
            _ => None,
        }
    }

    /// Says what it means for the next try, for a classifier to start from: all but an invalid policy is worth another try,
    /// at the time that is known for it.
    #[must_use]
    pub const fn classification(&self) -> Classification {
        match (self.retry_after(), self.is_retryable()) {
            (Some(left), _) => Classification::RetryAfter(left),
            (None, true) => Classification::Retry,
            (None, false) => Classification::Fail,
        }
    }

    /// Tells whether the call was refused before it was made, so that it cannot have had any effect.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self.kind,
            Kind::CircuitOpen { .. } | Kind::Overloaded | Kind::RateLimited { .. }
        )
    }

    /// Tells whether the same call may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        !matches!(self.kind, Kind::InvalidPolicy { .. })
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
            Kind::CircuitOpen { left } => refusal(f, "the circuit breaker is open", left),
            Kind::Overloaded => write!(f, "too many calls are under way"),
            Kind::RateLimited { left } => refusal(f, "the rate limit is reached", left),
            Kind::InvalidPolicy { reason } => write!(f, "invalid policy: {reason}"),
        }
    }
}

fn refusal(f: &mut fmt::Formatter<'_>, why: &str, left: Option<Duration>) -> fmt::Result {
    f.write_str(why)?;
    left.map_or(Ok(()), |left| write!(f, ", for {left:?} more"))
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
        assert_eq!(error.classification(), Classification::Fail);
        assert_eq!(
            error.to_string(),
            "invalid policy: max is shorter than base"
        );
        assert_eq!(
            format!("{error:?}"),
            r#"Error(InvalidPolicy { reason: "max is shorter than base" })"#
        );
    }

    #[test]
    fn a_refused_call_was_not_made_and_may_come_back() {
        let span = Duration::from_secs(2);
        for (error, kind, after, text) in [
            (
                Error::circuit_open(Some(span)),
                ErrorKind::CircuitOpen,
                Some(span),
                "the circuit breaker is open, for 2s more",
            ),
            (
                Error::circuit_open(None),
                ErrorKind::CircuitOpen,
                None,
                "the circuit breaker is open",
            ),
            (
                Error::overloaded(),
                ErrorKind::Overloaded,
                None,
                "too many calls are under way",
            ),
            (
                Error::rate_limited(Some(span)),
                ErrorKind::RateLimited,
                Some(span),
                "the rate limit is reached, for 2s more",
            ),
        ] {
            assert_eq!(error.kind(), kind);
            assert_eq!(error.retry_after(), after);
            let class = after.map_or(Classification::Retry, Classification::RetryAfter);
            assert_eq!(error.classification(), class);
            assert!(error.is_refusal() && error.is_retryable() && !error.outcome_unknown());
            assert_eq!(error.to_string(), text);
        }
        assert!(!Error::timeout(span).is_refusal());
    }
}
