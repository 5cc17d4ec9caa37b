//! What coordinators tell all workers.

use coditect_bus::{Envelope, QueueName};
use coditect_dag::{Attempt, RunId, TaskId};
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

    pub(crate) fn read(envelope: &Envelope) -> Result<Self, Error> {
        Ok(envelope.decode()?)
    }
}
