//! The partitions that this process owns, for those who ask.

use std::collections::BTreeSet;

use coditect_dag::journal::Partition;
use parking_lot::Mutex;

/// What is owned here now.
#[derive(Debug, Default)]
pub(crate) struct Owned(Mutex<BTreeSet<Partition>>);

impl Owned {
    /// All of them, in order.
    pub(crate) fn all(&self) -> Vec<Partition> {
        self.0.lock().iter().copied().collect()
    }

    pub(super) fn insert(&self, partition: Partition) {
        self.0.lock().insert(partition);
    }

    pub(super) fn remove(&self, partition: Partition) {
        self.0.lock().remove(&partition);
    }
}
