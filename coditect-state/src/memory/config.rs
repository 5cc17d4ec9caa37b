//! How a memory store is made.

use std::sync::Arc;

use super::MemoryStore;
use crate::observer::{NoObserver, StateObserver};
use crate::store::Limits;

/// Makes a [`MemoryStore`].
#[derive(Debug, Clone)]
pub struct MemoryStoreBuilder {
    pub(super) limits: Limits,
    pub(super) history: u64,
    pub(super) observer: Arc<dyn StateObserver>,
}

impl MemoryStoreBuilder {
    /// How many commits a transaction may fall behind when nothing else is asked for.
    pub const DEFAULT_HISTORY: u64 = 100_000;

    pub(super) fn new() -> Self {
        Self {
            limits: Limits::default(),
            history: Self::DEFAULT_HISTORY,
            observer: Arc::new(NoObserver),
        }
    }

    /// Sets the greatest sizes that the store takes.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how many commits a transaction may fall behind its first read before it gets a conflict; at least one.
    #[must_use]
    pub fn with_history(mut self, commits: u64) -> Self {
        self.history = commits.max(1);
        self
    }

    /// Sets who is told of commits, conflicts and leases.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn StateObserver>) -> Self {
        self.observer = observer;
        self
    }

    /// Makes the store.
    pub fn build(self) -> MemoryStore {
        MemoryStore::from_builder(self)
    }
}
