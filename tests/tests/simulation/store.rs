//! The store as one node sees it: in memory, behind a connection on which commits meet others, fail, or are not sure.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use coditect_core::state::{
    Capabilities, CommitVersion, Error, ErrorKind, Limits, MemoryStore, Page, Range, Result,
    Stamped, StateStore, Transaction, Watch,
};

use crate::life::Life;
use crate::planted::Planted;
use crate::world::World;

/// One node's connection to the store.
pub(crate) struct SimStore {
    pub(crate) inner: Arc<MemoryStore>,
    pub(crate) life: Arc<Life>,
    pub(crate) planted: Option<Planted>,
}

/// A transaction of a node. It reads without delay; what takes time, and may fail, is its beginning and its commit.
struct SimTransaction {
    inner: Box<dyn Transaction>,
    /// One that has written nothing, to be committed in its place.
    instead: Option<Box<dyn Transaction>>,
    life: Arc<Life>,
}

impl SimStore {
    async fn asked(&self) -> Result<()> {
        self.life.travel().await;
        let world = &self.life.world;
        if world.hits(world.faults.store_refused) {
            self.life.note("the store refuses", [0, 0]);
            return Err(unavailable());
        }
        Ok(())
    }
}

fn unavailable() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the simulated store does not answer",
    )
}

impl fmt::Debug for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimStore").finish_non_exhaustive()
    }
}

impl fmt::Debug for SimTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimTransaction").finish_non_exhaustive()
    }
}

#[async_trait]
impl StateStore for SimStore {
    async fn begin(&self) -> Result<Box<dyn Transaction>> {
        self.asked().await?;
        let forgets = self.planted == Some(Planted::StoreForgetsCommits);
        let instead = match forgets && self.life.world.below(3) == 0 {
            true => Some(self.inner.begin().await?),
            false => None,
        };
        Ok(Box::new(SimTransaction {
            inner: self.inner.begin().await?,
            instead,
            life: Arc::clone(&self.life),
        }))
    }

    async fn watch(&self, key: &[u8]) -> Result<Watch> {
        self.asked().await?;
        self.inner.watch(key).await
    }

    async fn now(&self) -> Result<SystemTime> {
        self.asked().await?;
        Ok(World::epoch() + self.life.world.elapsed())
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities().with_unknown_outcomes(true)
    }

    fn jitter(&self) -> f64 {
        self.life.world.below(1_000) as f64 / 1_000.0
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }
}

#[async_trait]
impl Transaction for SimTransaction {
    async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>> {
        self.inner.get(key).await
    }

    async fn get_snapshot(&mut self, key: &[u8]) -> Result<Option<Bytes>> {
        self.inner.get_snapshot(key).await
    }

    async fn range(&mut self, range: Range) -> Result<Page> {
        self.inner.range(range).await
    }

    fn set(&mut self, key: &[u8], value: Bytes) -> Result<()> {
        self.inner.set(key, value)
    }

    fn set_stamped_key(&mut self, key: Stamped, value: Bytes) -> Result<()> {
        self.inner.set_stamped_key(key, value)
    }

    fn set_stamped_value(&mut self, key: &[u8], value: Stamped) -> Result<()> {
        self.inner.set_stamped_value(key, value)
    }

    fn clear(&mut self, key: &[u8]) -> Result<()> {
        self.inner.clear(key)
    }

    fn clear_range(&mut self, begin: &[u8], end: &[u8]) -> Result<()> {
        self.inner.clear_range(begin, end)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    async fn commit(self: Box<Self>) -> Result<CommitVersion> {
        let Self {
            inner,
            instead,
            life,
        } = *self;
        let inner = instead.unwrap_or(inner);
        life.travel().await;
        let (world, faults) = (&life.world, &life.world.faults);
        if world.hits(faults.store_conflict) {
            life.note("a commit meets another", [0, 0]);
            let text = "somebody else was faster in the simulated store";
            return Err(Error::new(ErrorKind::Conflict, text));
        }
        if world.hits(faults.store_refused) {
            life.note("a commit is refused", [0, 0]);
            return Err(unavailable());
        }
        let unsure = world.hits(faults.store_unsure);
        if unsure && world.below(2) == 0 {
            life.note("a commit is unsure", [0, 0]);
            let text = "the simulated store was not heard";
            return Err(Error::new(ErrorKind::OutcomeUnknown, text));
        }
        let committed = inner.commit().await;
        life.travel().await;
        if unsure {
            life.note("a commit is unsure", [1, 0]);
            let text = "the answer of the simulated store was lost";
            return Err(Error::new(ErrorKind::OutcomeUnknown, text));
        }
        committed
    }
}
