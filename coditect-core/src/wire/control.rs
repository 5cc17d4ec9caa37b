//! What is told to all on the control fanout.

use coditect_bus::{Envelope, MessageId, QueueName};
use coditect_dag::{Attempt, RunId, TaskId, Timestamp};
use serde::{Deserialize, Serialize};

use super::KIND;
use crate::error::Error;

/// Attempts that are to stop, as the owner of a partition says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Control {
    /// The queue of the partition's outcomes, by which the owner is known.
    pub(crate) owner: QueueName,
    /// The owner's fencing token: workers ignore an owner that has been replaced.
    pub(crate) token: u64,
    pub(crate) stop: Vec<AttemptId>,
}

/// A queue of the bus that was made anew: what had been published to its predecessor is gone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Anew {
    pub(crate) anew: QueueName,
    /// When it was made, by whoever found none at its start: what was handed out since then is not gone.
    #[serde(default, rename = "at_ms", skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<Timestamp>,
}

/// Requests whose answers nobody waits for any more.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Unwanted {
    /// The ids of their messages.
    pub(crate) unwanted: Vec<MessageId>,
}

/// What may be heard on the control fanout.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Notice {
    Stop(Control),
    Anew(Anew),
    Unwanted(Unwanted),
}

/// One attempt that is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct AttemptId {
    pub(crate) run: RunId,
    pub(crate) task: TaskId,
    pub(crate) attempt: Attempt,
}

impl Control {
    pub(crate) fn to_envelope(&self) -> Result<Envelope, Error> {
        Ok(Envelope::json(self)?.with_header(KIND, "control"))
    }
}

impl Anew {
    pub(crate) fn to_envelope(&self) -> Result<Envelope, Error> {
        Ok(Envelope::json(self)?.with_header(KIND, "control"))
    }
}

impl Unwanted {
    pub(crate) fn to_envelope(&self) -> Result<Envelope, Error> {
        Ok(Envelope::json(self)?.with_header(KIND, "control"))
    }
}

impl Notice {
    pub(crate) fn read(envelope: &Envelope) -> Result<Self, Error> {
        Ok(envelope.decode()?)
    }
}
