//! The error of this crate.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::failure::{Failure, FailureKind};

/// Stands between an error and its cause where one line must do.
pub(crate) const CAUSED_BY: &str = "; caused by: ";

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration, plan, name or input is wrong: change it.
    Invalid,
    /// The run ended without a result: its [`Failure`] says which task failed and why.
    Failed,
    /// The run was cancelled by someone.
    Cancelled,
    /// The deadline passed: give it more time, or find out what it waited for.
    DeadlineExceeded,
    /// Somebody else has changed what this was to change: look at it and decide again.
    Conflict,
    /// There is no such run, or it has been forgotten.
    NotFound,
    /// The bus, the registry, the store or an agent cannot be reached now, or the agent fails and is left alone for a moment:
    /// try again.
    Unavailable,
    /// More waits than agents do, and nothing was accepted: try again [later](Error::retry_after), or with a higher priority.
    Overloaded,
    /// The runtime is draining or has shut down: use another one.
    Closed,
}

/// An error of the runtime or of a run.
///
/// `Display` is this level only; the chain of sources tells the rest, and `Debug` all of it in one line. For a run that
/// ended without a result, [`failure`](Error::failure) says which task failed and why.
///
/// # Examples
///
/// ```
/// use coditect_core::prelude::*;
/// use coditect_core::ErrorKind;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), coditect_core::Error> {
/// async fn refuse(_: ()) -> Result<(), AgentError> {
///     Err(AgentError::permanent("not on a Sunday"))
/// }
/// let runtime = Runtime::builder().agent(agent("refuse", refuse)).start().await?;
/// let refused: Result<(), _> = runtime.run(&call("refuse"), ()).await;
/// let error = refused.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Failed);
/// let failure = error.failure().expect("a run that failed has one");
/// assert_eq!(failure.to_string(), "task `refuse`: not on a Sunday");
/// # runtime.shutdown().await
/// # }
/// ```
pub struct Error {
    kind: ErrorKind,
    message: String,
    failure: Option<Box<Failure>>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            failure: None,
            retry_after: None,
            source: None,
        }
    }

    /// Its text with that of all that led to it, for where one line must do.
    pub(crate) fn with_causes(&self) -> String {
        let causes =
            std::iter::successors(std::error::Error::source(self), |cause| (*cause).source());
        causes.fold(self.to_string(), |text, cause| {
            format!("{text}{CAUSED_BY}{cause}")
        })
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn patched_meanwhile(revision: u64, expected: u64) -> Self {
        let text = match revision == expected {
            // A plan with the same revision is another one if its task has made it anew.
            true => "the plan is another one than the patch was made for".to_owned(),
            false => format!("the graph is at revision {revision}, not at {expected}"),
        };
        Self::new(ErrorKind::Conflict, text)
    }

    pub(crate) fn overloaded(message: impl Into<String>, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(ErrorKind::Overloaded, message)
        }
    }

    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the runtime has shut down")
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(crate) fn of_run(failure: Failure) -> Self {
        Self::of_failure("run", failure)
    }

    pub(crate) fn of_request(failure: Failure) -> Self {
        Self::of_failure("request", failure)
    }

    fn of_failure(what: &str, failure: Failure) -> Self {
        let (kind, fate) = match failure.kind {
            FailureKind::Cancelled => (ErrorKind::Cancelled, "was cancelled"),
            FailureKind::DeadlineExceeded | FailureKind::Unserved => {
                (ErrorKind::DeadlineExceeded, "missed its deadline")
            }
            FailureKind::InvalidInput | FailureKind::InvalidPlan | FailureKind::TooLarge => {
                (ErrorKind::Invalid, "was given something invalid")
            }
            _ => (ErrorKind::Failed, "failed"),
        };
        Self {
            kind,
            message: format!("the {what} {fate}"),
            source: Some(Box::new(failure.clone())),
            failure: Some(Box::new(failure)),
            retry_after: None,
        }
    }

    /// What the caller can do about it.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Says whether the same call may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Overloaded)
    }

    /// After which span to try again, where that is known.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Why the run ended without a result, where that is what the error tells.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_deref()
    }
}

/// One line for people, with all that led to it, as that is what `main` and `unwrap` print; `{:#?}` is the structure, with
/// the failure once, as the source.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return write!(f, "{:?}: {}", self.kind, self.with_causes());
        }
        let mut shown = f.debug_struct("Error");
        shown
            .field("kind", &self.kind)
            .field("message", &self.message);
        if let Some(source) = &self.source {
            shown.field("source", source);
        }
        shown.finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<coditect_bus::Error> for Error {
    fn from(error: coditect_bus::Error) -> Self {
        use coditect_bus::ErrorKind as Bus;
        let kind = match error.kind() {
            Bus::Closed => ErrorKind::Closed,
            _ if error.is_retryable() => ErrorKind::Unavailable,
            _ => ErrorKind::Invalid,
        };
        let text = match error.kind() {
            Bus::Closed => "the message bus is closed",
            Bus::Timeout => "the message bus did not answer in time",
            Bus::Unavailable if error.outcome_unknown() => "the message bus did not confirm",
            Bus::Unavailable => "the message bus is not available",
            _ => "the message bus refused",
        };
        Self::new(kind, text).with_source(error)
    }
}

impl From<coditect_dag::journal::Error> for Error {
    fn from(error: coditect_dag::journal::Error) -> Self {
        use coditect_dag::journal::ErrorKind as Journal;
        let kind = match error.kind() {
            Journal::NotFound => ErrorKind::NotFound,
            Journal::Conflict | Journal::Invalid => ErrorKind::Invalid,
            _ => ErrorKind::Unavailable,
        };
        let text = match error.kind() {
            Journal::Unavailable => "the run journal is not available",
            _ => "the run journal refused",
        };
        Self::new(kind, text).with_source(error)
    }
}

impl From<coditect_registry::Error> for Error {
    fn from(error: coditect_registry::Error) -> Self {
        let (kind, text) = if error.is_retryable() {
            (ErrorKind::Unavailable, "the registry is not available")
        } else {
            (ErrorKind::Invalid, "the registry refused")
        };
        Self::new(kind, text).with_source(error)
    }
}

impl From<coditect_state::Error> for Error {
    fn from(error: coditect_state::Error) -> Self {
        use coditect_state::ErrorKind as State;
        // What may have happened is asked again by whoever asked: it is about the store, and not about the call.
        let kind = if error.is_retryable() || error.outcome_unknown() {
            ErrorKind::Unavailable
        } else {
            ErrorKind::Invalid
        };
        let text = match error.kind() {
            State::Unavailable => "the state store is not available",
            State::OutcomeUnknown => "the state store did not confirm",
            _ => "the state store refused",
        };
        Self::new(kind, text).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_not_sure_is_trouble_and_no_fault_of_the_caller() {
        use coditect_state::ErrorKind as State;
        for (kind, expected) in [
            (State::OutcomeUnknown, ErrorKind::Unavailable),
            (State::Conflict, ErrorKind::Unavailable),
            (State::Corrupt, ErrorKind::Invalid),
        ] {
            let error = Error::from(coditect_state::Error::new(kind, "of a store"));
            assert_eq!(error.kind(), expected, "{kind:?}");
        }
    }

    #[test]
    fn what_main_prints_is_a_line_for_people() {
        use coditect_state::ErrorKind as State;
        let error = Error::from(coditect_state::Error::new(State::Corrupt, "reading page 7"));
        let text = "Invalid: the state store refused; caused by: reading page 7";
        assert_eq!(format!("{error:?}"), text);
        let structure = format!("{error:#?}");
        assert!(structure.contains("kind: Corrupt"), "{structure}");
    }

    #[test]
    fn a_failure_is_told_by_the_chain_and_shown_once() {
        let failure = Failure::new(FailureKind::Permanent, "no such page").with_task("fetch");
        for (error, text) in [
            (Error::of_run(failure.clone()), "the run failed"),
            (Error::of_request(failure.clone()), "the request failed"),
        ] {
            assert_eq!(error.to_string(), text);
            assert_eq!(error.failure(), Some(&failure));
            let source = error.source().expect("the failure").to_string();
            assert_eq!(source, "task `fetch`: no such page");
            assert_eq!(format!("{error:?}").matches("no such page").count(), 1);
        }
    }
}
