//! Those who offer one capability, sorted by the requirements that are asked for.

use semver::VersionReq;

use crate::{
    AgentRecord, Candidate, Candidates, CapabilityName, InFlight, Selector, Standing as Tier,
};

/// How many requirements are kept at hand for one capability name and tenant.
pub(super) const MAX_STANDING: usize = 32;

/// All who offer a capability of one name, whatever the version and their health.
#[derive(Debug)]
pub(super) struct Pool {
    name: CapabilityName,
    all: Candidates,
    standing: Vec<Standing>,
}

/// Those of them who meet one requirement and may be chosen.
#[derive(Debug)]
struct Standing {
    versions: VersionReq,
    ready: Candidates,
    degraded: Candidates,
}

impl Pool {
    pub(super) fn new(name: CapabilityName) -> Self {
        Self {
            name,
            all: Candidates::default(),
            standing: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn insert(&mut self, candidate: &Candidate, record: &AgentRecord) {
        self.all.insert(candidate.clone());
        for standing in &mut self.standing {
            standing.insert(&self.name, candidate, record);
        }
    }

    pub(super) fn remove(&mut self, candidate: &Candidate) {
        self.all.remove(candidate);
        for standing in &mut self.standing {
            standing.ready.remove(candidate);
            standing.degraded.remove(candidate);
        }
    }

    /// Keeps the candidates for these versions at hand from now on.
    pub(super) fn stand(&mut self, versions: &VersionReq) {
        if self.find(versions).is_some() {
            return;
        }
        if self.standing.len() >= MAX_STANDING {
            self.standing.remove(0);
        }
        let mut standing = Standing {
            versions: versions.clone(),
            ready: Candidates::default(),
            degraded: Candidates::default(),
        };
        for candidate in self.all.iter() {
            standing.insert(&self.name, candidate, &candidate.record());
        }
        self.standing.push(standing);
    }

    /// Chooses; `None` if these versions are not kept at hand.
    pub(super) fn pick(
        &self,
        versions: &VersionReq,
        selector: &dyn Selector,
        random: u64,
    ) -> Option<Option<InFlight>> {
        self.find(versions)
            .map(|standing| standing.pick(selector, random))
    }

    pub(super) fn offers(&self, versions: &VersionReq) -> bool {
        match self.find(versions) {
            Some(standing) => !standing.ready.is_empty() || !standing.degraded.is_empty(),
            None => self.all.iter().any(|candidate| {
                let record = candidate.record();
                record.standing() <= Tier::Degraded && offers(&record, &self.name, versions)
            }),
        }
    }

    fn find(&self, versions: &VersionReq) -> Option<&Standing> {
        self.standing
            .iter()
            .find(|standing| standing.versions == *versions)
    }
}

impl Standing {
    fn insert(&mut self, name: &CapabilityName, candidate: &Candidate, record: &AgentRecord) {
        let tier = match record.standing() {
            Tier::Ready => &mut self.ready,
            Tier::Degraded => &mut self.degraded,
            Tier::Draining | Tier::Evicted => return,
        };
        if offers(record, name, &self.versions) {
            tier.insert(candidate.clone());
        }
    }

    fn pick(&self, selector: &dyn Selector, random: u64) -> Option<InFlight> {
        let tier = if self.ready.is_empty() {
            &self.degraded
        } else {
            &self.ready
        };
        if tier.is_empty() {
            return None;
        }
        tier.get(selector.select(tier, random)?)
            .map(Candidate::begin)
    }
}

fn offers(record: &AgentRecord, name: &CapabilityName, versions: &VersionReq) -> bool {
    record
        .capabilities
        .iter()
        .any(|capability| capability.name == *name && versions.matches(&capability.version))
}
