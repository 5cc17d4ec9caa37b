//! What is on offer: each capability with its schemas, and who offers it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{AgentId, AgentRecord, Capability, Requirement};

/// Lists every capability on offer in every version, sorted by name and version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    /// The capabilities on offer.
    pub entries: Vec<CatalogueEntry>,
}

/// Says who offers one capability in one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CatalogueEntry {
    /// The capability, as its longest-registered agent describes it.
    pub capability: Capability,
    /// The agents that offer it, each once, sorted.
    pub agents: Vec<AgentId>,
    /// How many instances those agents have together.
    pub instances: usize,
    /// Whether some of them describe it with other schemas: two contracts under one version, which is a mistake.
    pub disputed: bool,
}

impl Catalogue {
    /// Makes the catalogue of some records; the first to describe a capability is quoted.
    pub fn of(records: &[Arc<AgentRecord>]) -> Self {
        let mut entries: BTreeMap<_, CatalogueEntry> = BTreeMap::new();
        for record in records {
            for capability in record.capabilities.iter() {
                match entries.entry((&capability.name, &capability.version)) {
                    Entry::Vacant(vacant) => {
                        vacant.insert(CatalogueEntry::first(capability, record.agent()));
                    }
                    Entry::Occupied(mut occupied) => {
                        occupied.get_mut().add(capability, record.agent())
                    }
                }
            }
        }
        let mut entries: Vec<_> = entries.into_values().collect();
        for entry in &mut entries {
            entry.agents.sort_unstable();
            entry.agents.dedup();
        }
        Self { entries }
    }

    /// Returns the entries that meet a requirement.
    pub fn matching(&self, requirement: &Requirement) -> impl Iterator<Item = &CatalogueEntry> {
        self.entries
            .iter()
            .filter(move |entry| requirement.matches(&entry.capability))
    }
}

impl CatalogueEntry {
    fn first(capability: &Capability, agent: &AgentId) -> Self {
        Self {
            capability: capability.clone(),
            agents: vec![agent.clone()],
            instances: 1,
            disputed: false,
        }
    }

    fn add(&mut self, capability: &Capability, agent: &AgentId) {
        self.agents.push(agent.clone());
        self.instances += 1;
        self.disputed |= capability.input_schema != self.capability.input_schema
            || capability.output_schema != self.capability.output_schema;
    }
}
