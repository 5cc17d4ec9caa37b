//! A lease that is renewed in the background.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

use super::Lease;
use crate::error::{ErrorKind, Result};

/// How many renewals are due in the length of a lease.
const RENEWALS: u32 = 3;
/// Into how many parts the length is cut for trying again after a failed renewal.
const RETRIES: u32 = 10;

/// Is a [`Lease`] whose renewals a task of its own takes care of, so that busy holders do not lose it.
///
/// [`lost`](KeptLease::lost) fires when the lease is someone else's, and when it could not be renewed for its whole length:
/// by this machine's clock, counted from before the last successful renewal, so before anybody else can hold it.
/// Dropping it ends the renewal, and the lease runs out; [`release`](KeptLease::release) gives it back at once.
#[must_use = "a kept lease is no longer renewed when it is dropped"]
pub struct KeptLease {
    lease: Arc<Lease>,
    lost: CancellationToken,
    stop: CancellationToken,
    renewal: JoinHandle<()>,
    /// Stops the renewal when the handle is dropped.
    _guard: DropGuard,
}

impl KeptLease {
    pub(super) fn start(lease: Lease) -> Self {
        let (lease, lost, stop) = (
            Arc::new(lease),
            CancellationToken::new(),
            CancellationToken::new(),
        );
        let renewal = tokio::spawn(renew(lease.clone(), lost.clone(), stop.clone()));
        Self {
            lease,
            lost,
            _guard: stop.clone().drop_guard(),
            stop,
            renewal,
        }
    }

    /// Returns a token that is cancelled when the lease is lost, and never by a release.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Stops the renewal and gives the lease back.
    ///
    /// # Errors
    ///
    /// As [`Lease::release`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: at worst the lease runs out.
    pub async fn release(self) -> Result<()> {
        self.stop.cancel();
        if let Err(panic) = self.renewal.await {
            warn!(lease = self.lease.name(), %panic, "renewal of the lease ended badly");
        }
        self.lease.give_back().await
    }
}

impl Deref for KeptLease {
    type Target = Lease;

    fn deref(&self) -> &Lease {
        &self.lease
    }
}

impl fmt::Debug for KeptLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptLease")
            .field("lease", &self.lease)
            .field("lost", &self.lost.is_cancelled())
            .finish()
    }
}

async fn renew(lease: Arc<Lease>, lost: CancellationToken, stop: CancellationToken) {
    // Without knowing how long ago it was acquired, the first renewal comes at once.
    let mut due = Instant::now();
    let mut expires = due + lease.ttl();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep_until(due) => {}
        }
        let asked = Instant::now();
        let renewed = tokio::select! {
            () = stop.cancelled() => return,
            renewed = timeout_at(expires, lease.renew()) => renewed,
        };
        match renewed {
            Ok(Ok(())) => {
                expires = asked + lease.ttl();
                due = asked + lease.ttl() / RENEWALS;
                continue;
            }
            Ok(Err(error)) if error.kind() != ErrorKind::LeaseLost && Instant::now() < expires => {
                warn!(lease = lease.name(), %error, "lease could not be renewed, trying again");
                due = (Instant::now() + lease.ttl() / RETRIES).min(expires);
                continue;
            }
            Ok(Err(error)) => warn!(lease = lease.name(), %error, "lease is lost"),
            Err(_) => warn!(
                lease = lease.name(),
                "lease is lost: the store did not answer for its whole length"
            ),
        }
        lost.cancel();
        return;
    }
}
