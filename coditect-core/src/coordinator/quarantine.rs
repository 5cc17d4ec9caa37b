//! Work that is held because whoever would do it keeps failing: where else it may go, and what is tried.

use std::sync::Arc;
use std::time::Duration;

use coditect_dag::{Class, RunId, TaskId};
use coditect_registry::Requirement;

use super::classes::ClassState;
use super::owner::Owner;
use crate::agent::Performer;
use crate::failure::{Failure, FailureKind};
use crate::ports::Dispatch;
use crate::quarantine::{Pattern, ProbeGuard};
use crate::worker::{Ended, Slot};

/// After how long an attempt is looked at again that failed for what its agent is held for.
const SPARED_FOR: Duration = Duration::from_secs(1);

/// When it is looked again whether there is something to try, while somebody else tries.
const LOOK: Duration = Duration::from_secs(1);

/// Where a task may go beside those that are held.
pub(super) enum Beside {
    Slot(Slot, Option<ProbeGuard>),
    /// To the queue of the capability, where those that are held leave it to others.
    Bus(Option<ProbeGuard>),
    None,
}

impl Owner {
    /// Where a task of a capability may go, some of whose agents are held; `on_bus` says whether it may go over the bus at all.
    pub(super) fn beside(&mut self, class: Class, held: &[Pattern], on_bus: bool) -> Beside {
        let quarantines = Arc::clone(&self.shared.quarantines);
        let state = self.classes.get(class);
        let local = self.shared.ports.settings.dispatch != Dispatch::Bus;
        if local {
            for offer in &state.local {
                let pattern = offer.pattern();
                let is_held = held.contains(&pattern);
                if is_held && !quarantines.may_probe(&pattern) {
                    continue;
                }
                let Some(slot) = offer.try_slot() else {
                    offer.notify_free(&self.wake);
                    continue;
                };
                if !is_held {
                    return Beside::Slot(slot, None);
                }
                if let Some(probe) = quarantines.probe(&pattern) {
                    return Beside::Slot(slot, Some(probe));
                }
            }
        }
        let beside = match on_bus {
            true => self.beside_on_bus(state, held),
            false => Beside::None,
        };
        if matches!(beside, Beside::None) {
            let left = quarantines.next_probe(held).filter(|left| !left.is_zero());
            let at = self.now.saturating_add(left.unwrap_or(LOOK));
            self.held_until = Some(self.held_until.map_or(at, |known| known.min(at)));
        }
        beside
    }

    fn beside_on_bus(&self, class: &ClassState, held: &[Pattern]) -> Beside {
        let quarantines = &self.shared.quarantines;
        // A registry of this process alone says nothing of others.
        let knows_all = self.shared.listeners.is_none();
        let records = self.shared.view.records();
        let offered = class.offered(&records);
        let (mut others, mut tried) = (!knows_all, None);
        for (agent, capability) in offered {
            let pattern = Pattern::of_offer(agent, capability);
            match held.contains(&pattern) {
                true if tried.is_none() => tried = quarantines.probe(&pattern),
                true => {}
                false => others = true,
            }
        }
        match (tried, others) {
            (Some(probe), _) => Beside::Bus(Some(probe)),
            (None, true) => Beside::Bus(None),
            (None, false) => Beside::None,
        }
    }

    /// Whom a task on the bus is not for: those that are held, but for the one that it tries.
    pub(super) fn avoided(
        &self,
        run: RunId,
        task: TaskId,
        requirement: &Requirement,
    ) -> Option<String> {
        let held = self.shared.quarantines.held_for(requirement);
        if held.is_empty() {
            return None;
        }
        let flight = self.runs.get(&run)?.flights.get(&task);
        let tried = flight.and_then(|flight| flight.probe.as_ref());
        let avoided = held
            .iter()
            .filter(|one| tried.is_none_or(|probe| probe.pattern() != *one));
        let avoided: Vec<_> = avoided.cloned().collect();
        (!avoided.is_empty()).then(|| Pattern::list(&avoided))
    }

    /// Takes in how an attempt ended, and with it what it tried.
    pub(super) fn told_quarantines(
        &self,
        by: Option<&Performer>,
        ended: &Ended,
        probe: Option<ProbeGuard>,
    ) {
        let passed = match ended {
            Ended::Output(_) | Ended::Plan(_) => true,
            Ended::Failed { failure, .. }
                if matches!(failure.kind, FailureKind::Cancelled | FailureKind::Lost) =>
            {
                return;
            }
            Ended::Failed { .. } => false,
        };
        match (probe, by) {
            (Some(probe), by) => probe.settle(by, passed),
            (None, Some(by)) if passed => self.shared.quarantines.succeeded(by),
            _ => {}
        }
    }

    /// After how long a task is looked at again that has failed for what its agent is held for, instead of being spent.
    pub(super) fn spared(&self, failure: &Failure) -> Option<Duration> {
        self.shared
            .quarantines
            .failed(failure)
            .then_some(SPARED_FOR)
    }
}
