//! What a retry tells about itself.

use std::time::Duration;

use super::policy::GiveUp;

/// Is told what a [`Retry`](super::Retry) does. Every method does nothing unless it is overridden.
///
/// It is called on the path of the call: count, and return.
pub trait RetryObserver: Send + Sync + 'static {
    /// A try failed; the try numbered `attempt` (from 2) follows after `delay`.
    fn on_retry(&self, attempt: u32, delay: Duration) {
        let _ = (attempt, delay);
    }

    /// A call succeeded after `attempts` tries.
    fn on_success(&self, attempts: u32) {
        let _ = attempts;
    }

    /// A call failed for good after `attempts` tries.
    fn on_give_up(&self, attempts: u32, why: GiveUp) {
        let _ = (attempts, why);
    }
}

/// Observes nothing.
impl RetryObserver for () {}
