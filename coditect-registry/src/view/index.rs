//! All records of a view, by instance and by what they offer; a state machine to which changes and time are handed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::offer::Offer;
use super::pool::Unprepared;
use super::slow_start::{Ramps, SlowStart};
use crate::deadlines::Deadlines;
use crate::{
    AgentRecord, Candidate, CapabilityName, Change, Ejection, InFlight, Instance, Requirement,
    Selector, Standing, TenantId,
};

#[derive(Debug)]
pub(super) struct Index {
    slow_start: Option<SlowStart>,
    grace: Duration,
    /// Set by the first resync.
    begun: bool,
    candidates: HashMap<Instance, Candidate>,
    offers: HashMap<CapabilityName, Offer>,
    ramps: Ramps,
    /// Until when those that were left out of a resync are kept.
    doubtful: Deadlines,
}

/// How many instances are attended to at once when time passes, so that nobody waits long for the lock.
const MOST_AT_ONCE: usize = 256;

impl Index {
    pub(super) fn new(slow_start: Option<SlowStart>, grace: Duration) -> Self {
        Self {
            slow_start,
            grace,
            begun: false,
            candidates: HashMap::new(),
            offers: HashMap::new(),
            ramps: Ramps::default(),
            doubtful: Deadlines::default(),
        }
    }

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
        now: Instant,
        random: u64,
    ) -> Result<Option<InFlight>, Unprepared> {
        let Some(offer) = self.offers.get(&requirement.name) else {
            return Ok(None);
        };
        for pool in offer.pools_for(tenant) {
            if let Some(picked) = pool.pick(&requirement.versions, selector, now, random)? {
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

    /// Keeps the candidates for a requirement at hand from now on, and readmits those whose ejection has ended; returns
    /// them. A name that nobody offers leaves no trace.
    pub(super) fn prepare(
        &mut self,
        tenant: Option<&TenantId>,
        requirement: &Requirement,
        now: Instant,
    ) -> Vec<Instance> {
        let Some(offer) = self.offers.get_mut(&requirement.name) else {
            return Vec::new();
        };
        let mut readmitted = Vec::new();
        for pool in offer.pools_for_mut(tenant) {
            readmitted.extend(pool.prepare(&requirement.versions, now));
        }
        readmitted
            .into_iter()
            .map(|candidate| {
                self.start_slowly(&candidate, now);
                candidate.instance().clone()
            })
            .collect()
    }

    /// Sets one aside for a capability, if it is there and the policy allows it; returns until when.
    pub(super) fn eject(
        &mut self,
        candidate: &Candidate,
        name: &CapabilityName,
        policy: &Ejection,
        now: Instant,
        random: u64,
    ) -> Option<Instant> {
        let known = self.candidates.get(candidate.instance())?;
        let tenant = &candidate.instance().tenant;
        let pool = self
            .offers
            .get_mut(name)?
            .existing_pool_of(tenant.as_ref())?;
        // Another candidate of the same instance has been registered anew, and owes nothing to this one.
        if !known.is_same(candidate) || !known.record().names().contains(name) {
            return None;
        }
        pool.eject(candidate, policy, now, random)
    }

    /// Applies a change and tells whether it may have changed who can be chosen.
    pub(super) fn apply(&mut self, change: Change, now: Instant) -> bool {
        match change {
            Change::Added(record) | Change::Updated(record) => self.put(record, now),
            Change::Reported {
                instance,
                load,
                health,
            } => self.put_if_there(&instance, now, |record| record.reported(load, health)),
            Change::Judged { instance, verdict } => {
                self.put_if_there(&instance, now, |record| record.judged(verdict))
            }
            Change::Removed { instance, .. } => self.remove(&instance),
            Change::Resync(records) => self.resync(records, false, now),
            Change::Reset(records) => self.resync(records, true, now),
        }
    }

    /// Returns when [`advance`](Self::advance) has something to do.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let (ramp, doubtful) = (self.ramps.next(), self.doubtful.next());
        ramp.into_iter().chain(doubtful).min()
    }

    /// Lets time pass: attends to some of what is due, and tells whether it may have changed who can be chosen.
    pub(super) fn advance(&mut self, now: Instant) -> bool {
        if let Some(slow_start) = self.slow_start {
            for _ in 0..MOST_AT_ONCE {
                let Some((instance, ramp)) = self.ramps.step(&slow_start, now) else {
                    break;
                };
                if let Some(candidate) = self.candidates.get(&instance).cloned() {
                    self.set_ramp(&candidate, ramp);
                }
            }
        }
        let mut changed = false;
        for _ in 0..MOST_AT_ONCE {
            let Some(instance) = self.doubtful.pop(now) else {
                break;
            };
            changed |= self.remove(&instance);
        }
        changed
    }

    /// Keeps those who are still there, with what is in flight at them.
    fn resync(&mut self, records: Vec<Arc<AgentRecord>>, is_reset: bool, now: Instant) -> bool {
        let there: HashSet<&Instance> = records.iter().map(|record| &record.instance).collect();
        let gone: Vec<Candidate> = self
            .candidates
            .values()
            .filter(|known| !known.is_doubtful() && !there.contains(known.instance()))
            .cloned()
            .collect();
        let certain = self.candidates.len() - self.doubtful.len();
        // Most of them at once: more likely the registry has started anew than they have all ended.
        let is_likely = is_reset || gone.len() * 2 > certain;
        let forgotten = !self.grace.is_zero() && is_likely;
        let mut changed = !gone.is_empty();
        for candidate in gone {
            if forgotten {
                self.doubtful.set(candidate.instance(), now + self.grace);
                candidate.set_doubtful(true);
                self.reseat(&candidate, &candidate.record(), candidate.record());
            } else {
                self.remove(candidate.instance());
            }
        }
        for record in records {
            changed |= self.put(record, now);
        }
        self.begun = true;
        changed
    }

    fn put_if_there(
        &mut self,
        instance: &Instance,
        now: Instant,
        change: impl FnOnce(&AgentRecord) -> AgentRecord,
    ) -> bool {
        let Some(candidate) = self.candidates.get(instance) else {
            return false;
        };
        let record = change(&candidate.record());
        self.put(Arc::new(record), now)
    }

    fn put(&mut self, record: Arc<AgentRecord>, now: Instant) -> bool {
        let Some(candidate) = self.candidates.get(&record.instance).cloned() else {
            self.put_new(record, now);
            return true;
        };
        let was_doubtful = self.doubtful.clear(&record.instance);
        candidate.set_doubtful(false);
        let old = candidate.record();
        let same_offer = Arc::ptr_eq(&old.capabilities, &record.capabilities)
            || old.capabilities == record.capabilities;
        let same_place = (old.standing(), old.weight, old.load.slots)
            == (record.standing(), record.weight, record.load.slots);
        if same_offer && same_place && !was_doubtful {
            candidate.set_record(record);
            return false;
        }
        let (before, after) = (old.standing(), record.standing());
        self.reseat(&candidate, &old, record);
        candidate.presence().set_lost(after == Standing::Evicted);
        if before == Standing::Evicted && after != Standing::Evicted {
            self.start_slowly(&candidate, now);
        }
        true
    }

    fn put_new(&mut self, record: Arc<AgentRecord>, now: Instant) {
        let candidate = Candidate::new(Arc::clone(&record));
        if record.standing() == Standing::Evicted {
            candidate.presence().set_lost(true);
        }
        self.candidates
            .insert(record.instance.clone(), candidate.clone());
        self.seat(&candidate, &record);
        // Whoever was there before the view began is not new.
        if self.begun {
            self.start_slowly(&candidate, now);
        }
    }

    fn remove(&mut self, instance: &Instance) -> bool {
        let Some(candidate) = self.candidates.remove(instance) else {
            return false;
        };
        self.unseat(&candidate, &candidate.record());
        self.ramps.forget(instance);
        self.doubtful.clear(instance);
        candidate.presence().set_lost(true);
        true
    }

    fn start_slowly(&mut self, candidate: &Candidate, now: Instant) {
        if let Some(slow_start) = self.slow_start {
            let ramp = self.ramps.begin(&slow_start, candidate.instance(), now);
            self.set_ramp(candidate, ramp);
        }
    }

    fn set_ramp(&mut self, candidate: &Candidate, ramp: u32) {
        candidate.set_ramp(ramp);
        let record = candidate.record();
        for name in record.names() {
            let offer = self.offers.get_mut(name);
            if let Some(pool) = offer.and_then(|offer| offer.existing_pool_of(record.tenant())) {
                pool.reweigh(candidate);
            }
        }
    }

    fn reseat(&mut self, candidate: &Candidate, old: &AgentRecord, new: Arc<AgentRecord>) {
        self.unseat(candidate, old);
        let names = new.names();
        candidate.keep_tracks(|name| names.contains(name));
        candidate.set_record(Arc::clone(&new));
        self.seat(candidate, &new);
    }

    fn seat(&mut self, candidate: &Candidate, record: &AgentRecord) {
        for name in record.names() {
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
        for name in record.names() {
            let Some(offer) = self.offers.get_mut(name) else {
                continue;
            };
            if let Some(pool) = offer.existing_pool_of(record.tenant()) {
                pool.remove(candidate);
            }
            if offer.is_empty_after_leaving(record.tenant()) {
                self.offers.remove(name);
            }
        }
    }
}

impl AgentRecord {
    /// The names that a record offers, each once.
    fn names(&self) -> BTreeSet<&CapabilityName> {
        self.capabilities
            .iter()
            .map(|capability| &capability.name)
            .collect()
    }
}
