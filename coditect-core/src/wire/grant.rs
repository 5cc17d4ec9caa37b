//! What an owner answers a worker that asks whether it may begin.

use coditect_bus::{CorrelationId, Envelope};
use serde::{Deserialize, Serialize};

use super::KIND;
use crate::error::Error;

/// The answer to a claim that is made before its attempt begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    /// The number that the claim bore.
    pub(crate) claim: u64,
    /// Whether the attempt may begin. If not it is another's, or nobody's any more.
    pub(crate) granted: bool,
}

impl Grant {
    /// The value of the header `coditect-kind`.
    pub(crate) const KIND: &'static str = "grant";

    pub(crate) fn to_envelope(self, correlation: Option<CorrelationId>) -> Result<Envelope, Error> {
        let envelope = Envelope::json(&self)?.with_header(KIND, Self::KIND);
        Ok(match correlation {
            Some(correlation) => envelope.with_correlation_id(correlation),
            None => envelope,
        })
    }

    pub(crate) fn read(envelope: &Envelope) -> Result<Self, Error> {
        Ok(envelope.decode()?)
    }
}
