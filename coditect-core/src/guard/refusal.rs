//! What a guard has to say, in the errors of the ports, and what the errors of the ports say about a server.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use coditect_bus::ErrorKind as Bus;
use coditect_registry::ErrorKind as Registry;
use coditect_resilience::Classification;
use coditect_state::ErrorKind as State;

/// An error of a port.
pub(super) trait PortError: StdError + Sized {
    /// What it says about the server: an answer that somebody does not like is an answer.
    fn classification(&self) -> Classification;

    /// The call was not made.
    fn refused(refusal: Refusal) -> Self;

    /// The call was given up after so long, and may have happened.
    fn late(text: String) -> Self;
}

/// Why a call was not made.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) text: String,
    /// What was wrong when it was last called.
    pub(super) last: Option<LastFailure>,
}

/// What failed last, with its causes.
#[derive(Clone, Debug)]
pub(super) struct LastFailure(Arc<str>);

impl LastFailure {
    pub(super) fn of(what: &dyn fmt::Display, error: &dyn StdError) -> Self {
        let begin = format!("a call to {what} failed: {error}");
        let causes = std::iter::successors(error.source(), |cause| (*cause).source());
        let text = causes.fold(begin, |text, cause| format!("{text}: {cause}"));
        Self(text.into())
    }
}

impl fmt::Display for LastFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for LastFailure {}

impl Refusal {
    pub(super) fn is_open(
        what: &dyn fmt::Display,
        left: Option<Duration>,
        last: Option<LastFailure>,
    ) -> Self {
        let text = match left {
            Some(left) => format!(
                "{what} keeps failing and is left alone; it is tried again in {} ms",
                left.as_millis().max(1)
            ),
            None => format!("{what} keeps failing and is left alone while it is being tried"),
        };
        Self { text, last }
    }

    pub(super) fn is_forced(what: &dyn fmt::Display) -> Self {
        let text = format!("calls to {what} are refused until its breaker is reset");
        Self { text, last: None }
    }

    pub(super) fn is_full(what: &dyn fmt::Display, at_once: u32, queue: u32) -> Self {
        let text = format!("{at_once} calls to {what} are under way and {queue} wait");
        Self { text, last: None }
    }
}

macro_rules! with_last {
    ($error:expr, $last:expr) => {
        match $last {
            Some(last) => $error.with_source(last),
            None => $error,
        }
    };
}

impl PortError for coditect_bus::Error {
    fn classification(&self) -> Classification {
        match self.kind() {
            Bus::Unavailable | Bus::Timeout => Classification::Fail,
            Bus::Closed => Classification::Ignore,
            _ => Classification::Success,
        }
    }

    fn refused(refusal: Refusal) -> Self {
        with_last!(Self::new(Bus::Unavailable, refusal.text), refusal.last)
    }

    fn late(text: String) -> Self {
        Self::new(Bus::Timeout, text).with_outcome_unknown()
    }
}

impl PortError for coditect_registry::Error {
    fn classification(&self) -> Classification {
        match self.kind() {
            Registry::Unavailable | Registry::OutcomeUnknown => Classification::Fail,
            _ => Classification::Success,
        }
    }

    fn refused(refusal: Refusal) -> Self {
        with_last!(Self::new(Registry::Unavailable, refusal.text), refusal.last)
    }

    fn late(text: String) -> Self {
        Self::new(Registry::OutcomeUnknown, text)
    }
}

impl PortError for coditect_state::Error {
    fn classification(&self) -> Classification {
        match self.kind() {
            State::Unavailable | State::OutcomeUnknown => Classification::Fail,
            _ => Classification::Success,
        }
    }

    fn refused(refusal: Refusal) -> Self {
        with_last!(Self::new(State::Unavailable, refusal.text), refusal.last)
    }

    /// Said of what only reads; a commit says so itself.
    fn late(text: String) -> Self {
        Self::new(State::Unavailable, text)
    }
}
