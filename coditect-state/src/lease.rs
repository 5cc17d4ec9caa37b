//! Leases: exclusive rights bounded in time, with fencing tokens that grow.
//!
//! A lease has two records: who owns it under which token, and until when. Renewal touches only the second, so
//! transactions [guarded](Lease::guard) by a lease conflict with a change of owner but not with renewals.

mod held;
mod kept;
mod record;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::sleep;

pub use self::held::Lease;
pub use self::kept::KeptLease;
use self::record::{Expiry, Owner};
use crate::error::{Error, Result};
use crate::key::Subspace;
use crate::store::StateStore;
use crate::token::FencingToken;
use crate::transact::{StateStoreExt, Tx};
use crate::transaction::{Transaction, TransactionExt};

/// The longest a lease lasts without renewal, so that no sum of times overflows.
const MAX_TTL: Duration = Duration::from_secs(365 * 24 * 3600);

/// Hands out leases by name, within one subspace of a store.
#[derive(Debug, Clone)]
pub struct Leases {
    store: Arc<dyn StateStore>,
    space: Subspace,
}

/// Describes who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseInfo {
    /// Who holds it, in the holder's own words.
    pub holder: String,
    /// The token of this holding.
    pub token: FencingToken,
    /// When it expires unless renewed, by the store's clock.
    pub expires_at: SystemTime,
}

impl Leases {
    /// Creates the leases kept in `space`.
    pub fn new(store: Arc<dyn StateStore>, space: Subspace) -> Self {
        Self { store, space }
    }

    /// Acquires a lease for `ttl`, a year at most, if nobody holds it.
    ///
    /// The name of the holder is for people and proves nothing: whoever starts anew under the same name waits
    /// for the expiry like everybody else.
    ///
    /// # Errors
    ///
    /// As [`transact`](StateStoreExt::transact).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: a lease acquired by a dropped call stays taken until it expires.
    pub async fn try_acquire(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>> {
        let ttl = ttl.min(MAX_TTL);
        let (owner_key, expiry_key) = (&self.owner_key(name), &self.expiry_key(name));
        let acquire = |mut tx: Tx| async move {
            let now = self.store.now().await?;
            let last: Option<Owner> = tx.get_json(owner_key).await?;
            if let Some(Owner {
                holder: Some(_), ..
            }) = last
                && let Some(expiry) = tx.get_json::<Expiry>(expiry_key).await?
                && expiry.time() > now
            {
                return Ok(None);
            }
            let token = record::next_token(last.map(|owner| owner.token), now);
            tx.set_json(
                owner_key,
                &Owner {
                    token,
                    holder: Some(holder.to_owned()),
                },
            )?;
            tx.set_json(expiry_key, &Expiry::new(now + ttl))?;
            Ok(Some(token))
        };
        let Some(token) = self.store.transact(acquire).await? else {
            return Ok(None);
        };
        self.store.observer().lease_acquired(name, token);
        Ok(Some(Lease {
            leases: self.clone(),
            name: name.into(),
            holder: holder.into(),
            token,
            ttl,
        }))
    }

    /// Acquires a lease for `ttl`, waiting until it is free.
    ///
    /// It wakes when the holder releases the lease and when the lease expires.
    ///
    /// # Errors
    ///
    /// As [`transact`](StateStoreExt::transact).
    ///
    /// # Cancel safety
    ///
    /// As [`try_acquire`](Leases::try_acquire).
    pub async fn acquire(&self, name: &str, holder: &str, ttl: Duration) -> Result<Lease> {
        loop {
            // Registered before the look, so that a release in between is not missed.
            let mut released = self.store.watch(&self.owner_key(name)).await?;
            if let Some(lease) = self.try_acquire(name, holder, ttl).await? {
                return Ok(lease);
            }
            let now = self.store.now().await?;
            let Some(info) = self.holder(name).await? else {
                continue;
            };
            let remaining = info.expires_at.duration_since(now).unwrap_or_default();
            tokio::select! {
                changed = released.changed() => changed?,
                () = sleep(remaining.max(Duration::from_millis(1))) => {}
            }
        }
    }

    /// Returns who holds a lease, or `None` if it is free or expired.
    ///
    /// # Errors
    ///
    /// As [`transact`](StateStoreExt::transact).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only reads.
    pub async fn holder(&self, name: &str) -> Result<Option<LeaseInfo>> {
        let (owner_key, expiry_key) = (&self.owner_key(name), &self.expiry_key(name));
        let read = |mut tx: Tx| async move {
            let owner = tx.get_json::<Owner>(owner_key).await?;
            Ok((owner, tx.get_json::<Expiry>(expiry_key).await?))
        };
        let (
            Some(Owner {
                token,
                holder: Some(holder),
            }),
            Some(expiry),
        ) = self.store.transact(read).await?
        else {
            return Ok(None);
        };
        let info = LeaseInfo {
            holder,
            token,
            expires_at: expiry.time(),
        };
        Ok((info.expires_at > self.store.now().await?).then_some(info))
    }

    /// Makes a transaction commit only if the lease `name` is held under `token` at that moment.
    ///
    /// For those who have the token and not the [`Lease`], which has a [`guard`](Lease::guard) of its own.
    ///
    /// # Errors
    ///
    /// [`LeaseLost`](crate::ErrorKind::LeaseLost) if the lease is someone else's or was released; otherwise as
    /// [`Transaction::get`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only reads.
    pub async fn guard(
        &self,
        tx: &mut dyn Transaction,
        name: &str,
        token: FencingToken,
    ) -> Result<()> {
        let owner: Option<Owner> = tx.get_json(&self.owner_key(name)).await?;
        match owner {
            Some(Owner {
                token: current,
                holder: Some(_),
            }) if current == token => Ok(()),
            _ => Err(lost(name, token, "is no longer held")),
        }
    }

    fn owner_key(&self, name: &str) -> Bytes {
        self.space.pack(&(name, "owner"))
    }

    fn expiry_key(&self, name: &str) -> Bytes {
        self.space.pack(&(name, "expiry"))
    }
}

fn lost(name: &str, token: FencingToken, how: &str) -> Error {
    Error::lease_lost(format!("lease {name} under token {token} {how}"))
}
