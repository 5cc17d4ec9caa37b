//! What a worker says of attempts that it holds without a delivery, and what an owner asks itself by it.

use std::sync::Arc;
use std::time::Duration;

use coditect_bus::Envelope;
use coditect_dag::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AttemptId, KIND};
use crate::error::Error;

/// What is said of attempts; the value of the header `coditect-kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// They are held from now on: their deliveries are about to be acknowledged.
    Claim,
    /// They are still worked on.
    Heartbeat,
    /// They are held no longer: the bus had taken their deliveries back, and delivers them again.
    Release,
}

impl Said {
    pub(crate) const ALL: [Self; 3] = [Self::Claim, Self::Heartbeat, Self::Release];

    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Heartbeat => "heartbeat",
            Self::Release => "release",
        }
    }
}

/// Attempts that a worker holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Holding {
    /// The process that holds them.
    pub(crate) incarnation: Arc<str>,
    /// After how long silence it is taken for dead.
    pub(crate) lease_ms: u64,
    pub(crate) attempts: Vec<AttemptId>,
    /// Said of the one attempt that is irreversible: the number of the claim, which its process uses once. The claim is to
    /// be granted before the attempt begins, and a release says that it has not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) claim: Option<u64>,
}

/// A lease that somebody has named, within bounds.
pub(super) fn lease(millis: u64) -> Duration {
    const SHORTEST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(3_600);
    Duration::from_millis(millis).clamp(SHORTEST, LONGEST)
}

impl Holding {
    /// The lease, which is never so short that only its own way here takes longer, nor so long that a dead agent is
    /// waited for all day.
    pub(crate) fn lease(&self) -> Duration {
        lease(self.lease_ms)
    }

    pub(crate) fn to_envelope(&self, said: Said) -> Result<Envelope, Error> {
        Ok(Envelope::json(self)?.with_header(KIND, said.kind()))
    }

    pub(crate) fn read(envelope: &Envelope) -> Result<Self, Error> {
        Ok(envelope.decode()?)
    }
}

/// What an owner sends itself: when it comes back, everything was heard that was in the queue before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Echo {
    /// The owner's fencing token: the echo of one that was replaced is nobody's.
    pub(crate) token: u64,
    pub(crate) sent: Timestamp,
}

impl Echo {
    pub(crate) const KIND: &'static str = "echo";

    pub(crate) fn to_envelope(self) -> Result<Envelope, Error> {
        Ok(Envelope::json(&self)?.with_header(KIND, Self::KIND))
    }

    pub(crate) fn read(envelope: &Envelope) -> Result<Self, Error> {
        Ok(envelope.decode()?)
    }
}
