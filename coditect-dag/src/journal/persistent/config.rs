//! How many partitions a journal over a store has, and what it may forget.

use std::time::Duration;

use bytes::Bytes;
use coditect_state::key::Subspace;

use crate::journal::PartitionCount;

/// Says what a [`StoreJournal`](super::StoreJournal) keeps, and where.
///
/// Runs that are not settled are always kept. Of the settled ones the oldest are forgotten first, with their outputs
/// and their idempotency keys, as soon as one of the limits is passed; those with entries in an inbox and those
/// that this process watches are spared. Owners do it, when they renew.
#[derive(Clone, Debug)]
pub struct StoreJournalConfig {
    pub(super) partitions: PartitionCount,
    pub(super) prefix: Bytes,
    pub(super) max_settled: u64,
    pub(super) max_age: Duration,
    pub(super) events_behind_snapshot: u64,
    pub(super) belongings: Vec<Subspace>,
    pub(super) sole_user: bool,
}

impl Default for StoreJournalConfig {
    fn default() -> Self {
        Self {
            partitions: PartitionCount::ONE,
            prefix: Subspace::new(&("j",)).prefix().clone(),
            max_settled: 100_000,
            max_age: Duration::from_secs(7 * 24 * 60 * 60),
            events_behind_snapshot: 4_096,
            belongings: Vec::new(),
            sole_user: false,
        }
    }
}

impl StoreJournalConfig {
    /// Divides the runs into this many partitions; one by default. A store keeps the count of its first journal, and
    /// another is refused.
    #[must_use]
    pub const fn with_partitions(mut self, count: PartitionCount) -> Self {
        self.partitions = count;
        self
    }

    /// Keeps the journal in this part of the store; `("j",)` by default.
    #[must_use]
    pub fn with_space(mut self, space: &Subspace) -> Self {
        self.prefix = space.prefix().clone();
        self
    }

    /// Keeps about this many settled runs, each partition an equal share of them; 100,000 by default.
    #[must_use]
    pub const fn with_max_settled(mut self, runs: u64) -> Self {
        self.max_settled = runs;
        self
    }

    /// Forgets a run this long after it settled; 7 days by default.
    #[must_use]
    pub const fn with_max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Keeps at least this many of the records that a snapshot stands for, for readers of events; 4,096 by default.
    #[must_use]
    pub const fn with_events_behind_snapshot(mut self, records: u64) -> Self {
        self.events_behind_snapshot = records;
        self
    }

    /// Removes with each run that is forgotten what lies in this part of the store under the run's id, as
    /// [`Subspace::child`] of its UUID names it; may be called several times.
    ///
    /// What belongs to a run and is not the journal's own, such as what its agents share, so goes when the run does.
    #[must_use]
    pub fn with_belongings(mut self, space: Subspace) -> Self {
        self.belongings.push(space);
        self
    }

    /// Says that nobody else uses the store, as where it is a locked file: whoever owned a partition when the journal was
    /// last open is dead, and its lease ends with [`StoreJournal::open`](super::StoreJournal::open).
    #[must_use]
    pub const fn with_sole_user(mut self) -> Self {
        self.sole_user = true;
        self
    }

    pub(super) fn max_settled_each(&self) -> u64 {
        self.max_settled.div_ceil(u64::from(self.partitions.get()))
    }
}
