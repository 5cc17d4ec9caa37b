//! Election: one of several candidates leads, under a fencing token.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::key::Subspace;
use crate::lease::{KeptLease, LeaseInfo, Leases};
use crate::store::StateStore;

/// Lets candidates campaign for one leadership.
///
/// Leadership is a [`KeptLease`]: it is renewed in the background, tells when it is lost, guards
/// transactions, and is resigned by releasing it.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::sync::Arc;
/// use coditect_state::{Election, MemoryStore, StateStoreExt, key::Subspace};
///
/// let store = Arc::new(MemoryStore::new());
/// let election = Election::new(store.clone(), Subspace::new(&("election",)), "partition-7", "host-a");
/// let leadership = &election.campaign().await?;
/// store
///     .transact(|mut tx| async move {
///         leadership.guard(&mut *tx).await?; // An old leader's writes end here.
///         tx.set(b"journal/1", "run accepted".into())
///     })
///     .await?;
/// # Ok::<_, coditect_state::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Election {
    leases: Leases,
    name: String,
    candidate: String,
    ttl: Duration,
}

impl Election {
    /// How long leadership outlives a leader that has died, when nothing else is asked for.
    pub const DEFAULT_TTL: Duration = Duration::from_secs(6);

    /// Creates a candidacy of `candidate` for the leadership `name`.
    pub fn new(
        store: Arc<dyn StateStore>,
        space: Subspace,
        name: impl Into<String>,
        candidate: impl Into<String>,
    ) -> Self {
        let leases = Leases::new(store, space);
        Self {
            leases,
            name: name.into(),
            candidate: candidate.into(),
            ttl: Self::DEFAULT_TTL,
        }
    }

    /// Sets how long leadership outlives a leader that has died.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Waits until this candidate leads.
    ///
    /// It wakes when the leader resigns, by a watch, and when its lease expires.
    ///
    /// # Errors
    ///
    /// As [`transact`](crate::StateStoreExt::transact).
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: leadership won by a dropped call stays taken until it expires.
    pub async fn campaign(&self) -> Result<KeptLease> {
        let lease = self
            .leases
            .acquire(&self.name, &self.candidate, self.ttl)
            .await?;
        Ok(lease.keep())
    }

    /// Returns who leads, if anybody does.
    ///
    /// # Errors
    ///
    /// As [`transact`](crate::StateStoreExt::transact).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only reads.
    pub async fn leader(&self) -> Result<Option<LeaseInfo>> {
        self.leases.holder(&self.name).await
    }
}
