//! The guard that counts one task as in flight.

use super::Candidate;

/// Counts one task as in flight at a candidate for as long as it lives.
#[must_use = "the task no longer counts once this is dropped"]
#[derive(Debug)]
pub struct InFlight {
    candidate: Candidate,
}

impl InFlight {
    pub(super) fn new(candidate: Candidate) -> Self {
        Self { candidate }
    }

    /// Returns the candidate at which the task is.
    pub fn candidate(&self) -> &Candidate {
        &self.candidate
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.candidate.end_one();
    }
}
