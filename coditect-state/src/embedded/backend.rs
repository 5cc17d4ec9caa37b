//! The file below the storage engine, watched for how far a commit came.
//!
//! A commit is made in two steps: everything is written and synced, then one byte of the header makes it the valid one
//! and is synced again. What fails before the first sync has ended has not happened.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};

/// Counts how many syncs have ended since the last commit began.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<AtomicU32>);

impl Progress {
    pub(super) fn begin(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    /// Returns whether a commit that has failed may be the valid one all the same.
    pub(super) fn may_have_happened(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

/// Is the store's file.
#[derive(Debug)]
pub(super) struct Backend {
    file: FileBackend,
    progress: Progress,
    #[cfg(test)]
    faults: super::tests::Faults,
}

impl Backend {
    pub(super) fn new(
        file: File,
        progress: Progress,
        #[cfg(test)] faults: super::tests::Faults,
    ) -> Result<Self, DatabaseError> {
        Ok(Self {
            file: FileBackend::new(file)?,
            progress,
            #[cfg(test)]
            faults,
        })
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        #[cfg(test)]
        self.faults.before_growth(len)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        #[cfg(test)]
        self.faults.before_sync()?;
        self.file.sync_data()?;
        self.progress.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        self.faults.before_write(&self.file, offset, data)?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
