//! What can go wrong while telemetry is set up.

use std::error::Error as StdError;
use std::fmt;

/// Says why telemetry could not be set up.
///
/// Only set-up can fail. Once it stands, telemetry never fails the work it watches: a trace context that
/// cannot be read is as good as none.
pub struct Error {
    kind: ErrorKind,
    context: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Sorts errors by what the caller should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The process has a `tracing` subscriber already. Install telemetry once, in `main`, or keep the other
    /// subscriber: the SDK's spans and events go there.
    AlreadyInstalled,
    /// The filter cannot be parsed. Correct `RUST_LOG`, or the filter given in the program.
    InvalidFilter,
}

impl Error {
    pub(crate) fn already_installed(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind: ErrorKind::AlreadyInstalled,
            context: None,
            source: Some(source.into()),
        }
    }

    pub(crate) fn invalid_filter(
        filter: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self {
            kind: ErrorKind::InvalidFilter,
            context: Some(filter.into()),
            source: Some(source.into()),
        }
    }

    /// Returns the kind, by which a caller decides what to do.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Tells whether the same call may succeed later: never, since set-up depends on nothing that passes.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        false
    }

    /// Tells whether the call may have had its effect all the same: never.
    #[must_use]
    pub const fn outcome_unknown(&self) -> bool {
        false
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ErrorKind::AlreadyInstalled => {
                f.write_str("this process already has a tracing subscriber")
            }
            ErrorKind::InvalidFilter => f.write_str("invalid log filter"),
        }?;
        match &self.context {
            Some(context) => write!(f, " {context:?}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("context", &self.context)
            .field("source", &self.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}
