//! What a rate limit tells about itself.

use std::error::Error as StdError;
use std::time::Duration;

/// Is told what a rate limit does to calls that may not go at once. Every method does nothing unless it is overridden.
pub trait RateObserver: Send + Sync + 'static {
    /// A call was parked for a span.
    fn on_park(&self, wait: Duration) {
        let _ = wait;
    }

    /// A call was refused: it would have had to wait longer than allowed.
    fn on_refused(&self) {}

    /// The shared store failed or was too slow, and the local share decided instead.
    fn on_store_failure(&self, error: &(dyn StdError + 'static)) {
        let _ = error;
    }
}

/// Observes nothing.
impl RateObserver for () {}
