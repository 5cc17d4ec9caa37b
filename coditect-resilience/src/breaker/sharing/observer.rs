//! What the sharing of breakers tells about itself.

use std::error::Error as StdError;

/// Is told when [`BreakerSharing`](super::BreakerSharing) cannot reach its store. What it adopts is told to the
/// breakers' own observer, with the cause [`Cause::Shared`](crate::Cause::Shared).
pub trait SharingObserver: Send + Sync + 'static {
    /// The store failed, or did not answer in time.
    fn on_store_failure(&self, error: &(dyn StdError + 'static)) {
        let _ = error;
    }
}

/// Observes nothing.
impl SharingObserver for () {}
