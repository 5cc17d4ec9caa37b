//! Leases: exclusive rights bounded in time, with fencing tokens that grow.
//!
//! A lease has two records: who owns it under which token, and until when. Renewal touches only the second, so
//! transactions [guarded](Lease::guard) by a lease conflict with a change of owner but not with renewals.

mod kept;
mod record;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::sleep;

pub use self::kept::KeptLease;
use self::record::{Expiry, Owner};
use crate::error::{Error, ErrorKind, Result};
use crate::key::Subspace;
use crate::store::StateStore;
use crate::token::FencingToken;
use crate::transact::{StateStoreExt, TransactOptions, Tx};
use crate::transaction::{Transaction, TransactionExt};

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

    /// Acquires a lease for `ttl` if nobody holds it.
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

    fn owner_key(&self, name: &str) -> Bytes {
        self.space.pack(&(name, "owner"))
    }

    fn expiry_key(&self, name: &str) -> Bytes {
        self.space.pack(&(name, "expiry"))
    }
}

/// Is an exclusive right that ends at its expiry unless it is renewed in time.
///
/// Dropping it releases nothing: it runs out. [`keep`](Lease::keep) renews it in the background.
#[must_use = "a lease that nobody renews runs out"]
pub struct Lease {
    leases: Leases,
    name: Arc<str>,
    holder: Arc<str>,
    token: FencingToken,
    ttl: Duration,
}

impl Lease {
    /// Returns the name of the lease.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns who holds it.
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// Returns the token of this holding; it is greater than all before it.
    pub fn token(&self) -> FencingToken {
        self.token
    }

    /// Returns how long the lease lasts from each renewal.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Extends the lease to its full time from now.
    ///
    /// # Errors
    ///
    /// [`LeaseLost`](ErrorKind::LeaseLost) if it has expired, even if nobody has taken it yet, or is someone
    /// else's; otherwise as [`transact`](StateStoreExt::transact).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: at worst it was extended.
    pub async fn renew(&self) -> Result<()> {
        let leases = &self.leases;
        let expiry_key = &leases.expiry_key(&self.name);
        let renew = |mut tx: Tx| async move {
            let now = leases.store.now().await?;
            self.guard(&mut *tx).await?;
            match tx.get_json::<Expiry>(expiry_key).await? {
                Some(expiry) if expiry.time() > now => {
                    tx.set_json(expiry_key, &Expiry::new(now + self.ttl))
                }
                _ => Err(self.lost("has expired")),
            }
        };
        let options = TransactOptions::new().with_timeout(self.ttl);
        let renewed = leases.store.transact_with(options, renew).await;
        if renewed
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::LeaseLost)
        {
            leases.store.observer().lease_lost(&self.name, self.token);
        }
        renewed
    }

    /// Makes a transaction commit only if the lease is still this one at that moment.
    ///
    /// This is the fence: whoever was paused past its expiry cannot write under a lease that has gone to
    /// another. Renewals do not conflict with it.
    ///
    /// # Errors
    ///
    /// [`LeaseLost`](ErrorKind::LeaseLost) if the lease is someone else's or was released; otherwise as
    /// [`Transaction::get`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only reads.
    pub async fn guard(&self, tx: &mut dyn Transaction) -> Result<()> {
        let owner: Option<Owner> = tx.get_json(&self.leases.owner_key(&self.name)).await?;
        match owner {
            Some(Owner {
                token,
                holder: Some(_),
            }) if token == self.token => Ok(()),
            _ => Err(self.lost("is no longer held under this token")),
        }
    }

    /// Gives the lease back, so that the next one need not wait for the expiry.
    ///
    /// # Errors
    ///
    /// [`LeaseLost`](ErrorKind::LeaseLost) if it was someone else's already; otherwise as
    /// [`transact`](StateStoreExt::transact).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: at worst it runs out.
    pub async fn release(self) -> Result<()> {
        self.give_back().await
    }

    /// Renews the lease in the background, three times in its length, until it is lost, released or dropped.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn keep(self) -> KeptLease {
        KeptLease::start(self)
    }

    async fn give_back(&self) -> Result<()> {
        let owner_key = &self.leases.owner_key(&self.name);
        let release = |mut tx: Tx| async move {
            self.guard(&mut *tx).await?;
            // The token stays, so that the next one is greater.
            tx.set_json(
                owner_key,
                &Owner {
                    token: self.token,
                    holder: None,
                },
            )
        };
        self.leases.store.transact(release).await
    }

    fn lost(&self, how: &str) -> Error {
        Error::lease_lost(format!(
            "lease {} with token {} {how}",
            self.name, self.token
        ))
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("name", &self.name)
            .field("holder", &self.holder)
            .field("token", &self.token)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}
