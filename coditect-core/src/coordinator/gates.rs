//! The limits that tasks of a partition come under: which there are, who stands before them, and who is away.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coditect_dag::{Class, RunId, TaskId, Timestamp};
use rustc_hash::{FxHashMap, FxHashSet};

use super::absence::Absence;
use super::clerk::Clerk;
use super::gate::{Gate, Plan};
use crate::limit::Group;
use crate::limit::board::Given;
use crate::limit::known::Known;

/// Whose open attempts are counted with a task's: those of its tenant, and those of its capability.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    tenant: Option<Group>,
    capability: Option<Group>,
}

/// All gates of a partition, and what stands before them.
#[derive(Debug, Default)]
pub(super) struct Gates {
    known: Arc<Known>,
    generation: u64,
    gates: FxHashMap<Group, Gate>,
    /// When each of them is to be looked at again, if it is.
    wakes: FxHashMap<Group, Timestamp>,
    /// Gates that are to be looked at when the turn is over.
    dirty: FxHashSet<Group>,
    timers: BTreeSet<(Timestamp, Group)>,
    /// Tenants that stand in no queue of these capabilities, as they have no room.
    blocked: FxHashMap<Arc<str>, Vec<Class>>,
    /// Attempts whose handlers have said that they wait for others, or that they go on.
    pub(super) away: FxHashMap<(RunId, TaskId), Absence>,
    /// Those of them that would go on, in the order in which they came.
    pub(super) line: BTreeMap<u64, (RunId, TaskId)>,
    last: u64,
    /// Talks to the store, from the first limit on.
    pub(super) clerk: Option<Clerk>,
    /// Whether it is known what the former owner had.
    pub(super) is_adopted: bool,
}

impl Groups {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.tenant.iter().chain(&self.capability)
    }
}

impl Gates {
    /// Says whether there is any limit.
    pub(super) fn are_any(&self) -> bool {
        !self.known.is_empty()
    }

    /// Says whether anything is kept that attempts count for, or that was said of them.
    pub(super) fn are_used(&self) -> bool {
        self.are_any() || !self.away.is_empty()
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Takes over what limits there are. What is open is to be counted anew.
    pub(super) fn set(&mut self, known: Arc<Known>, generation: u64) {
        (self.known, self.generation) = (known, generation);
        for (group, gate) in &mut self.gates {
            gate.recount();
            gate.call();
            self.dirty.insert(group.clone());
        }
    }

    pub(super) fn groups(&self, capability: &str, tenant: &Arc<str>) -> Groups {
        if !self.are_any() {
            return Groups::default();
        }
        let limited = |group: Group| self.known.limit(&group).is_some().then_some(group);
        Groups {
            tenant: limited(Group::Tenant(Arc::clone(tenant))),
            capability: limited(Group::Capability(capability.into())),
        }
    }

    fn gate(&mut self, group: &Group) -> &mut Gate {
        self.dirty.insert(group.clone());
        self.gates.entry(group.clone()).or_default()
    }

    /// An attempt counts from now on.
    pub(super) fn enter(&mut self, groups: &Groups) {
        for group in groups.iter() {
            self.gate(group).enter();
        }
    }

    /// An attempt counts no longer.
    pub(super) fn leave(&mut self, groups: &Groups) {
        for group in groups.iter() {
            self.gate(group).leave();
        }
    }

    /// An attempt would count again.
    pub(super) fn line_up(&mut self, groups: &Groups, attempt: (RunId, TaskId)) -> u64 {
        self.reserve(groups);
        self.last += 1;
        self.line.insert(self.last, attempt);
        self.last
    }

    /// An attempt has its place in the line no longer.
    pub(super) fn leave_line(&mut self, groups: &Groups, place: u64) {
        if self.line.remove(&place).is_none() {
            return;
        }
        if let Some(tenant) = &groups.tenant {
            self.gate(tenant).release();
        }
        self.touch(groups);
    }

    /// Keeps room for an attempt that stands in the line. Of its capability it takes what is there when its tenant has room, so
    /// that none holds a capability's share while it waits for its tenant's, which another may hold that waits for the capability's.
    pub(super) fn reserve(&mut self, groups: &Groups) {
        if let Some(tenant) = &groups.tenant {
            self.gate(tenant).reserve();
        }
        if let Some(capability) = &groups.capability {
            self.gate(capability);
        }
    }

    /// Says whether an attempt may count again.
    pub(super) fn let_return(&mut self, groups: &Groups, now: Timestamp) -> bool {
        groups.iter().all(|group| {
            let has_room = self.gates.get(group).is_some_and(|gate| gate.has_room(now));
            if !has_room {
                self.gate(group);
            }
            has_room
        })
    }

    /// Says whether a tenant has a share, so that a share of a capability would be of use to its tasks.
    pub(super) fn has_share(&self, tenant: &Arc<str>, now: Timestamp) -> bool {
        let group = Group::Tenant(Arc::clone(tenant));
        let gate = self.gates.get(&group);
        self.known.limit(&group).is_none() || gate.is_some_and(|gate| gate.is_usable(now))
    }

    /// Says whether a task of a capability may begin; what is asked for in vain is asked for in the store.
    pub(super) fn admits_capability(&mut self, capability: &str, now: Timestamp) -> bool {
        let group = Group::Capability(capability.into());
        if self.known.limit(&group).is_none() {
            return true;
        }
        let gate = self.gates.get(&group);
        let has_room = gate.is_some_and(|gate| gate.has_room_for_new(now));
        if !has_room {
            self.gate(&group);
        }
        has_room
    }

    /// The same of a task of a tenant.
    pub(super) fn admits_tenant(&mut self, tenant: &Arc<str>, now: Timestamp) -> bool {
        let group = Group::Tenant(Arc::clone(tenant));
        if self.known.limit(&group).is_none() {
            return true;
        }
        let gate = self.gates.get(&group);
        let has_room = gate.is_some_and(|gate| gate.has_room_for_new(now));
        if !has_room {
            self.gate(&group);
        }
        has_room
    }

    /// Notes that a tenant stands in no queue of a capability until there is room.
    pub(super) fn block(&mut self, tenant: &Arc<str>, class: Class) {
        let classes = self.blocked.entry(Arc::clone(tenant)).or_default();
        if !classes.contains(&class) {
            classes.push(class);
        }
    }

    /// Takes the tenants for whom there is room again, with the capabilities in whose queues they are to stand.
    pub(super) fn unblock(&mut self, now: Timestamp) -> Vec<(Arc<str>, Vec<Class>)> {
        let mut open = Vec::new();
        if self.blocked.is_empty() {
            return open;
        }
        // Only a gate at which something has happened can have room now that it had not.
        for group in &self.dirty {
            let Group::Tenant(tenant) = group else {
                continue;
            };
            let has_room = self.known.limit(group).is_none()
                || self
                    .gates
                    .get(group)
                    .is_some_and(|gate| gate.has_room_for_new(now));
            if has_room {
                open.extend(self.blocked.remove_entry(tenant));
            }
        }
        open
    }

    /// Takes the capabilities in whose queues a tenant does not stand.
    pub(super) fn unblock_one(&mut self, tenant: &str) -> Vec<Class> {
        self.blocked.remove(tenant).unwrap_or_default()
    }

    /// Notes that what stands before these gates may be another now.
    pub(super) fn touch(&mut self, groups: &Groups) {
        for group in groups
            .iter()
            .filter(|group| self.gates.contains_key(*group))
        {
            self.dirty.insert(group.clone());
        }
    }

    /// Says whether the store can be asked for something now.
    pub(super) fn may_ask(&self) -> bool {
        let clerk = self.clerk.as_ref();
        self.is_adopted && clerk.is_some_and(|clerk| !clerk.is_busy)
    }

    /// When a gate is to be looked at again.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let first = self.timers.first().filter(|_| self.may_ask());
        first.map(|(at, _)| *at)
    }

    /// The gates that are to be looked at.
    pub(super) fn take_dirty(&mut self, now: Timestamp) -> Vec<Group> {
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, group)) = self.timers.pop_first() {
                self.wakes.remove(&group);
                self.dirty.insert(group);
            }
        }
        self.dirty.drain().collect()
    }

    /// How many waiting tasks are worth counting.
    pub(super) fn worth_counting(&self, group: &Group) -> u32 {
        /// Enough to keep a partition busy until it asks again.
        const MOST: u32 = 256;
        /// So that what a first task brings with it is asked for at once.
        const LEAST: u32 = 16;
        let enough = self.gates.get(group).map_or(0, Gate::enough);
        enough.clamp(LEAST, MOST)
    }

    /// Decides what to do about a gate before which so many tasks wait.
    pub(super) fn plan(&mut self, group: &Group, wanted: u32, now: Timestamp) -> Plan {
        let limit = self.known.limit(group);
        let Some(gate) = self.gates.get_mut(group) else {
            return Plan::Nothing;
        };
        let plan = gate.plan(wanted, limit.unwrap_or(0), now);
        match plan {
            Plan::Later(at) => self.look_again(group, at),
            Plan::Forget => self.forget(group),
            Plan::Ask { .. } | Plan::Nothing => {}
        }
        plan
    }

    fn look_again(&mut self, group: &Group, at: Timestamp) {
        let known = self.wakes.get(group).copied();
        // Looked at sooner, it says again when it is to be looked at.
        if known.is_some_and(|known| known <= at) {
            return;
        }
        if let Some(known) = known {
            self.timers.remove(&(known, group.clone()));
        }
        self.wakes.insert(group.clone(), at);
        self.timers.insert((at, group.clone()));
    }

    fn forget(&mut self, group: &Group) {
        self.gates.remove(group);
        if let Some(known) = self.wakes.remove(group) {
            self.timers.remove(&(known, group.clone()));
        }
    }

    /// Takes over what the former owner had.
    pub(super) fn adopt(&mut self, all: Vec<(Group, u32)>) {
        for (group, held) in all {
            self.gate(&group).adopt(held);
        }
        self.dirty.extend(self.gates.keys().cloned());
        self.is_adopted = true;
    }

    /// Takes in that somebody else waits, or has left something.
    pub(super) fn called(&mut self, groups: Vec<Group>) {
        for group in groups {
            self.gate(&group).call();
        }
    }

    pub(super) fn told(&mut self, group: &Group, given: Given, now: Timestamp) {
        self.gate(group).told(given, now);
    }

    /// Takes in that a group is not limited.
    pub(super) fn unlimited(&mut self, group: &Group, now: Timestamp) {
        match self.known.limit(group) {
            // It was, or is again: this process hears of it soon.
            Some(_) => self.gate(group).unlimited(now),
            None => self.forget(group),
        }
    }

    pub(super) fn not_told(&mut self, group: &Group) {
        self.gate(group).not_told();
    }
}
