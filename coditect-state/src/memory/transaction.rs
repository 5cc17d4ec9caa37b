//! A transaction of the memory store.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::apply::apply;
use super::{Inner, Shared};
use crate::draft::Draft;
use crate::error::{Error, Result};
use crate::range::{Page, Range};
use crate::transaction::Transaction;
use crate::version::{CommitVersion, Stamped};

pub(super) struct MemoryTransaction {
    shared: Arc<Shared>,
    /// The version that is read, registered with the history; set by the first read.
    version: Option<u64>,
    draft: Draft,
}

impl MemoryTransaction {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            draft: Draft::new(shared.limits),
            shared,
            version: None,
        }
    }

    fn read(&mut self, key: &[u8], snapshot: bool) -> Result<Option<Bytes>> {
        if let Some(own) = self.draft.own(key)? {
            return Ok(own);
        }
        if !snapshot {
            self.draft.note_key(key);
        }
        let mut inner = self.shared.inner.lock();
        let version = *self
            .version
            .get_or_insert_with(|| inner.history.begin_read());
        inner.history.check_age(version)?;
        Ok(inner.history.get(key, version).cloned())
    }

    fn read_page(&mut self, range: &Range) -> Result<Page> {
        let mut inner = self.shared.inner.lock();
        let version = *self
            .version
            .get_or_insert_with(|| inner.history.begin_read());
        inner.history.check_age(version)?;
        let stored = inner.history.range(range.begin(), range.end(), version);
        if range.is_reversed() {
            self.draft.page(range, stored.rev())
        } else {
            self.draft.page(range, stored)
        }
    }

    /// Fails if something that was read has changed since.
    fn validate(&self, inner: &Inner, version: u64) -> Result<()> {
        inner.history.check_age(version)?;
        if inner.history.version() == version {
            return Ok(());
        }
        let reads = &self.draft.reads;
        let keys = reads
            .keys
            .iter()
            .any(|key| inner.history.changed_since(key, version));
        let range =
            |(begin, end): &(Bytes, Bytes)| inner.history.range_changed_since(begin, end, version);
        if keys || reads.ranges.iter().any(range) {
            return Err(Error::conflict(
                "what was read has changed before the commit",
            ));
        }
        Ok(())
    }

    fn try_commit(&mut self) -> Result<CommitVersion> {
        let shared = self.shared.clone();
        let mut inner = shared.inner.lock();
        if self.draft.writes.is_empty() {
            return Ok(CommitVersion::new(
                self.version.unwrap_or(inner.history.version()),
                0,
            ));
        }
        if let Some(version) = self.version {
            self.validate(&inner, version)?;
        }
        // From here on nothing fails. No longer being a reader saves keeping what is overwritten.
        if let Some(version) = self.version.take() {
            inner.history.end_read(version);
        }
        Ok(apply(&mut inner, std::mem::take(&mut self.draft.writes)))
    }
}

#[async_trait]
impl Transaction for MemoryTransaction {
    async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>> {
        self.read(key, false)
    }

    async fn get_snapshot(&mut self, key: &[u8]) -> Result<Option<Bytes>> {
        self.read(key, true)
    }

    async fn range(&mut self, range: Range) -> Result<Page> {
        if range.is_empty() {
            return Ok(Page::default());
        }
        let page = self.read_page(&range)?;
        self.draft.note_page(&range, &page);
        Ok(page)
    }

    fn set(&mut self, key: &[u8], value: Bytes) -> Result<()> {
        self.draft.set(key, value)
    }

    fn set_stamped_key(&mut self, key: Stamped, value: Bytes) -> Result<()> {
        self.draft.set_stamped_key(key, value)
    }

    fn set_stamped_value(&mut self, key: &[u8], value: Stamped) -> Result<()> {
        self.draft.set_stamped_value(key, value)
    }

    fn clear(&mut self, key: &[u8]) -> Result<()> {
        self.draft.clear(key)
    }

    fn clear_range(&mut self, begin: &[u8], end: &[u8]) -> Result<()> {
        self.draft.clear_range(begin, end)
    }

    fn size(&self) -> usize {
        self.draft.writes.size
    }

    async fn commit(mut self: Box<Self>) -> Result<CommitVersion> {
        self.try_commit()
    }
}

impl Drop for MemoryTransaction {
    fn drop(&mut self) {
        if let Some(version) = self.version {
            self.shared.inner.lock().history.end_read(version);
        }
    }
}

impl fmt::Debug for MemoryTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTransaction")
            .field("version", &self.version)
            .field("size", &self.draft.writes.size)
            .finish_non_exhaustive()
    }
}
