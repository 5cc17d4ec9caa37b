//! A state store behind a guard.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use coditect_resilience::{Breaker, Randomness, Slots, SplitMix};
use coditect_state::{Capabilities, Limits, Result, StateObserver, StateStore, Transaction, Watch};

use super::circuit::Circuit;
use super::policy::GuardPolicy;
use super::set::Reporter;
use super::transaction::GuardedTransaction;

/// A state store whose calls are guarded: each call of a transaction is one. What a watch tells is not touched by it.
///
/// A commit is given up after its time only where the store knows of [unknown
/// outcomes](coditect_state::Capabilities::unknown_outcomes); elsewhere nobody would look for what became of it.
#[derive(Clone, Debug)]
pub struct GuardedStore {
    store: Arc<dyn StateStore>,
    circuit: Circuit,
    time_limit: Duration,
}

impl GuardedStore {
    /// Puts a guard before a store.
    #[must_use]
    pub fn new(store: Arc<dyn StateStore>, policy: GuardPolicy) -> Self {
        Self::with_randomness(store, policy, SplitMix::new())
    }

    pub(super) fn with_randomness(
        store: Arc<dyn StateStore>,
        policy: GuardPolicy,
        randomness: impl Randomness,
    ) -> Self {
        let breaker = Breaker::new(policy.breaker)
            .with_name("state")
            .with_observer(Arc::new(Reporter("state store")))
            .with_randomness(randomness);
        Self {
            store,
            circuit: Circuit::new("the state store", breaker, Slots::new(policy.bulkhead)),
            time_limit: policy.time_limit,
        }
    }

    /// Returns the breaker of its calls.
    #[must_use]
    pub fn breaker(&self) -> &Breaker {
        &self.circuit.breaker
    }

    /// Makes a handle on the same store with slots of its own, so that who uses it cannot keep others waiting. They share the
    /// breaker.
    #[must_use]
    pub fn with_own_slots(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            circuit: self.circuit.with_own_slots(),
            time_limit: self.time_limit,
        }
    }
}

#[async_trait]
impl StateStore for GuardedStore {
    async fn begin(&self) -> Result<Box<dyn Transaction>> {
        let begun = self.store.begin();
        let transaction = self.circuit.prepare(self.time_limit, begun).await?;
        let knows = self.store.capabilities().unknown_outcomes;
        Ok(Box::new(GuardedTransaction {
            transaction,
            circuit: self.circuit.clone(),
            time_limit: self.time_limit,
            commit_limit: knows.then_some(self.time_limit),
        }))
    }

    async fn watch(&self, key: &[u8]) -> Result<Watch> {
        let call = self.store.watch(key);
        self.circuit.prepare(self.time_limit, call).await
    }

    async fn now(&self) -> Result<SystemTime> {
        let call = self.store.now();
        self.circuit.call(Some(self.time_limit), call).await
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    fn limits(&self) -> Limits {
        self.store.limits()
    }

    fn jitter(&self) -> f64 {
        self.store.jitter()
    }

    fn observer(&self) -> &dyn StateObserver {
        self.store.observer()
    }
}
