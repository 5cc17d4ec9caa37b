//! What a pick gives: the agent that was chosen, with the guard that counts the task there.

use std::sync::Arc;

use crate::{AgentRecord, Candidate, InFlight, Instance};

/// Is the agent that was chosen, and counts the task as in flight there until it is dropped.
#[must_use = "the task no longer counts once this is dropped"]
#[derive(Debug)]
pub struct Picked {
    in_flight: InFlight,
}

impl Picked {
    pub(super) fn new(in_flight: InFlight) -> Self {
        Self { in_flight }
    }

    /// Returns the record of the chosen instance as last heard.
    pub fn record(&self) -> Arc<AgentRecord> {
        self.candidate().record()
    }

    /// Returns the instance that was chosen.
    pub fn instance(&self) -> &Instance {
        self.candidate().instance()
    }

    /// Returns the candidate, whose load goes on changing.
    pub fn candidate(&self) -> &Candidate {
        self.in_flight.candidate()
    }

    /// Keeps only the guard that counts the task as in flight.
    pub fn into_in_flight(self) -> InFlight {
        self.in_flight
    }
}
