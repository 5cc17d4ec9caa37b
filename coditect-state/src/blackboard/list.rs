//! Lists on the blackboard: entries in the order of their commits.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Blackboard, BlackboardFollow};
use crate::error::Result;
use crate::key::Subspace;
use crate::range::{Page, Range};
use crate::transact::{StateStoreExt, Tx};
use crate::transaction::{TransactionExt, from_json};
use crate::version::Stamped;

impl Blackboard {
    /// Adds an entry to the end of a list; any number may do so at once, without conflicts.
    ///
    /// # Errors
    ///
    /// As [`put`](Blackboard::put).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a dropped call may have happened.
    pub async fn append<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<()> {
        let (entry, json) = (&self.entries(name).stamped(&(), 0), &self.json(value)?);
        let head = &self.head_key(name);
        let append = |mut tx: Tx| async move {
            tx.set_stamped_key(entry.clone(), json.clone())?;
            // What followers watch; entries themselves have keys that nobody knows beforehand.
            tx.set_stamped_value(head, Stamped::new(Bytes::new(), 0, Bytes::new()))
        };
        self.store.transact(append).await
    }

    /// Reads a whole list, the oldest entry first.
    ///
    /// # Errors
    ///
    /// As [`get`](Blackboard::get).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only reads.
    pub async fn list<T: DeserializeOwned + Send>(&self, name: &str) -> Result<Vec<T>> {
        let range = &self.entries(name).range().snapshot();
        let entries = self
            .store
            .transact(|mut tx| async move { tx.range_all(range.clone()).await })
            .await?;
        entries
            .iter()
            .map(|entry| from_json(&entry.value))
            .collect()
    }

    /// Follows a list from its first entry, through those yet to come.
    ///
    /// # Errors
    ///
    /// As [`StateStore::watch`](crate::StateStore::watch).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn follow<T: DeserializeOwned + Send>(
        &self,
        name: &str,
    ) -> Result<BlackboardFollow<T>> {
        let watch = self.store.watch(&self.head_key(name)).await?;
        Ok(BlackboardFollow::new(
            self.clone(),
            self.entries(name).range().snapshot(),
            watch,
        ))
    }

    pub(super) async fn page(&self, range: &Range) -> Result<Page> {
        self.store
            .transact(|mut tx| async move { tx.range(range.clone()).await })
            .await
    }

    fn entries(&self, name: &str) -> Subspace {
        self.space.child(&("list", name))
    }

    fn head_key(&self, name: &str) -> Bytes {
        self.space.pack(&("head", name))
    }
}
