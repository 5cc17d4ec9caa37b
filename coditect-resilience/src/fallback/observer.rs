//! What a fallback tells about itself.

use crate::classification::Classification;

/// Is told when a fallback is used. It does nothing unless it is overridden.
pub trait FallbackObserver: Send + Sync + 'static {
    /// The first service's outcome was of this class, and the other one is asked.
    fn on_fallback(&self, class: Classification) {
        let _ = class;
    }
}

/// Observes nothing.
impl FallbackObserver for () {}
