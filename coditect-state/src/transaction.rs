//! A transaction: reads and writes that happen at one point in time, or not at all.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::range::{Entry, Page, Range};
use crate::version::{CommitVersion, Stamped};

/// Reads and writes a store at one point in time.
///
/// Writes are kept until [`commit`](Transaction::commit); a transaction dropped before has done nothing. The rules are
/// those of [`StateStore`](crate::StateStore#contract); [`TransactionExt`] adds comfort.
///
/// After any error but [`TooLarge`](crate::ErrorKind::TooLarge) and [`Invalid`](crate::ErrorKind::Invalid) the
/// transaction is of no more use.
///
/// # Cancel safety
///
/// Dropping the future of a read loses nothing: read again. Dropping that of `commit` leaves the
/// outcome unknown.
#[async_trait]
pub trait Transaction: fmt::Debug + Send {
    /// Reads a key; it must be unchanged at commit.
    ///
    /// # Errors
    ///
    /// [`Conflict`](crate::ErrorKind::Conflict) if the transaction's state is too old to be read,
    /// [`Unavailable`](crate::ErrorKind::Unavailable) if the store does not answer.
    async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>>;

    /// Reads a key without a conflict: it may change before the commit.
    ///
    /// # Errors
    ///
    /// As [`get`](Transaction::get).
    async fn get_snapshot(&mut self, key: &[u8]) -> Result<Option<Bytes>>;

    /// Reads one page of a range; what it covered must be unchanged at commit, unless it is a
    /// [snapshot](Range::snapshot).
    ///
    /// # Errors
    ///
    /// As [`get`](Transaction::get).
    async fn range(&mut self, range: Range) -> Result<Page>;

    /// Sets a key.
    ///
    /// # Errors
    ///
    /// [`TooLarge`](crate::ErrorKind::TooLarge) over the store's limits.
    fn set(&mut self, key: &[u8], value: Bytes) -> Result<()>;

    /// Sets a key that will contain the commit's versionstamp.
    ///
    /// # Errors
    ///
    /// [`TooLarge`](crate::ErrorKind::TooLarge) over the store's limits.
    fn set_stamped_key(&mut self, key: Stamped, value: Bytes) -> Result<()>;

    /// Sets a key to a value that will contain the commit's versionstamp.
    ///
    /// # Errors
    ///
    /// [`TooLarge`](crate::ErrorKind::TooLarge) over the store's limits.
    fn set_stamped_value(&mut self, key: &[u8], value: Stamped) -> Result<()>;

    /// Removes a key, if it is there.
    ///
    /// # Errors
    ///
    /// [`TooLarge`](crate::ErrorKind::TooLarge) over the store's limits.
    fn clear(&mut self, key: &[u8]) -> Result<()>;

    /// Removes all keys in `begin <= key < end`; an empty range is nothing to do.
    ///
    /// # Errors
    ///
    /// [`TooLarge`](crate::ErrorKind::TooLarge) over the store's limits.
    fn clear_range(&mut self, begin: &[u8], end: &[u8]) -> Result<()>;

    /// Returns the bytes written so far, as they count towards [`Limits::transaction`](crate::Limits); zero if
    /// nothing was written.
    fn size(&self) -> usize;

    /// Commits, and returns the version of the commit.
    ///
    /// # Errors
    ///
    /// - [`Conflict`](crate::ErrorKind::Conflict): nothing was changed, begin again.
    /// - [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown): it may have been committed.
    /// - [`Unavailable`](crate::ErrorKind::Unavailable): nothing was changed.
    /// - [`TooLarge`](crate::ErrorKind::TooLarge): nothing was changed.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the outcome of a dropped commit is unknown.
    async fn commit(self: Box<Self>) -> Result<CommitVersion>;
}

/// Adds comfort to every [`Transaction`].
#[async_trait]
pub trait TransactionExt: Transaction {
    /// Writes `value` (`None` clears) if the key has the value `expected`; returns whether it did.
    ///
    /// # Errors
    ///
    /// As [`get`](Transaction::get) and [`set`](Transaction::set).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is written unless it returns.
    async fn compare_and_set(
        &mut self,
        key: &[u8],
        expected: Option<&[u8]>,
        value: Option<Bytes>,
    ) -> Result<bool> {
        if self.get(key).await?.as_deref() != expected {
            return Ok(false);
        }
        match value {
            Some(value) => self.set(key, value)?,
            None => self.clear(key)?,
        }
        Ok(true)
    }

    /// Reads a whole range, page after page.
    ///
    /// # Errors
    ///
    /// As [`range`](Transaction::range).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only reads.
    async fn range_all(&mut self, range: Range) -> Result<Vec<Entry>> {
        let mut page = self.range(range).await?;
        let mut entries = page.entries;
        while let Some(next) = page.next {
            page = self.range(next).await?;
            entries.append(&mut page.entries);
        }
        Ok(entries)
    }

    /// Reads a key as JSON.
    ///
    /// # Errors
    ///
    /// As [`get`](Transaction::get), and [`Corrupt`](crate::ErrorKind::Corrupt) if the value is no such JSON.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only reads.
    async fn get_json<T: DeserializeOwned>(&mut self, key: &[u8]) -> Result<Option<T>> {
        self.get(key)
            .await?
            .map(|bytes| from_json(&bytes))
            .transpose()
    }

    /// Sets a key to a value as JSON.
    ///
    /// # Errors
    ///
    /// As [`set`](Transaction::set), and [`Invalid`](crate::ErrorKind::Invalid) if serde refuses the value.
    fn set_json<T: Serialize + ?Sized>(&mut self, key: &[u8], value: &T) -> Result<()> {
        self.set(key, to_json(value)?)
    }
}

impl<T: Transaction + ?Sized> TransactionExt for T {}

pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<Bytes> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| Error::invalid("value cannot be written as json").with_source(error))
}

pub(crate) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::corrupt("stored value is not the expected json").with_source(error))
}
