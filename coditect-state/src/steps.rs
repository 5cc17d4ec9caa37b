//! Steps: named pieces of work whose result is kept, so that a second attempt does not repeat them.

use std::fmt;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex as AsyncMutex;

use crate::error::{Error, Result};
use crate::key::Subspace;
use crate::store::StateStore;
use crate::transact::{StateStoreExt, Tx};
use crate::transaction::{from_json, to_json};

#[cfg(test)]
mod tests;

/// Runs named steps of one scope once, and keeps what they gave.
///
/// Among callers that share a `Steps` (clones do) one runs a step and the others wait for it. Callers
/// that do not share it, in another process for instance, may both run the step; the first to commit wins, and
/// both return the winner's result. Effects of a step outside of the store must therefore bear repetition.
///
/// Errors are not kept: the next caller runs the step again.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::sync::Arc;
/// use coditect_state::{Error, MemoryStore, Steps, key::Subspace};
///
/// let steps = Steps::new(Arc::new(MemoryStore::new()), Subspace::new(&("run", 7, "steps")));
/// let first = steps.once("draw", async || Ok::<_, Error>(4)).await?;
/// let again = steps.once("draw", async || Ok::<_, Error>(5)).await?;
/// assert_eq!((first, again), (4, 4));
/// # Ok::<_, Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Steps {
    store: Arc<dyn StateStore>,
    space: Subspace,
    running: Arc<Running>,
}

/// Holds a lock for each step that somebody runs or waits for.
type Running = Mutex<FxHashMap<Bytes, Weak<AsyncMutex<()>>>>;

impl Steps {
    /// Creates the steps kept in `scope`, such as a subspace of one task.
    pub fn new(store: Arc<dyn StateStore>, scope: Subspace) -> Self {
        Self {
            store,
            space: scope,
            running: Arc::default(),
        }
    }

    /// Returns the kept result of the step `name`, or runs it and keeps its result.
    ///
    /// # Errors
    ///
    /// The step's own error, or one of the store: [`TooLarge`](crate::ErrorKind::TooLarge) if the result's JSON is over
    /// its limit, [`Corrupt`](crate::ErrorKind::Corrupt) if the kept result is no `T`; otherwise as
    /// [`transact`](StateStoreExt::transact). After an error of the store the step has run and is not kept.
    ///
    /// # Cancel safety
    ///
    /// Dropped while the step runs, nothing is kept and the next caller runs it again.
    pub async fn once<T, E, F, Fut>(&self, name: &str, step: F) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<Error>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let key = self.space.pack(&(name,));
        if let Some(kept) = self.read(&key).await? {
            return Ok(from_json(&kept)?);
        }
        let turn = Turn::new(self.running.clone(), key.clone());
        let _running = turn.lock.lock().await;
        if let Some(kept) = self.read(&key).await? {
            return Ok(from_json(&kept)?);
        }
        let value = step().await?;
        match self.keep(&key, to_json(&value)?).await? {
            Some(winner) => Ok(from_json(&winner)?),
            None => Ok(value),
        }
    }

    /// Returns the kept result of a step without running it.
    ///
    /// # Errors
    ///
    /// As [`once`](Steps::once).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only reads.
    pub async fn kept<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        self.read(&self.space.pack(&(name,)))
            .await?
            .map(|json| from_json(&json))
            .transpose()
    }

    /// Forgets all steps of the scope.
    ///
    /// # Errors
    ///
    /// As [`transact`](StateStoreExt::transact).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a dropped call may have happened.
    pub async fn forget(&self) -> Result<()> {
        let all = &self.space.range();
        self.store
            .transact(|mut tx| async move { tx.clear_range(all.begin(), all.end()) })
            .await
    }

    async fn read(&self, key: &Bytes) -> Result<Option<Bytes>> {
        self.store
            .transact(|mut tx| async move { tx.get(key).await })
            .await
    }

    /// Keeps a result unless there is one already, which it returns.
    async fn keep(&self, key: &Bytes, json: Bytes) -> Result<Option<Bytes>> {
        let json = &json;
        let keep = |mut tx: Tx| async move {
            let winner = tx.get(key).await?;
            if winner.is_none() {
                tx.set(key, json.clone())?;
            }
            Ok(winner)
        };
        self.store.transact(keep).await
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steps")
            .field("space", &self.space)
            .finish_non_exhaustive()
    }
}

/// Is a place in the queue for one step; the last one to leave removes the step's lock.
struct Turn {
    running: Arc<Running>,
    key: Bytes,
    lock: Arc<AsyncMutex<()>>,
}

impl Turn {
    fn new(running: Arc<Running>, key: Bytes) -> Self {
        let mut map = running.lock();
        let lock = map.get(&key).and_then(Weak::upgrade).unwrap_or_default();
        map.insert(key.clone(), Arc::downgrade(&lock));
        drop(map);
        Self { running, key, lock }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut map = self.running.lock();
        if Arc::strong_count(&self.lock) == 1 {
            map.remove(&self.key);
        }
    }
}
