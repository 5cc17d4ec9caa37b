//! Capabilities as a partition sees them: who offers them, which runs wait, how much is on the bus.

use std::sync::Arc;

use coditect_bus::QueueName;
use coditect_dag::{Class, RunId};
use coditect_registry::{AgentId, AgentRecord, Capability, Requirement, Standing};
use coditect_resilience::RetryBudget;
use rustc_hash::FxHashMap;

use super::Shared;
use super::listeners::Following;
use super::route::Routes;
use super::turns::Turns;
use crate::wire;
use crate::worker::Offer;

/// The capabilities that the runs of a partition call, by the number they have in the scheduler.
#[derive(Default)]
pub(super) struct Classes {
    known: FxHashMap<Requirement, Class>,
    /// Those whose tasks are for one agent alone.
    of_agents: FxHashMap<(AgentId, Requirement), Class>,
    classes: Vec<ClassState>,
}

/// One capability.
pub(super) struct ClassState {
    pub(super) requirement: Requirement,
    /// The only agent that may do its tasks; none if any may that offers it.
    pub(super) agent: Option<AgentId>,
    /// Agents of this process that offer it.
    pub(super) local: Vec<Offer>,
    /// The queue of the highest version offered; none if nobody offers it.
    pub(super) queue: Option<QueueName>,
    /// Whether it has been looked who offers it.
    is_known: bool,
    /// Follows who takes tasks from its queue, where no registry tells.
    following: Option<Following>,
    /// Whether no run has called it lately: then nobody looks who offers it.
    is_idle: bool,
    /// Whether it was said aloud that nobody does.
    pub(super) was_told: bool,
    /// The queues at which somebody who meets the requirement takes tasks.
    lines: Vec<QueueName>,
    /// Runs that have tasks ready, and how many of each tenant's tasks are on the bus.
    pub(super) ready: Turns<RunId>,
    /// What pays for its retries; none where they are not limited.
    pub(super) budget: Option<Arc<RetryBudget>>,
}

impl Classes {
    pub(super) fn intern(
        &mut self,
        requirement: &Requirement,
        agent: Option<&AgentId>,
        shared: &Shared,
    ) -> Class {
        let of_agent = agent.map(|agent| (agent.clone(), requirement.clone()));
        let known = match &of_agent {
            Some(of_agent) => self.of_agents.get(of_agent),
            None => self.known.get(requirement),
        };
        if let Some(class) = known.copied() {
            let state = self.get_mut(class);
            if std::mem::take(&mut state.is_idle) {
                state.look(shared, &shared.view.records());
            }
            return class;
        }
        let class = Class(u32::try_from(self.classes.len()).unwrap_or(u32::MAX));
        let mut local = shared.worker.offering(requirement);
        local.retain(|offer| agent.is_none_or(|agent| offer.hosted.id == *agent));
        let mut state = ClassState {
            requirement: requirement.clone(),
            agent: agent.cloned(),
            local,
            queue: None,
            is_known: true,
            following: None,
            is_idle: false,
            was_told: false,
            lines: Vec::new(),
            ready: Turns::new(shared.ports.settings.dispatch_window),
            budget: shared.budgets.budget(&requirement.name),
        };
        state.look(shared, &shared.view.records());
        self.classes.push(state);
        match of_agent {
            Some(of_agent) => self.of_agents.insert(of_agent, class),
            None => self.known.insert(requirement.clone(), class),
        };
        class
    }

    pub(super) fn get(&self, class: Class) -> &ClassState {
        &self.classes[class.0 as usize]
    }

    /// How many runs have tasks ready that nobody has taken, each as often as it waits for a capability and at a priority.
    pub(super) fn waiting(&self) -> usize {
        let classes = self.classes.iter();
        classes.map(|class| class.ready.waiting()).sum()
    }

    pub(super) fn get_mut(&mut self, class: Class) -> &mut ClassState {
        &mut self.classes[class.0 as usize]
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Class> + use<> {
        (0..u32::try_from(self.classes.len()).unwrap_or(u32::MAX)).map(Class)
    }

    pub(super) fn len(&self) -> usize {
        self.classes.len()
    }

    /// Looks anew at who offers what.
    pub(super) fn look(&mut self, shared: &Shared) {
        let records = shared.view.records();
        for class in self.classes.iter_mut().filter(|class| !class.is_idle) {
            class.look(shared, &records);
        }
    }

    /// Follows no longer who offers what no run calls.
    pub(super) fn let_go(&mut self, is_called: impl Fn(Class) -> bool) {
        for class in self.all() {
            if !is_called(class) {
                let state = self.get_mut(class);
                state.is_idle = true;
                state.following = None;
            }
        }
    }
}

impl ClassState {
    /// Says whether it is known that nobody offers the capability.
    pub(super) fn is_unserved(&self) -> bool {
        self.is_known && !self.has_local() && self.queue.is_none()
    }

    /// Says whether an agent of this process offers it.
    pub(super) fn has_local(&self) -> bool {
        let mut local = self.local.iter();
        local.any(|offer| !offer.hosted.standing.is_superseded())
    }

    fn look(&mut self, shared: &Shared, records: &[Arc<AgentRecord>]) {
        let offered = self.offered(records).map(|(_, capability)| capability);
        let mut matching: Vec<_> = offered.collect();
        matching.sort_by(|a, b| b.version.cmp(&a.version));
        let queues = matching.into_iter().map(wire::queue_of);
        self.lines = queues.filter_map(Result::ok).collect();
        self.lines.dedup();
        if let (true, Some(listeners)) = (self.lines.is_empty(), &shared.listeners) {
            let expected = wire::expected_queue(&self.requirement).ok();
            if self.following.as_ref().map(Following::queue) != expected.as_ref() {
                self.following = expected.as_ref().map(|queue| listeners.ask(queue));
            }
            let served = self.following.as_ref().map(Following::served);
            self.is_known = served != Some(None);
            let served = served.flatten().unwrap_or_default();
            self.lines.extend(expected.filter(|_| served));
        } else {
            self.following = None;
        }
        self.queue = self.lines.first().cloned();
        self.was_told &= self.queue.is_none();
    }

    /// What agents that work offer of what is required, and who does, as far as these records tell.
    pub(super) fn offered<'a>(
        &'a self,
        records: &'a [Arc<AgentRecord>],
    ) -> impl Iterator<Item = (&'a AgentId, &'a Capability)> {
        let of_agent = |record: &&'a Arc<AgentRecord>| {
            let wanted = self.agent.as_ref();
            record.standing() <= Standing::Degraded
                && wanted.is_none_or(|agent| record.agent() == agent)
        };
        let records = records.iter().filter(of_agent);
        let offered = records.flat_map(|record| {
            let capabilities = record.capabilities.iter();
            capabilities.map(|capability| (record.agent(), capability))
        });
        offered.filter(|(_, capability)| self.requirement.matches(capability))
    }

    /// What chooses the instances that its tasks go to; none where they go to whoever takes them.
    pub(super) fn routes<'a>(&self, routes: Option<&'a Arc<Routes>>) -> Option<&'a Arc<Routes>> {
        routes.filter(|routes| self.agent.is_none() && routes.include(&self.requirement))
    }

    /// Where to publish anew what waits at a queue that nobody takes tasks from any more.
    pub(super) fn moved(&self, from: &QueueName) -> Option<QueueName> {
        if self.lines.contains(from) {
            return None;
        }
        self.queue.clone()
    }

    /// The queue of the capability; while nobody offers it, the one where the next agent that does is
    /// most likely to look.
    pub(super) fn any_queue(&self) -> Option<QueueName> {
        let expected = || wire::expected_queue(&self.requirement).ok();
        self.queue.clone().or_else(expected)
    }
}
