//! What hedging tells about itself.

use std::time::Duration;

/// Is told what a hedge does. Every method does nothing unless it is overridden.
pub trait HedgeObserver: Send + Sync + 'static {
    /// A second call was made, after this delay.
    fn on_hedge(&self, delay: Duration) {
        let _ = delay;
    }

    /// A hedged call ended; `second` tells whether the second call's answer was used.
    fn on_settle(&self, second: bool) {
        let _ = second;
    }
}

/// Observes nothing.
impl HedgeObserver for () {}
