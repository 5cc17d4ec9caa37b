//! What a breaker tells about itself.

use std::sync::Arc;

use super::machine::BreakerState;

/// A change of a breaker's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Transition {
    /// The state before.
    pub from: BreakerState,
    /// The state after.
    pub to: BreakerState,
    /// Why it changed.
    pub cause: Cause,
}

/// Why a breaker changed its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The outcomes of its own calls or probes.
    Outcomes,
    /// Its open time was over when a call came.
    Elapsed,
    /// An operator, or the program itself, said so.
    Operator,
    /// Another process found out and said so.
    Shared,
}

/// Is told what breakers do. Every method does nothing unless it is overridden.
///
/// It is called on the path of the call, without a lock held: count, and return. `name` is the breaker's, empty unless
/// it was given one. Two threads may report at once, so that the order of reports is not always that of events.
pub trait BreakerObserver: Send + Sync + 'static {
    /// A breaker changed its state.
    fn on_transition(&self, name: &str, transition: Transition) {
        let _ = (name, transition);
    }

    /// A call was refused.
    fn on_refused(&self, name: &str, state: BreakerState) {
        let _ = (name, state);
    }

    /// A breaker was forgotten, in this state, to make room for another key.
    fn on_evicted(&self, name: &str, state: BreakerState) {
        let _ = (name, state);
    }
}

/// Observes nothing.
impl BreakerObserver for () {}

/// Tells several observers, in their order.
impl BreakerObserver for Vec<Arc<dyn BreakerObserver>> {
    fn on_transition(&self, name: &str, transition: Transition) {
        self.iter()
            .for_each(|one| one.on_transition(name, transition));
    }

    fn on_refused(&self, name: &str, state: BreakerState) {
        self.iter().for_each(|one| one.on_refused(name, state));
    }

    fn on_evicted(&self, name: &str, state: BreakerState) {
        self.iter().for_each(|one| one.on_evicted(name, state));
    }
}
