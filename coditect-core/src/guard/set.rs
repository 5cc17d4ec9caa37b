//! The guards of a runtime: which ports have one, and what is told of their breakers.

use std::sync::Arc;

use coditect_bus::MessageBus;
use coditect_registry::Registry;
use coditect_resilience::{Breaker, BreakerObserver, BreakerState, SplitMix, Transition};
use coditect_state::StateStore;

use super::{GuardPolicy, GuardedBus, GuardedRegistry, GuardedStore};

/// How the ports of a runtime are guarded, where that was said: `Some(None)` is not at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guards {
    pub(crate) bus: Option<Option<GuardPolicy>>,
    pub(crate) registry: Option<Option<GuardPolicy>>,
    pub(crate) state: Option<Option<GuardPolicy>>,
}

/// The guards that there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct GuardSet {
    bus: Option<Arc<GuardedBus>>,
    registry: Option<Arc<GuardedRegistry>>,
    state: Option<Arc<GuardedStore>>,
}

impl GuardSet {
    /// Guards a bus: where nothing was said, one that outlives this process.
    pub(crate) fn bus(
        &mut self,
        bus: Arc<dyn MessageBus>,
        guards: &Guards,
        randomness: SplitMix,
    ) -> Arc<dyn MessageBus> {
        let is_remote = bus.capabilities().persistent;
        let policy = guards
            .bus
            .unwrap_or_else(|| is_remote.then(GuardPolicy::bus));
        let Some(policy) = policy else {
            return bus;
        };
        let guarded = Arc::new(GuardedBus::with_randomness(bus, policy, randomness));
        self.bus = Some(Arc::clone(&guarded));
        guarded
    }

    /// Guards a registry: where nothing was said, one that is not of this process alone.
    pub(crate) fn registry(
        &mut self,
        registry: Arc<dyn Registry>,
        is_private: bool,
        guards: &Guards,
        randomness: SplitMix,
    ) -> Arc<dyn Registry> {
        let policy = guards
            .registry
            .unwrap_or_else(|| (!is_private).then(GuardPolicy::registry));
        let Some(policy) = policy else {
            return registry;
        };
        let guarded = GuardedRegistry::with_randomness(registry, policy, randomness);
        let guarded = Arc::new(guarded);
        self.registry = Some(Arc::clone(&guarded));
        guarded
    }

    /// Guards a store: where nothing was said, one that processes share.
    pub(crate) fn state(
        &mut self,
        store: Arc<dyn StateStore>,
        guards: &Guards,
        randomness: SplitMix,
    ) -> Arc<dyn StateStore> {
        let is_remote = store.capabilities().shared;
        let policy = guards
            .state
            .unwrap_or_else(|| is_remote.then(GuardPolicy::state));
        let Some(policy) = policy else {
            return store;
        };
        let guarded = Arc::new(GuardedStore::with_randomness(store, policy, randomness));
        self.state = Some(Arc::clone(&guarded));
        guarded
    }

    /// The store as agents use it: what they do with it holds up nobody who carries runs forward.
    pub(crate) fn for_agents(&self, store: &Arc<dyn StateStore>) -> Arc<dyn StateStore> {
        match &self.state {
            Some(guarded) => Arc::new(guarded.with_own_slots()),
            None => Arc::clone(store),
        }
    }

    /// The breakers of the ports, and those of destinations that are not simply closed.
    pub(crate) fn breakers(&self) -> Vec<Breaker> {
        let bus = self.bus.iter().map(|guarded| guarded.breaker().clone());
        let destinations = self.bus.iter().flat_map(|guarded| guarded.tripped());
        let registry = self.registry.iter().map(|guarded| guarded.breaker());
        let state = self.state.iter().map(|guarded| guarded.breaker());
        let of_ports = bus.chain(registry.cloned()).chain(state.cloned());
        of_ports.chain(destinations).collect()
    }
}

/// Writes to the log when a port is left alone, and when it is used again.
pub(super) struct Reporter(pub(super) &'static str);

impl BreakerObserver for Reporter {
    fn on_transition(&self, name: &str, transition: Transition) {
        let Transition { from, to, cause } = transition;
        let port = self.0;
        match (from, to) {
            (BreakerState::Closed | BreakerState::ForcedClosed, to) if !to.is_flowing() => {
                tracing::warn!(
                    port,
                    name,
                    ?to,
                    ?cause,
                    "the breaker opened: calls are refused until one that is tried succeeds"
                );
            }
            (from, BreakerState::Closed) if !from.is_flowing() => {
                tracing::info!(port, name, ?cause, "the breaker closed: it is used again");
            }
            _ => tracing::debug!(port, name, ?from, ?to, ?cause, "the breaker changed"),
        }
    }
}
