//! What a worker tells an owner of handlers that wait for others, and so do not count for limits.

use std::sync::Arc;
use std::time::Duration;

use coditect_bus::Envelope;
use serde::{Deserialize, Serialize};

use super::{AttemptId, KIND};
use crate::error::Error;

/// What is told; the value of the header `coditect-kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// They wait for others, and do not count until they ask. It is said again as long as it is so.
    Waits,
    /// It would go on, and waits for leave.
    Returns,
    /// It goes on, and counts, whatever the limits are.
    Works,
}

/// Handlers that wait, or do so no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Absence {
    /// The process in which they are.
    pub(crate) incarnation: Arc<str>,
    /// After how long silence they count again.
    pub(crate) lease_ms: u64,
    pub(crate) handlers: Vec<Handler>,
    /// Said of the one that would go on: the number by which it is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) claim: Option<u64>,
}

/// One handler of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handler {
    pub(crate) attempt: AttemptId,
    /// Its number, which its process uses once.
    pub(crate) handler: u64,
    /// Grows with whatever is told of it but what is said again: of two words that with the greater one is true.
    pub(crate) step: u64,
}

impl Word {
    pub(crate) const ALL: [Self; 3] = [Self::Waits, Self::Returns, Self::Works];

    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Waits => "waits",
            Self::Returns => "returns",
            Self::Works => "works",
        }
    }
}

impl Absence {
    pub(crate) fn lease(&self) -> Duration {
        super::holding::lease(self.lease_ms)
    }

    pub(crate) fn to_envelope(&self, word: Word) -> Result<Envelope, Error> {
        Ok(Envelope::json(self)?.with_header(KIND, word.kind()))
    }

    pub(crate) fn read(envelope: &Envelope) -> Result<Self, Error> {
        Ok(envelope.decode()?)
    }
}
