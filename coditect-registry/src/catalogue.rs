//! What is on offer: each capability with its schemas, and who offers it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{AgentId, AgentRecord, Capability, Load, Requirement, Standing};

/// Lists every capability on offer in every version, sorted by name and version: a snapshot, to be shown or sent.
///
/// A [`View`](crate::View::catalogue) gives it without a round trip.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use coditect_registry::{AgentRecord, Capability, Catalogue, Health, Incarnation, Load};
///
/// let record = |health| -> coditect_registry::Result<_> {
///     let summarize = Capability::new("summarize", semver::Version::new(1, 2, 0))?;
///     let record = AgentRecord::new("writer".parse()?, Incarnation::fresh());
///     Ok(Arc::new(record.with_capabilities([summarize]).with_health(health).with_load(Load::new(3, 8))))
/// };
/// let catalogue = Catalogue::of(&[record(Health::Ready)?, record(Health::Draining)?]);
/// let entry = catalogue.matching(&"summarize@^1".parse()?).next().ok_or("nobody offers it")?;
/// assert_eq!((entry.instances, entry.ready, entry.draining), (2, 1, 1));
/// assert_eq!((entry.agents.len(), entry.load.free()), (1, 5));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
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
    /// How many of the instances are given work.
    #[serde(default)]
    pub ready: usize,
    /// How many are given work only if nobody is ready.
    #[serde(default)]
    pub degraded: usize,
    /// How many finish what they have and are given no more.
    #[serde(default)]
    pub draining: usize,
    /// How many hold their lease but do not answer.
    #[serde(default)]
    pub evicted: usize,
    /// How many tasks all of them can work on at once, and how many they do work on, for whatever capability; only
    /// those that are given work count.
    #[serde(default)]
    pub load: Load,
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
                    Entry::Vacant(vacant) => vacant
                        .insert(CatalogueEntry::quoting(capability))
                        .add(capability, record),
                    Entry::Occupied(mut occupied) => occupied.get_mut().add(capability, record),
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
    /// Tells whether somebody is given work of it.
    pub fn is_served(&self) -> bool {
        self.ready + self.degraded > 0
    }

    fn quoting(capability: &Capability) -> Self {
        Self {
            capability: capability.clone(),
            agents: Vec::new(),
            instances: 0,
            ready: 0,
            degraded: 0,
            draining: 0,
            evicted: 0,
            load: Load::default(),
            disputed: false,
        }
    }

    fn add(&mut self, capability: &Capability, record: &AgentRecord) {
        self.agents.push(record.agent().clone());
        self.instances += 1;
        match record.standing() {
            Standing::Ready => self.ready += 1,
            Standing::Degraded => self.degraded += 1,
            Standing::Draining => self.draining += 1,
            Standing::Evicted => self.evicted += 1,
        }
        if record.standing() <= Standing::Degraded {
            let (sum, own) = (self.load, record.load);
            self.load = Load {
                in_flight: sum.in_flight.saturating_add(own.in_flight),
                slots: sum.slots.saturating_add(own.slots),
            };
        }
        self.disputed |= capability.input_schema != self.capability.input_schema
            || capability.output_schema != self.capability.output_schema;
    }
}
