//! What every optimistic store shares: a transaction's own reads and writes until it commits.

mod buffer;
mod merge;

use std::ops::Bound;

use bytes::Bytes;

#[cfg(feature = "embedded")]
pub(crate) use self::buffer::RangeSet;
pub(crate) use self::buffer::{Buffer, StampedKey, Write};
use self::merge::merge;
use crate::error::{Error, Result};
use crate::range::{Page, Range, successor};
use crate::store::Limits;
use crate::version::Stamped;

/// Is what a transaction has read and written so far.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) writes: Buffer,
    pub(crate) reads: ReadSet,
    limits: Limits,
}

/// Is what must be unchanged at commit.
#[derive(Debug, Default)]
pub(crate) struct ReadSet {
    pub(crate) keys: Vec<Bytes>,
    pub(crate) ranges: Vec<(Bytes, Bytes)>,
}

impl ReadSet {
    #[cfg(any(feature = "embedded", feature = "redis"))]
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty()
    }
}

impl Draft {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            writes: Buffer::default(),
            reads: ReadSet::default(),
            limits,
        }
    }

    /// Returns what the transaction itself made of a key: its value, `Some(None)` where it cleared the key,
    /// or `None` where it has to be looked up.
    pub(crate) fn own(&self, key: &[u8]) -> Result<Option<Option<Bytes>>> {
        match self.writes.get(key) {
            Some(Write::Set(value)) => Ok(Some(Some(value))),
            Some(Write::Clear) => Ok(Some(None)),
            Some(Write::Stamped(_)) => Err(unreadable()),
            None => Ok(None),
        }
    }

    pub(crate) fn note_key(&mut self, key: &[u8]) {
        self.reads.keys.push(Bytes::copy_from_slice(key));
    }

    /// Takes note of what a page has covered, unless it was a snapshot.
    pub(crate) fn note_page(&mut self, range: &Range, page: &Page) {
        if range.is_snapshot() {
            return;
        }
        let covered = match (&page.next, page.entries.last()) {
            (Some(_), Some(last)) if range.is_reversed() => (last.key.clone(), range.end().clone()),
            (Some(_), Some(last)) => (range.begin().clone(), successor(&last.key)),
            _ => (range.begin().clone(), range.end().clone()),
        };
        self.reads.ranges.push(covered);
    }

    /// Makes the page that answers `range` from the stored entries, in the order asked for.
    pub(crate) fn page<'a>(
        &'a self,
        range: &Range,
        stored: impl Iterator<Item = (&'a Bytes, &'a Bytes)>,
    ) -> Result<Page> {
        let own = self.own_in(range);
        let cleared = &self.writes.cleared;
        let stored = stored.filter(|(key, _)| !cleared.contains(key)).peekable();
        // One entry more than the page holds tells whether there is a next page.
        let wanted = range.limit().saturating_add(1);
        let mut entries = if range.is_reversed() {
            merge(stored, own.rev().peekable(), |a, b| a > b, wanted)?
        } else {
            merge(stored, own.peekable(), |a, b| a < b, wanted)?
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

    /// Returns how many stored entries, cleared ranges left out, are enough for [`page`](Self::page): each own write
    /// hides one at most.
    #[cfg(any(feature = "embedded", feature = "redis"))]
    pub(crate) fn wanted(&self, range: &Range) -> usize {
        range
            .limit()
            .saturating_add(1)
            .saturating_add(self.own_in(range).count())
    }

    fn own_in(&self, range: &Range) -> impl DoubleEndedIterator<Item = (&Bytes, &Write)> {
        self.writes.writes.range::<[u8], _>((
            Bound::Included(&**range.begin()),
            Bound::Excluded(&**range.end()),
        ))
    }

    pub(crate) fn set(&mut self, key: &[u8], value: Bytes) -> Result<()> {
        self.check_write(key, value.len())?;
        self.write(key, Write::Set(value));
        Ok(())
    }

    pub(crate) fn set_stamped_key(&mut self, key: Stamped, value: Bytes) -> Result<()> {
        let first = key.prefix().first().copied();
        self.check_key(first.as_slice())?;
        check_size("key", key.len(), self.limits.key)?;
        check_size("value", value.len(), self.limits.value)?;
        self.grow(key.len() + value.len())?;
        let clears = self.writes.late_clears.len();
        self.writes.stamped.push(StampedKey { key, value, clears });
        Ok(())
    }

    pub(crate) fn set_stamped_value(&mut self, key: &[u8], value: Stamped) -> Result<()> {
        self.check_write(key, value.len())?;
        self.write(key, Write::Stamped(value));
        Ok(())
    }

    pub(crate) fn clear(&mut self, key: &[u8]) -> Result<()> {
        self.check_write(key, 0)?;
        self.write(key, Write::Clear);
        Ok(())
    }

    pub(crate) fn clear_range(&mut self, begin: &[u8], end: &[u8]) -> Result<()> {
        if begin >= end {
            return Ok(());
        }
        self.check_key(begin)?;
        self.grow(begin.len() + end.len())?;
        self.writes
            .clear_range(Bytes::copy_from_slice(begin), Bytes::copy_from_slice(end));
        Ok(())
    }

    fn write(&mut self, key: &[u8], write: Write) {
        self.writes
            .writes
            .insert(Bytes::copy_from_slice(key), write);
    }

    fn check_key(&self, key: &[u8]) -> Result<()> {
        if key.first() == Some(&0xff) {
            return Err(Error::invalid(
                "keys that start with 0xff belong to the store",
            ));
        }
        check_size("key", key.len(), self.limits.key)
    }

    fn check_write(&mut self, key: &[u8], value: usize) -> Result<()> {
        self.check_key(key)?;
        check_size("value", value, self.limits.value)?;
        self.grow(key.len() + value)
    }

    fn grow(&mut self, by: usize) -> Result<()> {
        check_size(
            "transaction",
            self.writes.size + by,
            self.limits.transaction,
        )?;
        self.writes.size += by;
        Ok(())
    }
}

fn check_size(what: &str, size: usize, limit: usize) -> Result<()> {
    if size > limit {
        Err(Error::too_large(what, size, limit))
    } else {
        Ok(())
    }
}

fn unreadable() -> Error {
    Error::invalid("value waits for its versionstamp and cannot be read before the commit")
}
