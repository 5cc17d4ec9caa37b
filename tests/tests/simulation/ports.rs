//! The registry as one node sees it: in memory, behind a connection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coditect_core::registry::{
    AgentRecord, Error, ErrorKind, FencingToken, Filter, Health, Incarnation, Instance, Load,
    MemoryRegistry, Registration, Registry, Result, Role, Verdict, Watch,
};

use crate::life::Life;

/// One node's connection to the registry.
pub(crate) struct SimRegistry {
    pub(crate) inner: Arc<MemoryRegistry>,
    pub(crate) life: Arc<Life>,
}

impl SimRegistry {
    async fn asked<T>(&self, answer: impl Future<Output = Result<T>>) -> Result<T> {
        self.life.travel().await;
        let world = &self.life.world;
        if world.hits(world.faults.registry_refused) {
            self.life.note("the registry refuses", [0, 0]);
            let text = "the simulated registry does not answer";
            return Err(Error::new(ErrorKind::Unavailable, text));
        }
        let answer = answer.await;
        self.life.travel().await;
        answer
    }
}

impl fmt::Debug for SimRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimRegistry").finish_non_exhaustive()
    }
}

#[async_trait]
impl Registry for SimRegistry {
    async fn register(&self, record: AgentRecord, ttl: Duration) -> Result<Registration> {
        self.asked(self.inner.register(record, ttl)).await
    }

    async fn renew(&self, registration: &Registration, load: Load, health: Health) -> Result<()> {
        self.asked(self.inner.renew(registration, load, health))
            .await
    }

    async fn update(&self, registration: &Registration, record: AgentRecord) -> Result<()> {
        self.asked(self.inner.update(registration, record)).await
    }

    async fn judge(&self, instance: &Instance, verdict: Option<Verdict>) -> Result<()> {
        self.asked(self.inner.judge(instance, verdict)).await
    }

    async fn deregister(&self, registration: &Registration) -> Result<()> {
        self.asked(self.inner.deregister(registration)).await
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Arc<AgentRecord>>> {
        self.asked(self.inner.list(filter)).await
    }

    async fn watch(&self) -> Result<Watch> {
        self.asked(self.inner.watch()).await
    }

    async fn elect(
        &self,
        role: &Role,
        incarnation: Incarnation,
        ttl: Duration,
    ) -> Result<Option<FencingToken>> {
        self.asked(self.inner.elect(role, incarnation, ttl)).await
    }

    async fn resign(&self, role: &Role, incarnation: Incarnation) -> Result<()> {
        self.asked(self.inner.resign(role, incarnation)).await
    }
}
