//! Who had an attempt: the agent, what it did it as, and which start of it.

use std::fmt;
use std::sync::Arc;

use coditect_registry::{AgentId, CapabilityName};
use semver::Version;
use serde::{Deserialize, Serialize};

/// Names the agent that had an attempt of a task, or a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Performer {
    /// The agent.
    pub agent: AgentId,
    /// The capability that it was called for.
    pub capability: CapabilityName,
    /// The version in which it offers that capability.
    pub version: Version,
    /// The start of its process.
    pub incarnation: Arc<str>,
}

impl Performer {
    pub(crate) fn new(
        agent: AgentId,
        capability: CapabilityName,
        version: Version,
        incarnation: Arc<str>,
    ) -> Self {
        Self {
            agent,
            capability,
            version,
            incarnation,
        }
    }
}

impl fmt::Display for Performer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.agent, self.capability, self.version)
    }
}
