//! Who owns a partition: claims, renewals, releases, and the proof that every append brings.

use std::time::Duration;

use coditect_state::{Result, StateStoreExt, Transaction, TransactionExt, Tx};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::StoreJournal;
use super::error::fenced;
use super::head::{self, Head};
use super::key::Keys;
use crate::journal::{Error, FencingToken, Partition, PartitionLease};
use crate::{RunId, Timestamp};

/// Says who owns a partition, or who did last. Only claims and releases write it.
#[derive(Debug, Serialize, Deserialize)]
struct OwnerRow {
    token: FencingToken,
    held: bool,
    owner: String,
    /// Whether it was handed over; a lease that follows another one's end does not follow this.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    handed_over: bool,
}

/// Counts what an owner has done. Every append writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CounterRow {
    pub(super) appends: u64,
    /// How many settled runs the partition holds.
    pub(super) settled: u64,
}

/// Is what this process knows of a partition that it owns; true while nobody else appends.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) token: FencingToken,
    pub(super) appends: u64,
    /// Of open runs.
    pub(super) heads: FxHashMap<RunId, Head>,
}

impl StoreJournal {
    pub(super) async fn claim_partition(
        &self,
        partition: Partition,
        owner: &str,
        ttl: Duration,
    ) -> std::result::Result<Option<PartitionLease>, Error> {
        self.check_partition(partition)?;
        let asked = Instant::now();
        let (owner_key, expiry_key) = (&self.keys.owner(partition), &self.keys.expiry(partition));
        let claim = |mut tx: Tx| async move {
            let now = Timestamp::from(self.store.now().await?);
            let last: Option<OwnerRow> = tx.get_json(owner_key).await?;
            let until: Option<Timestamp> = tx.get_json(expiry_key).await?;
            let held = last.as_ref().is_some_and(|last| last.held);
            if held && until.is_some_and(|until| until > now) {
                return Ok(None);
            }
            let follows = last.as_ref().is_some_and(|last| last.handed_over);
            let token = FencingToken::following(last.map(|last| last.token), now);
            let row = OwnerRow {
                token,
                held: true,
                owner: owner.to_owned(),
                handed_over: false,
            };
            tx.set_json(owner_key, &row)?;
            tx.set_json(expiry_key, &now.saturating_add(ttl))?;
            self.change_roster(&mut *tx)?;
            Ok(Some((token, follows)))
        };
        let claimed = self.store.transact(claim).await?;
        Ok(claimed.map(|(token, follows)| {
            PartitionLease::new(partition, token, owner, ttl, asked).with_follows_hand_over(follows)
        }))
    }

    pub(super) async fn renew_lease(
        &self,
        lease: &PartitionLease,
    ) -> std::result::Result<PartitionLease, Error> {
        self.check_partition(lease.partition())?;
        let asked = Instant::now();
        let expiry_key = &self.keys.expiry(lease.partition());
        let renew = |mut tx: Tx| async move {
            self.check_owner(&mut *tx, lease).await?;
            let now = Timestamp::from(self.store.now().await?);
            tx.set_json(expiry_key, &now.saturating_add(lease.ttl()))
        };
        self.store.transact(renew).await?;
        Ok(lease.renewed(asked))
    }

    pub(super) async fn release_lease(
        &self,
        lease: &PartitionLease,
        handed_over: bool,
    ) -> std::result::Result<(), Error> {
        self.check_partition(lease.partition())?;
        let partition = lease.partition();
        let (owner_key, expiry_key) = (&self.keys.owner(partition), &self.keys.expiry(partition));
        let release = |mut tx: Tx| async move {
            self.check_owner(&mut *tx, lease).await?;
            let row = OwnerRow {
                token: lease.token(),
                held: false,
                owner: lease.owner().to_owned(),
                handed_over,
            };
            tx.set_json(owner_key, &row)?;
            tx.clear(expiry_key)?;
            self.change_roster(&mut *tx)
        };
        self.store.transact(release).await?;
        self.owned.lock().remove(&partition);
        Ok(())
    }

    /// Ends every lease, and nobody is there any more. Tokens go on growing, so that a former owner stays refused.
    pub(super) async fn end_leases(&self) -> std::result::Result<(), Error> {
        let end = |mut tx: Tx| async move {
            for partition in self.config.partitions.partitions() {
                let key = &self.keys.owner(partition);
                if let Some(row) = tx.get_json::<OwnerRow>(key).await?
                    && (row.held || row.handed_over)
                {
                    let (held, handed_over) = (false, false);
                    let row = OwnerRow {
                        held,
                        handed_over,
                        ..row
                    };
                    tx.set_json(key, &row)?;
                    tx.clear(&self.keys.expiry(partition))?;
                }
            }
            let members = self.keys.members();
            tx.clear_range(members.begin(), members.end())
        };
        Ok(self.store.transact(end).await?)
    }

    /// Returns the owners of all partitions whose leases last at a moment.
    pub(super) async fn owners_at(
        &self,
        tx: &mut dyn Transaction,
        now: Timestamp,
    ) -> Result<Vec<Option<String>>> {
        // Renewals go on meanwhile, and nothing is decided here.
        let mut owners = vec![None; usize::from(self.config.partitions.get())];
        for entry in tx.range_all(self.keys.owners().snapshot()).await? {
            let row: OwnerRow = head::decode(&entry.value)?;
            let owner = Keys::partition_at(&entry.key);
            if let Some(owner) = owner.and_then(|at| owners.get_mut(at.index())) {
                *owner = row.held.then_some(row.owner);
            }
        }
        let mut lasts = vec![false; owners.len()];
        for entry in tx.range_all(self.keys.expiries().snapshot()).await? {
            let until: Timestamp = head::decode(&entry.value)?;
            let last = Keys::partition_at(&entry.key);
            if let Some(last) = last.and_then(|at| lasts.get_mut(at.index())) {
                *last = until > now;
            }
        }
        let owners = owners.into_iter().zip(lasts);
        let owners = owners.map(|(owner, lasts)| owner.filter(|_| lasts));
        Ok(owners.collect())
    }

    /// Makes a transaction commit only if the lease is the current one at that moment.
    pub(super) async fn check_owner(
        &self,
        tx: &mut dyn Transaction,
        lease: &PartitionLease,
    ) -> Result<()> {
        let row: Option<OwnerRow> = tx.get_json(&self.keys.owner(lease.partition())).await?;
        match row {
            Some(row) if row.held && row.token == lease.token() => Ok(()),
            _ => Err(fenced()),
        }
    }

    pub(super) async fn counter(
        &self,
        tx: &mut dyn Transaction,
        partition: Partition,
    ) -> Result<CounterRow> {
        let row = tx.get_json(&self.keys.counter(partition)).await?;
        Ok(row.unwrap_or_default())
    }

    /// Returns the head of an open run, if this process knows it.
    pub(super) fn known_head(
        &self,
        lease: &PartitionLease,
        appends: u64,
        run: RunId,
    ) -> Option<Head> {
        let owned = self.owned.lock();
        let owned = owned.get(&lease.partition())?;
        let current = owned.token == lease.token() && owned.appends == appends;
        let head = current.then(|| owned.heads.get(&run).cloned());
        head.flatten()
    }

    /// Takes note of the heads that an append has left, if they follow on what was known.
    pub(super) fn remember(
        &self,
        lease: &PartitionLease,
        before: u64,
        heads: impl Iterator<Item = (RunId, Head)>,
    ) {
        let mut owned = self.owned.lock();
        let fresh = || Owned {
            token: lease.token(),
            appends: before,
            heads: FxHashMap::default(),
        };
        let owned = owned.entry(lease.partition()).or_insert_with(fresh);
        if owned.token > lease.token() || (owned.token == lease.token() && owned.appends > before) {
            return;
        }
        if owned.token != lease.token() || owned.appends != before {
            *owned = fresh();
        }
        owned.appends = before + 1;
        for (run, head) in heads {
            if head.is_settled() {
                owned.heads.remove(&run);
            } else {
                owned.heads.insert(run, head);
            }
        }
    }
}
