//! Why a graph or an event was refused.

use std::fmt;

/// Says what is wrong with a graph, an expansion or an event.
///
/// Nothing here is ever cured by trying again: graphs and schedulers are pure. What can happen to a
/// journal is [`journal::Error`](crate::journal::Error).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    context: Box<str>,
}

/// Says what the caller of a refused operation should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The graph has a cycle, a duplicate key or an unknown key: reject it, the text says why.
    InvalidGraph,
    /// A limit would be passed: ask for less, or raise the limit.
    LimitExceeded,
    /// The event fits no task or no state: a bug of the caller or a damaged log; nothing changed.
    InvalidEvent,
}

impl Error {
    /// Returns what the caller should do about it.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn invalid_graph(context: impl Into<Box<str>>) -> Self {
        Self::new(ErrorKind::InvalidGraph, context)
    }

    pub(crate) fn limit(context: impl Into<Box<str>>) -> Self {
        Self::new(ErrorKind::LimitExceeded, context)
    }

    pub(crate) fn invalid_event(context: impl Into<Box<str>>) -> Self {
        Self::new(ErrorKind::InvalidEvent, context)
    }

    fn new(kind: ErrorKind, context: impl Into<Box<str>>) -> Self {
        Self {
            kind,
            context: context.into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl std::error::Error for Error {}
