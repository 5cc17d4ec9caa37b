//! The states of the file that transactions read.
//!
//! Transactions that begin to read between two commits share one state. The table here owns it, and they hold on to it
//! weakly: so one that has fallen behind too far, or stands in the way of a compaction, loses it and gets a conflict.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use redb::{Database, ReadOnlyTable};

use super::error::Fault;
use super::file::{DATA, last_of};
use crate::version::CommitVersion;

/// Is the file as of one commit.
pub(super) struct Snapshot {
    pub(super) version: CommitVersion,
    pub(super) data: ReadOnlyTable<&'static [u8], &'static [u8]>,
    // The table reads through it.
    _read: redb::ReadTransaction,
}

impl Snapshot {
    fn open(database: &Database) -> Result<Self, Fault> {
        use redb::ReadableDatabase;
        let read = database.begin_read()?;
        Ok(Self {
            version: last_of(&read)?.version,
            data: read.open_table(DATA)?,
            _read: read,
        })
    }
}

/// Is a transaction's hold on what it reads.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) version: CommitVersion,
    snapshot: Weak<Snapshot>,
}

impl Held {
    /// Returns the state, or `None` if it is no longer kept.
    pub(super) fn get(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.upgrade()
    }
}

/// Is every state that somebody may still read.
#[derive(Default)]
pub(super) struct Snapshots(Mutex<Open>);

#[derive(Default)]
struct Open {
    latest: CommitVersion,
    /// In ascending order of version.
    snapshots: VecDeque<Arc<Snapshot>>,
}

impl Snapshots {
    pub(super) fn latest(&self) -> CommitVersion {
        self.0.lock().latest
    }

    /// Returns the state as of the latest commit.
    pub(super) fn current(&self, database: &Database) -> Result<(Held, Arc<Snapshot>), Fault> {
        // Held while the file is read: who comes next wants the same state.
        let mut open = self.0.lock();
        let current = open.snapshots.back();
        let snapshot = match current.filter(|snapshot| snapshot.version >= open.latest) {
            Some(current) => Arc::clone(current),
            None => {
                let snapshot = Arc::new(Snapshot::open(database)?);
                open.snapshots.push_back(Arc::clone(&snapshot));
                snapshot
            }
        };
        let held = Held {
            version: snapshot.version,
            snapshot: Arc::downgrade(&snapshot),
        };
        Ok((held, snapshot))
    }

    /// Takes note of a commit, forgets states before `floor` and those that nobody reads, and returns the oldest version
    /// that somebody may still read.
    pub(super) fn publish(&self, version: CommitVersion, floor: CommitVersion) -> CommitVersion {
        let mut open = self.0.lock();
        open.latest = version;
        open.snapshots
            .retain(|one| one.version >= floor && Arc::weak_count(one) > 0);
        open.snapshots
            .front()
            .map_or(version, |oldest| oldest.version)
    }

    /// Takes all states away from those who read them.
    pub(super) fn clear(&self) {
        self.0.lock().snapshots.clear();
    }
}
