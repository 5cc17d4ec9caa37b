//! Checkpoints: named snapshots of a value, each save a new version.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::key::Subspace;
use crate::store::StateStore;
use crate::transact::{StateStoreExt, Tx};
use crate::transaction::{TransactionExt, to_json};

#[cfg(test)]
mod tests;

/// Numbers the saves of a checkpoint, from 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct CheckpointVersion(u64);

impl CheckpointVersion {
    /// The version before the first save.
    pub const NONE: Self = Self(0);

    /// Creates a version from its number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for CheckpointVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Is a value with the version under which it was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The version.
    pub version: CheckpointVersion,
    /// The value.
    pub value: T,
}

/// Keeps the last versions of one named value.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::sync::Arc;
/// use coditect_state::{Checkpoint, CheckpointVersion, MemoryStore, key::Subspace};
///
/// let store = Arc::new(MemoryStore::new());
/// let progress = Checkpoint::<u64>::new(store, &Subspace::new(&("checkpoints",)), "import");
/// let first = progress.save(&100, CheckpointVersion::NONE).await?;
/// progress.save(&200, first).await?;
/// assert!(progress.save(&150, first).await.is_err()); // Somebody else has saved since `first`.
/// assert_eq!(progress.load().await?.map(|saved| saved.value), Some(200));
/// # Ok::<_, coditect_state::Error>(()) }).unwrap();
/// ```
pub struct Checkpoint<T> {
    store: Arc<dyn StateStore>,
    space: Subspace,
    keep: u64,
    value: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned + Send> Checkpoint<T> {
    /// Creates the checkpoint `name` within `space`; it keeps one version.
    pub fn new(store: Arc<dyn StateStore>, space: &Subspace, name: &str) -> Self {
        Self {
            store,
            space: space.child(&(name,)),
            keep: 1,
            value: PhantomData,
        }
    }

    /// Sets how many of the newest versions are kept; at least one.
    #[must_use]
    pub fn with_versions_kept(mut self, keep: u64) -> Self {
        self.keep = keep.max(1);
        self
    }

    /// Loads the newest version.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if the stored value is no `T`; otherwise as
    /// [`transact`](StateStoreExt::transact).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only reads.
    pub async fn load(&self) -> Result<Option<Versioned<T>>> {
        let read = |mut tx: Tx| async move {
            let version = self.head(&mut tx).await?;
            let value = tx.get_json(&self.version_key(version)).await?;
            match value {
                None if version != CheckpointVersion::NONE => {
                    Err(Error::corrupt("newest checkpoint is missing"))
                }
                value => Ok(value.map(|value| Versioned { version, value })),
            }
        };
        self.store.transact(read).await
    }

    /// Loads a certain version, or `None` if it is not kept.
    ///
    /// # Errors
    ///
    /// As [`load`](Checkpoint::load).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only reads.
    pub async fn load_version(&self, version: CheckpointVersion) -> Result<Option<T>> {
        let key = &self.version_key(version);
        self.store
            .transact(|mut tx| async move { tx.get_json(key).await })
            .await
    }

    /// Lists the versions that are kept, the oldest first.
    ///
    /// # Errors
    ///
    /// As [`transact`](StateStoreExt::transact).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only reads.
    pub async fn versions(&self) -> Result<Vec<CheckpointVersion>> {
        let space = &self.space.child(&("version",));
        let read = |mut tx: Tx| async move { tx.range_all(space.range()).await };
        let entries = self.store.transact(read).await?;
        entries
            .iter()
            .map(|entry| Ok(CheckpointVersion(space.unpack::<(u64,)>(&entry.key)?.0)))
            .collect()
    }

    /// Saves a value as the version after `expected`, and returns that version.
    ///
    /// # Errors
    ///
    /// [`Conflict`](crate::ErrorKind::Conflict) if the newest version is not `expected`: load and decide anew.
    /// [`TooLarge`](crate::ErrorKind::TooLarge) if the value's JSON is over the store's limit. Otherwise as
    /// [`transact`](StateStoreExt::transact).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a dropped save may have happened.
    pub async fn save(&self, value: &T, expected: CheckpointVersion) -> Result<CheckpointVersion> {
        let json = &to_json(value)?;
        let next = CheckpointVersion(expected.0 + 1);
        let save = |mut tx: Tx| async move {
            let found = self.head(&mut tx).await?;
            if found != expected {
                return Ok(Some(found));
            }
            tx.set(&self.version_key(next), json.clone())?;
            tx.set_json(&self.head_key(), &next)?;
            let oldest_kept = CheckpointVersion((next.0 + 1).saturating_sub(self.keep));
            tx.clear_range(
                &self.version_key(CheckpointVersion::NONE),
                &self.version_key(oldest_kept),
            )?;
            Ok(None)
        };
        match self.store.transact(save).await? {
            None => Ok(next),
            Some(found) => Err(Error::conflict(format!(
                "checkpoint is at version {found}, not {expected}"
            ))),
        }
    }

    /// Removes all versions; the next save is again the first.
    ///
    /// # Errors
    ///
    /// As [`transact`](StateStoreExt::transact).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a dropped removal may have happened.
    pub async fn remove(&self) -> Result<()> {
        let all = &self.space.range();
        self.store
            .transact(|mut tx| async move { tx.clear_range(all.begin(), all.end()) })
            .await
    }

    async fn head(&self, tx: &mut Tx) -> Result<CheckpointVersion> {
        Ok(tx.get_json(&self.head_key()).await?.unwrap_or_default())
    }

    fn head_key(&self) -> Bytes {
        self.space.pack(&("head",))
    }

    fn version_key(&self, version: CheckpointVersion) -> Bytes {
        self.space.pack(&("version", version.0))
    }
}

impl<T> fmt::Debug for Checkpoint<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint")
            .field("space", &self.space)
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}
