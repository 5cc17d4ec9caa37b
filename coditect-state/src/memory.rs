//! The store in memory: serializable, optimistic, gone with the process.
//!
//! Keys keep their older values for as long as a transaction may read them, so readers see one state
//! without holding anybody up. A commit takes one lock, checks that what the transaction read is
//! unchanged since its first read, and applies its writes under the next version. A transaction
//! that has fallen behind by more than the history gets a conflict, so an idle one cannot make memory grow for ever.

mod apply;
mod config;
mod history;
mod transaction;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

use self::apply::apply;
pub use self::config::MemoryStoreBuilder;
use self::history::History;
use self::transaction::MemoryTransaction;
use crate::draft::Buffer;
use crate::error::Result;
use crate::observer::StateObserver;
use crate::range::Range;
use crate::store::{Capabilities, Limits, StateStore};
use crate::transaction::Transaction;
use crate::version::CommitVersion;
use crate::watch::{Watch, WatchTable};

/// Keeps everything in memory; clones share it.
///
/// Its clock follows tokio's, so leases expire under paused time.
///
/// ```
/// use std::sync::Arc;
/// use coditect_state::{MemoryStore, StateStore};
///
/// let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
/// assert!(!store.capabilities().durable);
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Mutex<Inner>,
    limits: Limits,
    observer: Arc<dyn StateObserver>,
    epoch: SystemTime,
    started: Instant,
}

/// What the lock guards.
struct Inner {
    history: History,
    watches: WatchTable,
}

impl MemoryStore {
    /// Creates an empty store with the default limits.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Creates a builder, for other limits, another history or an observer.
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder::new()
    }

    /// Clears a range at once, as a commit of its own that cannot conflict and that nobody has to await.
    pub fn clear_range(&self, range: &Range) -> CommitVersion {
        let mut buffer = Buffer::default();
        buffer.clear_range(range.begin().clone(), range.end().clone());
        apply(&mut self.shared.inner.lock(), buffer)
    }

    fn from_builder(builder: MemoryStoreBuilder) -> Self {
        let inner = Inner {
            history: History::new(builder.history),
            watches: WatchTable::default(),
        };
        let shared = Shared {
            inner: Mutex::new(inner),
            limits: builder.limits,
            observer: builder.observer,
            epoch: SystemTime::now(),
            started: Instant::now(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn begin(&self) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(MemoryTransaction::new(self.shared.clone())))
    }

    async fn watch(&self, key: &[u8]) -> Result<Watch> {
        Ok(self.shared.inner.lock().watches.watch(key))
    }

    async fn now(&self) -> Result<SystemTime> {
        Ok(self.shared.epoch + self.shared.started.elapsed())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::in_process()
    }

    fn limits(&self) -> Limits {
        self.shared.limits
    }

    fn observer(&self) -> &dyn StateObserver {
        &*self.shared.observer
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.shared.inner.lock();
        f.debug_struct("MemoryStore")
            .field("keys", &inner.history.len())
            .field("version", &inner.history.version())
            .field("watches", &inner.watches.len())
            .finish_non_exhaustive()
    }
}
