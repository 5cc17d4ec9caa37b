//! What a quarantine is about, and what people are told of it.

use std::fmt;

use coditect_dag::Timestamp;
use coditect_registry::{AgentId, Capability, CapabilityName};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::agent::Performer;
use crate::failure::{Failure, FailureKind};

/// A capability as one agent offers it in one version, whichever start of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Pattern {
    pub(crate) agent: AgentId,
    pub(crate) capability: CapabilityName,
    pub(crate) version: Version,
}

impl Pattern {
    pub(crate) fn of(by: &Performer) -> Self {
        Self {
            agent: by.agent.clone(),
            capability: by.capability.clone(),
            version: by.version.clone(),
        }
    }

    pub(crate) fn of_offer(agent: &AgentId, capability: &Capability) -> Self {
        Self {
            agent: agent.clone(),
            capability: capability.name.clone(),
            version: capability.version.clone(),
        }
    }

    /// As messages name whom they are not for.
    pub(crate) fn list(patterns: &[Self]) -> String {
        let names: Vec<_> = patterns.iter().map(ToString::to_string).collect();
        names.join(",")
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.agent, self.capability, self.version)
    }
}

/// An agent that is given no more work of a capability, since too much of it failed in the same way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Quarantined {
    /// The agent.
    pub agent: AgentId,
    /// The capability whose work it is not given.
    pub capability: CapabilityName,
    /// The version in which it offers that. Another version of it, or of another agent, goes on getting the work.
    pub version: Version,
    /// How it failed.
    pub kind: FailureKind,
    /// How often it did, with what was tried since.
    pub failures: u64,
    /// Since when its work is held.
    pub since: Timestamp,
    /// When one task is tried next; none while one is.
    pub probe_at: Option<Timestamp>,
    /// The failure with which it began.
    pub example: Failure,
}

impl Quarantined {
    pub(crate) fn pattern(&self) -> Pattern {
        Pattern {
            agent: self.agent.clone(),
            capability: self.capability.clone(),
            version: self.version.clone(),
        }
    }
}
