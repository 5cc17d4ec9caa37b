//! What a concurrency limit tells about itself.

/// Is told what a concurrency limit does. Every method does nothing unless it is overridden.
pub trait LimitObserver: Send + Sync + 'static {
    /// A call of this priority (0 is the highest) was refused at this limit.
    fn on_shed(&self, priority: u8, limit: u32) {
        let _ = (priority, limit);
    }

    /// The limit moved.
    fn on_limit(&self, from: u32, to: u32) {
        let _ = (from, to);
    }
}

/// Observes nothing.
impl LimitObserver for () {}
