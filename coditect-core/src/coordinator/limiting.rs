//! Limits over the whole deployment, as an owner keeps them: what counts, what waits, and what the store is asked for.

use std::sync::Arc;

use coditect_dag::{Class, RunId, TaskId};

use super::active::ActiveRun;
use super::clerk::News;
use super::gate::Plan;
use super::gates::Groups;
use super::owner::Owner;
use crate::limit::Group;
use crate::limit::board::Ask;
use crate::limit::kept::Told;

impl Owner {
    /// Takes over which limits there are, if they have changed.
    pub(super) fn follow_limits(&mut self) {
        let limits = &self.shared.ports.limits;
        if limits.generation() == self.gates.generation() {
            return;
        }
        let (known, generation) = limits.known();
        self.gates.set(known, generation);
        if self.gates.are_any() && self.gates.clerk.is_none() {
            self.start_clerk();
        }
        let mut counted = Vec::new();
        for (run, active) in &self.runs {
            for (task, flight) in &active.flights {
                counted.push((*run, *task, flight.class));
            }
        }
        for (run, task, class) in counted {
            let groups = self.groups_of(run, class);
            match self.gates.away.get(&(run, task)) {
                Some(absence) if absence.place().is_some() => self.gates.reserve(&groups),
                Some(absence) if !absence.counts() => {}
                _ => self.gates.enter(&groups),
            }
        }
    }

    /// What the tasks of a run that are of a capability count with.
    pub(super) fn groups_of(&self, run: RunId, class: Class) -> Groups {
        let Some(active) = self.runs.get(&run).filter(|_| self.gates.are_any()) else {
            return Groups::default();
        };
        let capability = self.classes.get(class).requirement.name.as_str();
        self.gates.groups(capability, &active.tenant)
    }

    /// An attempt is under way from now on.
    pub(super) fn took_off(&mut self, run: RunId, class: Class) {
        if self.gates.are_any() {
            let groups = self.groups_of(run, class);
            self.gates.enter(&groups);
        }
    }

    /// An attempt is under way no longer.
    pub(super) fn came_down(&mut self, run: RunId, task: TaskId, class: Class) {
        let absence = self.gates.away.remove(&(run, task));
        let groups = self.groups_of(run, class);
        match absence {
            Some(absence) if !absence.counts() => {
                if let Some(place) = absence.place() {
                    self.gates.leave_line(&groups, place);
                }
                self.gates.touch(&groups);
            }
            _ => self.gates.leave(&groups),
        }
    }

    /// Says whether a task of a capability may begin now, as far as the capability is concerned.
    pub(super) fn admits_class(&mut self, class: Class) -> bool {
        !self.gates.are_any() || {
            let capability = &self.classes.get(class).requirement.name;
            self.gates.admits_capability(capability.as_str(), self.now)
        }
    }

    /// Lets those stand in the queues again for whom there is room.
    pub(super) fn unblock_tenants(&mut self) {
        for (tenant, classes) in self.gates.unblock(self.now) {
            self.unblock(&tenant, classes);
        }
    }

    fn unblock(&mut self, tenant: &Arc<str>, classes: Vec<Class>) {
        for class in classes {
            // They are numbered anew when an owner has had no run for a while.
            if (class.0 as usize) < self.classes.len() {
                self.classes.get_mut(class).ready.unblock(tenant);
            }
        }
    }

    /// Takes in what the store has told.
    pub(super) fn told_of_shares(&mut self, news: News) {
        match news {
            News::Adopted(shares) => self.gates.adopt(shares),
            News::Called(groups) => self.gates.called(groups),
            News::NotTold(groups) => groups.iter().for_each(|group| self.gates.not_told(group)),
            News::Told(all) => {
                for (group, told) in all {
                    match told {
                        Told::Given(given) => self.gates.told(&group, given, self.now),
                        Told::Unlimited => self.gates.unlimited(&group, self.now),
                    }
                }
            }
            News::Done => {
                if let Some(clerk) = &mut self.gates.clerk {
                    clerk.is_busy = false;
                }
            }
            News::Stale => {
                tracing::warn!("a later owner has the partition's shares of limits");
                self.lost.cancel();
            }
        }
    }

    /// Asks for what is needed, and gives back what is not, once the records of this turn are committed.
    pub(super) fn settle_shares(&mut self) {
        if !self.gates.may_ask() {
            return;
        }
        let (partition, token) = {
            let lease = self.lease.lock();
            (lease.partition().get(), lease.token().get())
        };
        let mut asks = Vec::new();
        for group in self.gates.take_dirty(self.now) {
            let wanted = self.wanted(&group);
            match (self.gates.plan(&group, wanted, self.now), &group) {
                (
                    Plan::Ask {
                        in_use,
                        keeps,
                        wants,
                    },
                    _,
                ) => {
                    let ask = Ask {
                        partition,
                        token,
                        in_use,
                        keeps,
                        wants,
                    };
                    asks.push((group, ask));
                }
                // Those of its tasks that waited are gone.
                (Plan::Forget, Group::Tenant(tenant)) => {
                    let classes = self.gates.unblock_one(tenant);
                    self.unblock(tenant, classes);
                }
                _ => {}
            }
        }
        if let Some(clerk) = self.gates.clerk.as_mut().filter(|_| !asks.is_empty()) {
            clerk.ask(asks);
        }
    }

    /// How many tasks wait that could begin, or go on, but for a limit, as far as that is worth knowing.
    ///
    /// Of a tenant all count. Those of a capability count only where their tenants have shares: so of what is idle here the
    /// tenant's share comes first, and no two partitions wait for each other with what the other needs.
    fn wanted(&self, group: &Group) -> u32 {
        /// How many tenants are looked at that have no room.
        const LOOKS: usize = 256;
        let enough = self.gates.worth_counting(group);
        let mut count = match group {
            Group::Capability(_) => self.would_go_on(group),
            // For those room is kept.
            Group::Tenant(_) => 0,
        };
        let has_share = |tenant: &Arc<str>| self.gates.has_share(tenant, self.now);
        for class in self.classes.all() {
            let state = self.classes.get(class);
            let runs: Box<dyn Iterator<Item = &RunId>> = match group {
                Group::Capability(name) if *state.requirement.name.as_str() == **name => {
                    Box::new(state.ready.runs(LOOKS, has_share))
                }
                Group::Capability(_) => continue,
                Group::Tenant(tenant) => Box::new(state.ready.runs_of(tenant)),
            };
            for run in runs {
                let active = self.runs.get(run);
                let more = active.map_or(0, |active| may_begin(active, class));
                count = count.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
                if count >= enough {
                    return enough;
                }
            }
        }
        count.min(enough)
    }

    /// How many attempts would go on that wait for a capability's share alone.
    fn would_go_on(&self, group: &Group) -> u32 {
        let waits = |attempt: &&(RunId, TaskId)| {
            let groups = self.groups_of_attempt(**attempt);
            groups.iter().any(|one| one == group)
                && self
                    .runs
                    .get(&attempt.0)
                    .is_some_and(|active| self.gates.has_share(&active.tenant, self.now))
        };
        let count = self.gates.line.values().filter(waits).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// How many tasks of a run could begin now.
fn may_begin(active: &ActiveRun, class: Class) -> usize {
    let ready = active.machine.scheduler().ready_len(class);
    let free = active.max_concurrency.map(|most| {
        let most = most.get() as usize;
        most.saturating_sub(active.flights.len())
    });
    free.map_or(ready, |free| free.min(ready))
}
