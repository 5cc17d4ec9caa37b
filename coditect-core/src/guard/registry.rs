//! A registry behind a guard.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coditect_registry::{
    AgentRecord, Catalogue, Error, ErrorKind, FencingToken, Filter, Health, Incarnation, Instance,
    Load, Registration, Registry, Requirement, Result, Role, Verdict, Watch,
};
use coditect_resilience::{Breaker, Randomness, Slots, SplitMix};

use super::circuit::Circuit;
use super::policy::GuardPolicy;
use super::set::Reporter;

/// A registry whose calls are guarded. What a watch tells is not touched by it.
#[derive(Clone, Debug)]
pub struct GuardedRegistry {
    registry: Arc<dyn Registry>,
    circuit: Circuit,
    time_limit: Duration,
}

impl GuardedRegistry {
    /// Puts a guard before a registry.
    #[must_use]
    pub fn new(registry: Arc<dyn Registry>, policy: GuardPolicy) -> Self {
        Self::with_randomness(registry, policy, SplitMix::new())
    }

    pub(super) fn with_randomness(
        registry: Arc<dyn Registry>,
        policy: GuardPolicy,
        randomness: impl Randomness,
    ) -> Self {
        let breaker = Breaker::new(policy.breaker)
            .with_name("registry")
            .with_observer(Arc::new(Reporter("registry")))
            .with_randomness(randomness);
        Self {
            registry,
            circuit: Circuit::new("the registry", breaker, Slots::new(policy.bulkhead)),
            time_limit: policy.time_limit,
        }
    }

    /// Returns the breaker of its calls.
    #[must_use]
    pub fn breaker(&self) -> &Breaker {
        &self.circuit.breaker
    }

    /// Makes a call that changes something, or may have when it is given up.
    async fn change<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.circuit.call(Some(self.time_limit), call).await
    }

    async fn read<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let late = |text| Error::new(ErrorKind::Unavailable, text);
        let limit = Some(self.time_limit);
        self.circuit.call_or(limit, call, late).await
    }
}

#[async_trait]
impl Registry for GuardedRegistry {
    async fn register(&self, record: AgentRecord, ttl: Duration) -> Result<Registration> {
        self.change(self.registry.register(record, ttl)).await
    }

    async fn renew(&self, registration: &Registration, load: Load, health: Health) -> Result<()> {
        let call = self.registry.renew(registration, load, health);
        self.change(call).await
    }

    async fn update(&self, registration: &Registration, record: AgentRecord) -> Result<()> {
        self.change(self.registry.update(registration, record))
            .await
    }

    async fn judge(&self, instance: &Instance, verdict: Option<Verdict>) -> Result<()> {
        self.change(self.registry.judge(instance, verdict)).await
    }

    async fn elect(
        &self,
        role: &Role,
        candidate: Incarnation,
        ttl: Duration,
    ) -> Result<Option<FencingToken>> {
        self.change(self.registry.elect(role, candidate, ttl)).await
    }

    async fn resign(&self, role: &Role, candidate: Incarnation) -> Result<()> {
        self.change(self.registry.resign(role, candidate)).await
    }

    async fn deregister(&self, registration: &Registration) -> Result<()> {
        self.change(self.registry.deregister(registration)).await
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Arc<AgentRecord>>> {
        self.read(self.registry.list(filter)).await
    }

    async fn find(&self, requirement: &Requirement) -> Result<Vec<Arc<AgentRecord>>> {
        self.read(self.registry.find(requirement)).await
    }

    async fn catalogue(&self, filter: &Filter) -> Result<Catalogue> {
        self.read(self.registry.catalogue(filter)).await
    }

    async fn watch(&self) -> Result<Watch> {
        let call = self.registry.watch();
        self.circuit.prepare(self.time_limit, call).await
    }
}
