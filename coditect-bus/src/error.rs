//! The error of this crate, and the one of publishing, which gives back what was not sent.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use crate::Envelope;

/// Says what the caller should do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call can never work as it stands: correct the name, pattern or value.
    Invalid,
    /// The queue exists with other arguments: use them, or choose another name.
    Conflict,
    /// The message is over the size limit: store the payload elsewhere and send a reference to it.
    TooLarge,
    /// Nothing is there to take the message or to ask: declare the queue or wait for a subscriber.
    NoRoute,
    /// The queue is full: slow down and publish again later.
    Full,
    /// The delivery was taken from its holder: its work may be done again by another, so drop what depends on it.
    LeaseLost,
    /// The bus was closed: open another.
    Closed,
    /// The broker cannot be reached or did not confirm: try again, with the same message ids.
    Unavailable,
    /// The deadline passed before the answer came: look whether it happened before asking again.
    Timeout,
    /// The payload does not decode into the type asked for: dead-letter it or mend the sender.
    Decode,
    /// The other side answered with an error of its own: read its text.
    Refused,
}

/// Reports why the bus did not do what was asked.
///
/// `Display` is this level only; what lies beneath is in [`source`](StdError::source).
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    context: Cow<'static, str>,
    outcome_unknown: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error; `context` is lower case and without a full stop.
    #[must_use]
    pub fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            context: context.into(),
            outcome_unknown: false,
            source: None,
        }))
    }

    /// Adds the error that lies beneath.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Marks that what was asked may have happened in spite of the error.
    #[must_use]
    pub fn with_outcome_unknown(mut self) -> Self {
        self.0.outcome_unknown = true;
        self
    }

    /// Says what the caller should do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Says whether the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::NoRoute | ErrorKind::Full | ErrorKind::Unavailable | ErrorKind::Timeout
        )
    }

    /// Says whether what was asked may have happened all the same.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        self.0.outcome_unknown
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
            .field("outcome_unknown", &self.0.outcome_unknown)
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

/// Reports a publish that was not confirmed, and gives back every envelope concerned.
///
/// Unless [`outcome_unknown`](Error::outcome_unknown) says otherwise, none of the envelopes given back was taken by any queue, and
/// all others of the same call were.
pub struct PublishError(Box<Returned>);

struct Returned {
    error: Error,
    envelopes: Vec<Envelope>,
}

impl PublishError {
    /// Makes the error of one envelope.
    #[must_use]
    pub fn new(error: Error, envelope: Envelope) -> Self {
        Self::of_batch(error, vec![envelope])
    }

    /// Makes the error of several envelopes of one batch, in the order of the batch.
    #[must_use]
    pub fn of_batch(error: Error, envelopes: Vec<Envelope>) -> Self {
        Self(Box::new(Returned { error, envelopes }))
    }

    /// Says what the caller should do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.error.kind()
    }

    /// Returns the error without the envelopes; for a batch, that of the first envelope given back.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0.error
    }

    /// Returns what was not sent.
    #[must_use]
    pub fn envelopes(&self) -> &[Envelope] {
        &self.0.envelopes
    }

    /// Takes back what was not sent.
    #[must_use]
    pub fn into_envelopes(self) -> Vec<Envelope> {
        self.0.envelopes
    }

    pub(crate) fn into_parts(self) -> (Error, Vec<Envelope>) {
        (self.0.error, self.0.envelopes)
    }

    /// Takes back the first envelope that was not sent, which for a single publish is the one.
    #[must_use]
    pub fn into_envelope(self) -> Option<Envelope> {
        self.0.envelopes.into_iter().next()
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.envelopes.len() {
            1 => write!(f, "message was not published: {}", self.0.error),
            many => write!(f, "{many} messages were not published: {}", self.0.error),
        }
    }
}

impl fmt::Debug for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishError")
            .field("error", &self.0.error)
            .field("envelopes", &self.0.envelopes)
            .finish()
    }
}

impl StdError for PublishError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.error.source()
    }
}

impl From<PublishError> for Error {
    fn from(error: PublishError) -> Self {
        error.0.error
    }
}
