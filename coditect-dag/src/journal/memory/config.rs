//! How many partitions a journal in memory has, and what it may forget.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::RunId;
use crate::journal::PartitionCount;

/// Says what a [`MemoryJournal`](super::MemoryJournal) keeps.
///
/// Runs that are not settled are always kept. Of the settled ones the oldest are forgotten first, with
/// their outputs and their idempotency keys, as soon as one of the limits is passed; the one that settled
/// last, those that are watched and those with entries in an inbox are spared.
#[derive(Clone, Debug)]
pub struct MemoryConfig {
    pub(super) partitions: PartitionCount,
    pub(super) max_settled: usize,
    pub(super) max_settled_bytes: usize,
    pub(super) max_age: Duration,
    pub(super) events_behind_snapshot: usize,
    pub(super) max_tasks: u32,
    pub(super) on_forget: OnForget,
}

/// Is told of each run that is forgotten.
#[derive(Clone, Default)]
pub(super) struct OnForget(Option<Arc<dyn Fn(RunId) + Send + Sync>>);

impl OnForget {
    pub(super) fn tell(&self, run: RunId) {
        if let Some(told) = &self.0 {
            told(run);
        }
    }
}

impl fmt::Debug for OnForget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnForget").field(&self.0.is_some()).finish()
    }
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            partitions: PartitionCount::ONE,
            max_settled: 1_000,
            max_settled_bytes: 256 << 20,
            max_age: Duration::from_secs(24 * 60 * 60),
            events_behind_snapshot: 4_096,
            max_tasks: 1 << 24,
            on_forget: OnForget::default(),
        }
    }
}

impl MemoryConfig {
    /// Divides the runs into this many partitions; one by default.
    #[must_use]
    pub const fn with_partitions(mut self, count: PartitionCount) -> Self {
        self.partitions = count;
        self
    }

    /// Keeps at most this many settled runs; 1,000 by default.
    #[must_use]
    pub const fn with_max_settled(mut self, runs: usize) -> Self {
        self.max_settled = runs;
        self
    }

    /// Keeps settled runs up to this many bytes, logs and outputs together; 256 MiB by default.
    #[must_use]
    pub const fn with_max_settled_bytes(mut self, bytes: usize) -> Self {
        self.max_settled_bytes = bytes;
        self
    }

    /// Forgets a run this long after it settled, when something next happens; 24 hours by default.
    #[must_use]
    pub const fn with_max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Keeps this many of the records that a snapshot stands for, for readers of events; 4,096 by default.
    #[must_use]
    pub const fn with_events_behind_snapshot(mut self, records: usize) -> Self {
        self.events_behind_snapshot = records;
        self
    }

    /// Calls `told` with each run that was just forgotten, for what belongs to it elsewhere. It must not block.
    #[must_use]
    pub fn with_on_forget(mut self, told: impl Fn(RunId) + Send + Sync + 'static) -> Self {
        self.on_forget = OnForget(Some(Arc::new(told)));
        self
    }

    /// Refuses records of tasks from this position on, since outputs are kept in a dense table;
    /// 16,777,216 by default.
    #[must_use]
    pub const fn with_max_tasks(mut self, tasks: u32) -> Self {
        self.max_tasks = tasks;
        self
    }
}
