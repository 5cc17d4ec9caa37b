//! A transaction of the memory store.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::apply::apply;
use super::buffer::{Buffer, StampedKey, Write};
use super::merge::merge;
use super::{Inner, Shared};
use crate::error::{Error, Result};
use crate::range::{Page, Range, successor};
use crate::transaction::Transaction;
use crate::version::{CommitVersion, Stamped};

pub(super) struct MemoryTransaction {
    shared: Arc<Shared>,
    /// The version that is read, registered with the history; set by the first read.
    version: Option<u64>,
    read_keys: Vec<Box<[u8]>>,
    read_ranges: Vec<(Bytes, Bytes)>,
    buffer: Buffer,
}

impl MemoryTransaction {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            version: None,
            read_keys: Vec::new(),
            read_ranges: Vec::new(),
            buffer: Buffer::default(),
        }
    }

    fn read(&mut self, key: &[u8], snapshot: bool) -> Result<Option<Bytes>> {
        match self.buffer.get(key) {
            Some(Write::Set(value)) => return Ok(Some(value)),
            Some(Write::Clear) => return Ok(None),
            Some(Write::Stamped(_)) => return Err(unreadable()),
            None => {}
        }
        if !snapshot {
            self.read_keys.push(key.into());
        }
        let mut inner = self.shared.inner.lock();
        let version = *self
            .version
            .get_or_insert_with(|| inner.history.begin_read());
        inner.history.check_age(version)?;
        Ok(inner.history.get(key, version).cloned())
    }

    fn read_page(&mut self, range: &Range) -> Result<Page> {
        let own = self.buffer.writes.range::<[u8], _>((
            Bound::Included(&**range.begin()),
            Bound::Excluded(&**range.end()),
        ));
        let cleared = &self.buffer.cleared;
        let mut inner = self.shared.inner.lock();
        let version = *self
            .version
            .get_or_insert_with(|| inner.history.begin_read());
        inner.history.check_age(version)?;
        let stored = inner.history.range(range.begin(), range.end(), version);
        let stored = stored.filter(|(key, _)| !cleared.contains(key));
        // One entry more than the page holds tells whether there is a next page.
        let wanted = range.limit().saturating_add(1);
        let mut entries = if range.is_reversed() {
            merge(
                stored.rev().peekable(),
                own.rev().peekable(),
                |a, b| a > b,
                wanted,
            )?
        } else {
            merge(stored.peekable(), own.peekable(), |a, b| a < b, wanted)?
        };
        let more = entries.len() > range.limit();
        entries.truncate(range.limit());
        let next = if more {
            entries.last().map(|last| range.after(&last.key))
        } else {
            None
        };
        Ok(Page { entries, next })
    }

    fn check_key(&self, key: &[u8]) -> Result<()> {
        if key.first() == Some(&0xff) {
            return Err(Error::invalid(
                "keys that start with 0xff belong to the store",
            ));
        }
        check_size("key", key.len(), self.shared.limits.key)
    }

    fn grow(&mut self, by: usize) -> Result<()> {
        check_size(
            "transaction",
            self.buffer.size + by,
            self.shared.limits.transaction,
        )?;
        self.buffer.size += by;
        Ok(())
    }

    fn check_write(&mut self, key: &[u8], value: usize) -> Result<()> {
        self.check_key(key)?;
        check_size("value", value, self.shared.limits.value)?;
        self.grow(key.len() + value)
    }

    /// Fails if something that was read has changed since.
    fn validate(&self, inner: &Inner, version: u64) -> Result<()> {
        inner.history.check_age(version)?;
        if inner.history.version() == version {
            return Ok(());
        }
        let keys = self
            .read_keys
            .iter()
            .any(|key| inner.history.changed_since(key, version));
        let range =
            |(begin, end): &(Bytes, Bytes)| inner.history.range_changed_since(begin, end, version);
        if keys || self.read_ranges.iter().any(range) {
            return Err(Error::conflict(
                "what was read has changed before the commit",
            ));
        }
        Ok(())
    }

    fn try_commit(&mut self) -> Result<CommitVersion> {
        let shared = self.shared.clone();
        let mut inner = shared.inner.lock();
        if self.buffer.is_empty() {
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
        Ok(apply(&mut inner, std::mem::take(&mut self.buffer)))
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
        if !range.is_snapshot() {
            let covered = match (&page.next, page.entries.last()) {
                (Some(_), Some(last)) if range.is_reversed() => {
                    (last.key.clone(), range.end().clone())
                }
                (Some(_), Some(last)) => (range.begin().clone(), successor(&last.key)),
                _ => (range.begin().clone(), range.end().clone()),
            };
            self.read_ranges.push(covered);
        }
        Ok(page)
    }

    fn set(&mut self, key: &[u8], value: Bytes) -> Result<()> {
        self.check_write(key, value.len())?;
        self.buffer
            .writes
            .insert(Bytes::copy_from_slice(key), Write::Set(value));
        Ok(())
    }

    fn set_stamped_key(&mut self, key: Stamped, value: Bytes) -> Result<()> {
        let first = key.prefix().first().copied();
        self.check_key(first.as_slice())?;
        check_size("key", key.len(), self.shared.limits.key)?;
        check_size("value", value.len(), self.shared.limits.value)?;
        self.grow(key.len() + value.len())?;
        let clears = self.buffer.late_clears.len();
        self.buffer.stamped.push(StampedKey { key, value, clears });
        Ok(())
    }

    fn set_stamped_value(&mut self, key: &[u8], value: Stamped) -> Result<()> {
        self.check_write(key, value.len())?;
        self.buffer
            .writes
            .insert(Bytes::copy_from_slice(key), Write::Stamped(value));
        Ok(())
    }

    fn clear(&mut self, key: &[u8]) -> Result<()> {
        self.check_write(key, 0)?;
        self.buffer
            .writes
            .insert(Bytes::copy_from_slice(key), Write::Clear);
        Ok(())
    }

    fn clear_range(&mut self, begin: &[u8], end: &[u8]) -> Result<()> {
        if begin >= end {
            return Ok(());
        }
        self.check_key(begin)?;
        self.grow(begin.len() + end.len())?;
        self.buffer
            .clear_range(Bytes::copy_from_slice(begin), Bytes::copy_from_slice(end));
        Ok(())
    }

    fn size(&self) -> usize {
        self.buffer.size
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
            .field("size", &self.buffer.size)
            .finish_non_exhaustive()
    }
}

fn check_size(what: &str, size: usize, limit: usize) -> Result<()> {
    if size > limit {
        Err(Error::too_large(what, size, limit))
    } else {
        Ok(())
    }
}

pub(super) fn unreadable() -> Error {
    Error::invalid("value waits for its versionstamp and cannot be read before the commit")
}
