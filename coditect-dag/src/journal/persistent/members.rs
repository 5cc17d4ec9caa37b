//! Who is there to own partitions.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coditect_state::{Result, Stamped, StateStoreExt, Transaction, TransactionExt, Tx};

use super::StoreJournal;
use super::head;
use super::watch::follow;
use crate::Timestamp;
use crate::journal::{Error, Roster, Watch};

impl StoreJournal {
    pub(super) async fn attend_as(
        &self,
        member: &str,
        ttl: Duration,
    ) -> std::result::Result<(), Error> {
        let key = &self.keys.member(member);
        let attend = |mut tx: Tx| async move {
            let now = Timestamp::from(self.store.now().await?);
            let until: Option<Timestamp> = tx.get_json(key).await?;
            tx.set_json(key, &now.saturating_add(ttl))?;
            if until.is_some_and(|until| until > now) {
                return Ok(());
            }
            self.forget_members(&mut *tx, key, now).await?;
            self.change_roster(&mut *tx)
        };
        Ok(self.store.transact(attend).await?)
    }

    /// Forgets those who are there no longer, so that members who come and die leave nothing behind.
    async fn forget_members(
        &self,
        tx: &mut dyn Transaction,
        newcomer: &Bytes,
        now: Timestamp,
    ) -> Result<()> {
        // Read as a snapshot, or all who attend at once would conflict.
        for entry in tx.range_all(self.keys.members().snapshot()).await? {
            let until: Timestamp = head::decode(&entry.value)?;
            // Read once more, so that one that is back at this very moment is not forgotten.
            if until <= now && entry.key != *newcomer && tx.get(&entry.key).await?.is_some() {
                tx.clear(&entry.key)?;
            }
        }
        Ok(())
    }

    pub(super) async fn leave_as(&self, member: &str) -> std::result::Result<(), Error> {
        let key = &self.keys.member(member);
        let leave = |mut tx: Tx| async move {
            if tx.get(key).await?.is_none() {
                return Ok(());
            }
            tx.clear(key)?;
            self.change_roster(&mut *tx)
        };
        Ok(self.store.transact(leave).await?)
    }

    pub(super) async fn read_roster(&self) -> std::result::Result<Roster, Error> {
        let read = |mut tx: Tx| async move {
            let now = Timestamp::from(self.store.now().await?);
            let mut members = Vec::new();
            for entry in tx.range_all(self.keys.members().snapshot()).await? {
                let until: Timestamp = head::decode(&entry.value)?;
                if until > now
                    && let Some(name) = self.keys.member_at(&entry.key)
                {
                    members.push(name.to_owned());
                }
            }
            Ok(Roster::new(members, self.owners_at(&mut *tx, now).await?))
        };
        Ok(self.store.transact(read).await?)
    }

    /// Tells those who watch the roster.
    pub(super) fn change_roster(&self, tx: &mut dyn Transaction) -> Result<()> {
        tx.set_stamped_value(&self.keys.roster(), Stamped::new("", 0, ""))
    }

    pub(super) async fn watch_members(&self) -> std::result::Result<Watch, Error> {
        let (watch, handle) = follow(Arc::clone(&self.store), self.keys.roster()).await?;
        Ok(watch.with_guard(handle))
    }
}
