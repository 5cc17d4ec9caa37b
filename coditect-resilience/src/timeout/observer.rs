//! What a timeout tells about itself.

use std::time::Duration;

/// Is told when a [`Timeout`](super::Timeout) drops a call. It does nothing unless it is overridden.
pub trait TimeoutObserver: Send + Sync + 'static {
    /// A call did not end within `limit` and was dropped.
    fn on_timeout(&self, limit: Duration) {
        let _ = limit;
    }
}

/// Observes nothing.
impl TimeoutObserver for () {}
