//! A lease in the hands of its holder.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::record::{Expiry, Owner};
use super::{KeptLease, Leases, lost};
use crate::error::{ErrorKind, Result};
use crate::token::FencingToken;
use crate::transact::{StateStoreExt, TransactOptions, Tx};
use crate::transaction::{Transaction, TransactionExt};

/// Is an exclusive right that ends at its expiry unless it is renewed in time.
///
/// Dropping it releases nothing: it runs out. [`keep`](Lease::keep) renews it in the background.
#[must_use = "a lease that nobody renews runs out"]
pub struct Lease {
    pub(super) leases: Leases,
    pub(super) name: Arc<str>,
    pub(super) holder: Arc<str>,
    pub(super) token: FencingToken,
    pub(super) ttl: Duration,
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
                _ => Err(lost(&self.name, self.token, "has expired")),
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
        self.leases.guard(tx, &self.name, self.token).await
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

    pub(super) async fn give_back(&self) -> Result<()> {
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
