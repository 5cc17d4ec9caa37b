//! All records of a view, by instance and by what they offer.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::pool::Pool;
use crate::{
    AgentRecord, Candidate, CapabilityName, Change, InFlight, Instance, Requirement, Selector,
    TenantId,
};

#[derive(Debug, Default)]
pub(super) struct Index {
    candidates: HashMap<Instance, Candidate>,
    offers: HashMap<CapabilityName, Offer>,
}

/// Who offers one capability: those who serve all, and those of each tenant.
#[derive(Debug)]
struct Offer {
    shared: Pool,
    tenants: HashMap<TenantId, Pool>,
}

/// The candidates for this requirement are not at hand yet: call [`Index::stand`] and ask again.
#[derive(Debug)]
pub(super) struct NotStanding;

impl Index {
    pub(super) fn len(&self) -> usize {
        self.candidates.len()
    }

    pub(super) fn candidate(&self, instance: &Instance) -> Option<&Candidate> {
        self.candidates.get(instance)
    }

    pub(super) fn records(&self) -> Vec<Arc<AgentRecord>> {
        self.candidates.values().map(Candidate::record).collect()
    }

    pub(super) fn pick(
        &self,
        tenant: Option<&TenantId>,
        requirement: &Requirement,
        selector: &dyn Selector,
        random: u64,
    ) -> Result<Option<InFlight>, NotStanding> {
        let Some(offer) = self.offers.get(&requirement.name) else {
            return Ok(None);
        };
        for pool in offer.pools_for(tenant) {
            if let Some(picked) = pool
                .pick(&requirement.versions, selector, random)
                .ok_or(NotStanding)?
            {
                return Ok(Some(picked));
            }
        }
        Ok(None)
    }

    pub(super) fn offers(&self, tenant: Option<&TenantId>, requirement: &Requirement) -> bool {
        let Some(offer) = self.offers.get(&requirement.name) else {
            return false;
        };
        offer
            .pools_for(tenant)
            .any(|pool| pool.offers(&requirement.versions))
    }

    /// Keeps the candidates for a requirement at hand from now on; a name that nobody offers leaves no trace.
    pub(super) fn stand(&mut self, tenant: Option<&TenantId>, requirement: &Requirement) {
        let Some(offer) = self.offers.get_mut(&requirement.name) else {
            return;
        };
        offer.shared.stand(&requirement.versions);
        if let Some(own) = tenant.and_then(|tenant| offer.tenants.get_mut(tenant)) {
            own.stand(&requirement.versions);
        }
    }

    /// Applies a change and tells whether it may have changed who can be chosen.
    pub(super) fn apply(&mut self, change: Change) -> bool {
        match change {
            Change::Added(record) | Change::Updated(record) => self.put(record),
            Change::Reported {
                instance,
                load,
                health,
            } => self.put_if_there(&instance, |record| record.reported(load, health)),
            Change::Judged { instance, verdict } => {
                self.put_if_there(&instance, |record| record.judged(verdict))
            }
            Change::Removed { instance, .. } => self.remove(&instance),
            Change::Resync(records) => self.resync(records),
        }
    }

    /// Keeps those who are still there, with what is in flight at them.
    fn resync(&mut self, records: Vec<Arc<AgentRecord>>) -> bool {
        let there: HashSet<&Instance> = records.iter().map(|record| &record.instance).collect();
        let gone: Vec<Instance> = self
            .candidates
            .keys()
            .filter(|known| !there.contains(known))
            .cloned()
            .collect();
        let mut changed = false;
        for instance in gone {
            changed |= self.remove(&instance);
        }
        for record in records {
            changed |= self.put(record);
        }
        changed
    }

    fn put_if_there(
        &mut self,
        instance: &Instance,
        change: impl FnOnce(&AgentRecord) -> AgentRecord,
    ) -> bool {
        let Some(candidate) = self.candidates.get(instance) else {
            return false;
        };
        let record = change(&candidate.record());
        self.put(Arc::new(record))
    }

    fn put(&mut self, record: Arc<AgentRecord>) -> bool {
        let Some(candidate) = self.candidates.get(&record.instance).cloned() else {
            let candidate = Candidate::new(Arc::clone(&record));
            self.candidates
                .insert(record.instance.clone(), candidate.clone());
            self.seat(&candidate, &record);
            return true;
        };
        let old = candidate.record();
        let same_offer = Arc::ptr_eq(&old.capabilities, &record.capabilities)
            || old.capabilities == record.capabilities;
        if same_offer && old.standing() == record.standing() && old.weight == record.weight {
            candidate.set_record(record);
            return false;
        }
        self.unseat(&candidate, &old);
        candidate.set_record(Arc::clone(&record));
        self.seat(&candidate, &record);
        true
    }

    fn remove(&mut self, instance: &Instance) -> bool {
        let Some(candidate) = self.candidates.remove(instance) else {
            return false;
        };
        self.unseat(&candidate, &candidate.record());
        true
    }

    fn seat(&mut self, candidate: &Candidate, record: &AgentRecord) {
        for name in names(record) {
            let offer = self
                .offers
                .entry(name.clone())
                .or_insert_with(|| Offer::new(name.clone()));
            offer
                .pool_of(record.tenant(), name)
                .insert(candidate, record);
        }
    }

    fn unseat(&mut self, candidate: &Candidate, record: &AgentRecord) {
        for name in names(record) {
            let Some(offer) = self.offers.get_mut(name) else {
                continue;
            };
            let pool = offer.pool_of(record.tenant(), name);
            pool.remove(candidate);
            if pool.is_empty()
                && let Some(tenant) = record.tenant()
            {
                offer.tenants.remove(tenant);
            }
            if offer.shared.is_empty() && offer.tenants.is_empty() {
                self.offers.remove(name);
            }
        }
    }
}

impl Offer {
    fn new(name: CapabilityName) -> Self {
        Self {
            shared: Pool::new(name),
            tenants: HashMap::new(),
        }
    }

    fn pool_of(&mut self, tenant: Option<&TenantId>, name: &CapabilityName) -> &mut Pool {
        match tenant {
            Some(tenant) => self
                .tenants
                .entry(tenant.clone())
                .or_insert_with(|| Pool::new(name.clone())),
            None => &mut self.shared,
        }
    }

    /// Whom a task may go to, in order of preference.
    fn pools_for(&self, tenant: Option<&TenantId>) -> impl Iterator<Item = &Pool> {
        tenant
            .and_then(|tenant| self.tenants.get(tenant))
            .into_iter()
            .chain([&self.shared])
    }
}

/// The names that a record offers, each once.
fn names(record: &AgentRecord) -> BTreeSet<&CapabilityName> {
    record
        .capabilities
        .iter()
        .map(|capability| &capability.name)
        .collect()
}
