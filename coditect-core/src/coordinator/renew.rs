//! Renews the lease of a partition, beside its owner's loop.

use std::sync::Arc;

use coditect_dag::journal::PartitionLease;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::Shared;

/// Renews the lease until it is lost or given back, which `lost` says, or everything ends at once.
pub(super) fn start(
    shared: &Arc<Shared>,
    lease: &Arc<Mutex<PartitionLease>>,
    lost: &CancellationToken,
) {
    let (shared, lease, lost) = (Arc::clone(shared), Arc::clone(lease), lost.clone());
    let tracker = shared.tracker.clone();
    tracker.spawn(async move {
        loop {
            let held = lease.lock().clone();
            tokio::select! {
                biased;
                () = lost.cancelled() => return,
                () = shared.abort.cancelled() => return,
                () = tokio::time::sleep(held.ttl() / 3) => {}
            }
            let renewal = shared.ports.journal.renew(&held);
            match tokio::time::timeout(held.ttl() / 3, renewal).await {
                Ok(Ok(renewed)) => *lease.lock() = renewed,
                // It was given back meanwhile.
                _ if lost.is_cancelled() => return,
                Err(_) if !held.is_expired() => {}
                Err(_) => {
                    tracing::warn!(partition = %held.partition(), "the lease could not be renewed in time");
                    lost.cancel();
                    return;
                }
                Ok(Err(error)) if error.is_retryable() && !held.is_expired() => {}
                Ok(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(partition = %held.partition(), error, "the partition was lost");
                    lost.cancel();
                    return;
                }
            }
        }
    });
}
