//! The blackboard: values and lists shared by the agents of a run.

mod follow;
mod list;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::follow::{BlackboardFollow, BlackboardWatch};
use crate::error::{Error, Result};
use crate::key::Subspace;
use crate::range::Range;
use crate::store::StateStore;
use crate::transact::{StateStoreExt, Tx};
use crate::transaction::{TransactionExt, to_json};

/// Keeps named values and lists for all who share a scope, such as the agents of one run.
///
/// Values and lists live apart: a value and a list may have the same name. Everything is JSON, so agents
/// in other languages can read it.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::sync::Arc;
/// use coditect_state::{Blackboard, MemoryStore, key::Subspace};
///
/// let board = Blackboard::new(Arc::new(MemoryStore::new()), Subspace::new(&("run", 7, "board")));
/// board.put("language", "Rust").await?;
/// board.update("files", |files: &mut Option<u64>| *files = Some(files.unwrap_or(0) + 1)).await?;
/// board.append("findings", &"unused import").await?;
/// assert_eq!(board.get::<u64>("files").await?, Some(1));
/// assert_eq!(board.list::<String>("findings").await?, ["unused import"]);
/// assert_eq!(board.keys("").await?, ["files", "language"]);
/// # Ok::<_, coditect_state::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Blackboard {
    store: Arc<dyn StateStore>,
    space: Subspace,
    max_value: usize,
}

impl Blackboard {
    /// Creates the blackboard of a scope.
    pub fn new(store: Arc<dyn StateStore>, scope: Subspace) -> Self {
        let max_value = store.limits().value;
        Self {
            store,
            space: scope,
            max_value,
        }
    }

    /// Sets how many bytes of JSON one value or list entry may have; the store's own limit is the greatest.
    #[must_use]
    pub fn with_max_value(mut self, bytes: usize) -> Self {
        self.max_value = bytes.min(self.store.limits().value);
        self
    }

    /// Reads a value.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if it is no `T`; otherwise as [`transact`](StateStoreExt::transact).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only reads.
    pub async fn get<T: DeserializeOwned + Send>(&self, name: &str) -> Result<Option<T>> {
        let key = &self.key(name);
        self.store
            .transact(|mut tx| async move { tx.get_json(key).await })
            .await
    }

    /// Sets a value, whatever it was.
    ///
    /// # Errors
    ///
    /// [`TooLarge`](crate::ErrorKind::TooLarge) if its JSON is over the limit; otherwise as
    /// [`transact`](StateStoreExt::transact).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a dropped call may have happened.
    pub async fn put<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<()> {
        let (key, json) = (&self.key(name), &self.json(value)?);
        self.store
            .transact(|mut tx| async move { tx.set(key, json.clone()) })
            .await
    }

    /// Removes a value, if it is there.
    ///
    /// # Errors
    ///
    /// As [`transact`](StateStoreExt::transact).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a dropped call may have happened.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let key = &self.key(name);
        self.store
            .transact(|mut tx| async move { tx.clear(key) })
            .await
    }

    /// Changes a value as if nobody else were there; `None` stands for no value, before and after.
    ///
    /// The closure may run several times, each time on the value as it is then; what its last run returned is returned.
    ///
    /// # Errors
    ///
    /// As [`get`](Blackboard::get) and [`put`](Blackboard::put).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a dropped call may have happened.
    pub async fn update<T, R, F>(&self, name: &str, change: F) -> Result<R>
    where
        T: Serialize + DeserializeOwned + Send,
        R: Send,
        F: FnMut(&mut Option<T>) -> R + Send,
    {
        let (key, change) = (&self.key(name), &Mutex::new(change));
        let update = |mut tx: Tx| async move {
            let mut value = tx.get_json(key).await?;
            let answer = (*change.lock())(&mut value);
            match value {
                Some(value) => tx.set(key, self.json(&value)?)?,
                None => tx.clear(key)?,
            }
            Ok(answer)
        };
        self.store.transact(update).await
    }

    /// Lists the names of values that start with `prefix`, in byte order.
    ///
    /// # Errors
    ///
    /// As [`transact`](StateStoreExt::transact).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only reads.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>> {
        let mut begin = self.key(prefix);
        // Without the byte that ends the string, the key is a prefix of all names that go on.
        begin.truncate(begin.len() - 1);
        let range = &Range::prefix(&begin).snapshot();
        let entries = self
            .store
            .transact(|mut tx| async move { tx.range_all(range.clone()).await })
            .await?;
        entries
            .iter()
            .map(|entry| Ok(self.space.unpack::<(String, String)>(&entry.key)?.1))
            .collect()
    }

    /// Watches a value; changes from now on are not lost.
    ///
    /// # Errors
    ///
    /// As [`StateStore::watch`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn watch<T: DeserializeOwned + Send>(
        &self,
        name: &str,
    ) -> Result<BlackboardWatch<T>> {
        Ok(BlackboardWatch::new(
            self.clone(),
            name,
            self.store.watch(&self.key(name)).await?,
        ))
    }

    /// Removes everything in the scope, values and lists.
    ///
    /// # Errors
    ///
    /// As [`transact`](StateStoreExt::transact).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a dropped call may have happened.
    pub async fn clear(&self) -> Result<()> {
        let all = &self.space.range();
        self.store
            .transact(|mut tx| async move { tx.clear_range(all.begin(), all.end()) })
            .await
    }

    /// Returns the key of a value, to use it in a transaction together with other keys.
    pub fn key(&self, name: &str) -> Bytes {
        self.space.pack(&("value", name))
    }

    fn json<T: Serialize + ?Sized>(&self, value: &T) -> Result<Bytes> {
        let json = to_json(value)?;
        if json.len() > self.max_value {
            return Err(Error::too_large(
                "blackboard value",
                json.len(),
                self.max_value,
            ));
        }
        Ok(json)
    }
}
