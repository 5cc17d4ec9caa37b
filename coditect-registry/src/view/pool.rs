//! Those who offer one capability, sorted by the requirements that are asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use semver::VersionReq;
use tokio::time::Instant;

use crate::observed::Offered;
use crate::{
    AgentRecord, Candidate, Candidates, CapabilityName, Ejection, InFlight, Instance, Selector,
    Standing,
};

/// How many requirements are kept at hand for one capability name and tenant.
pub(super) const MAX_STANDING: usize = 32;

/// All who offer a capability of one name, whatever the version and their health.
#[derive(Debug)]
pub(super) struct Pool {
    name: CapabilityName,
    offered: Arc<Offered>,
    all: Candidates,
    /// Those set aside for their failures, by the end of that.
    ejected: BTreeMap<(Instant, Instance), Candidate>,
    lines: Vec<Line>,
}

/// Those of them who meet one requirement and may be chosen, in tiers: the first that is not empty counts.
#[derive(Debug)]
struct Line {
    versions: VersionReq,
    ready: Candidates,
    degraded: Candidates,
    /// Ejected or doubtful: chosen only if nobody else is there.
    last: Candidates,
}

/// Something is to be prepared before a choice: call [`Pool::prepare`] and ask again.
#[derive(Debug)]
pub(super) struct Unprepared;

impl Pool {
    pub(super) fn new(name: CapabilityName) -> Self {
        Self {
            name,
            offered: Arc::default(),
            all: Candidates::default(),
            ejected: BTreeMap::new(),
            lines: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn insert(&mut self, candidate: &Candidate, record: &AgentRecord) {
        let candidate = candidate.offering(&self.name, &self.offered);
        if let Some(until) = candidate.ejected_until() {
            let key = (until, candidate.instance().clone());
            self.ejected.insert(key, candidate.clone());
        }
        for line in &mut self.lines {
            line.insert(&self.name, &candidate, record);
        }
        self.all.insert(candidate);
        self.offered.set_members(self.all.len());
    }

    pub(super) fn remove(&mut self, candidate: &Candidate) {
        let candidate = candidate.offering(&self.name, &self.offered);
        if let Some(until) = candidate.ejected_until() {
            self.ejected.remove(&(until, candidate.instance().clone()));
        }
        self.all.remove(&candidate);
        self.offered.set_members(self.all.len());
        for line in &mut self.lines {
            line.remove(&candidate);
        }
    }

    /// Takes over a candidate's capacity.
    pub(super) fn reweigh(&mut self, candidate: &Candidate) {
        self.all.reweigh(candidate);
        for line in &mut self.lines {
            for tier in [&mut line.ready, &mut line.degraded, &mut line.last] {
                tier.reweigh(candidate);
            }
        }
    }

    /// Sets one aside for its failures, if there it is and the policy allows it; returns until when.
    pub(super) fn eject(
        &mut self,
        candidate: &Candidate,
        policy: &Ejection,
        now: Instant,
        random: u64,
    ) -> Option<Instant> {
        let candidate = candidate.offering(&self.name, &self.offered);
        let ejected = candidate.ejected_until().is_some();
        if ejected || !policy.allows(self.ejected.len(), self.all.len()) {
            return None;
        }
        let until = candidate.track().eject(policy, now, random);
        let key = (until, candidate.instance().clone());
        self.ejected.insert(key, candidate.clone());
        self.reseat(&candidate);
        Some(until)
    }

    /// Keeps the candidates for these versions at hand from now on, and returns those whose ejection has ended.
    pub(super) fn prepare(&mut self, versions: &VersionReq, now: Instant) -> Vec<Candidate> {
        let mut readmitted = Vec::new();
        while self.is_due(now) {
            let Some((_, candidate)) = self.ejected.pop_first() else {
                break;
            };
            candidate.track().readmit();
            self.reseat(&candidate);
            readmitted.push(candidate);
        }
        self.stand(versions);
        readmitted
    }

    /// Chooses among those who meet the requirement.
    pub(super) fn pick(
        &self,
        versions: &VersionReq,
        selector: &dyn Selector,
        now: Instant,
        random: u64,
    ) -> Result<Option<InFlight>, Unprepared> {
        match self.find(versions) {
            Some(line) if !self.is_due(now) => Ok(line.pick(selector, now, random)),
            _ => Err(Unprepared),
        }
    }

    pub(super) fn offers(&self, versions: &VersionReq) -> bool {
        match self.find(versions) {
            Some(line) => line.tiers().any(|tier| !tier.is_empty()),
            None => self.all.iter().any(|candidate| {
                let record = candidate.record();
                record.standing() <= Standing::Degraded && offers(&record, &self.name, versions)
            }),
        }
    }

    fn stand(&mut self, versions: &VersionReq) {
        if self.find(versions).is_some() {
            return;
        }
        if self.lines.len() >= MAX_STANDING {
            self.lines.remove(0);
        }
        let mut line = Line {
            versions: versions.clone(),
            ready: Candidates::default(),
            degraded: Candidates::default(),
            last: Candidates::default(),
        };
        for candidate in self.all.iter() {
            line.insert(&self.name, candidate, &candidate.record());
        }
        self.lines.push(line);
    }

    fn reseat(&mut self, candidate: &Candidate) {
        let record = candidate.record();
        for line in &mut self.lines {
            line.remove(candidate);
            line.insert(&self.name, candidate, &record);
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        let next = self.ejected.first_key_value();
        next.is_some_and(|((until, _), _)| *until <= now)
    }

    fn find(&self, versions: &VersionReq) -> Option<&Line> {
        self.lines.iter().find(|line| line.versions == *versions)
    }
}

impl Line {
    fn insert(&mut self, name: &CapabilityName, candidate: &Candidate, record: &AgentRecord) {
        let tier = match record.standing() {
            Standing::Draining | Standing::Evicted => return,
            _ if candidate.is_doubtful() || candidate.ejected_until().is_some() => &mut self.last,
            Standing::Ready => &mut self.ready,
            Standing::Degraded => &mut self.degraded,
        };
        if offers(record, name, &self.versions) {
            tier.insert(candidate.clone());
        }
    }

    fn remove(&mut self, candidate: &Candidate) {
        for tier in [&mut self.ready, &mut self.degraded, &mut self.last] {
            tier.remove(candidate);
        }
    }

    fn tiers(&self) -> impl Iterator<Item = &Candidates> {
        [&self.ready, &self.degraded, &self.last].into_iter()
    }

    fn pick(&self, selector: &dyn Selector, now: Instant, random: u64) -> Option<InFlight> {
        let tier = self.tiers().find(|tier| !tier.is_empty())?;
        let chosen = selector.select(tier, now, random)?;
        tier.get(chosen).map(Candidate::begin)
    }
}

fn offers(record: &AgentRecord, name: &CapabilityName, versions: &VersionReq) -> bool {
    record
        .capabilities
        .iter()
        .any(|capability| capability.name == *name && versions.matches(&capability.version))
}
