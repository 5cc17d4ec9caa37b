//! What a bulkhead tells about itself.

/// Is told what a bulkhead does to calls that it does not let in at once. Every method does nothing unless it is
/// overridden. `name` is the compartment's, empty unless it was given one.
pub trait BulkheadObserver: Send + Sync + 'static {
    /// A call began to wait, as one of `waiting`.
    fn on_wait(&self, name: &str, waiting: u32) {
        let _ = (name, waiting);
    }

    /// A call was refused: the queue is full, or it waited too long.
    fn on_refused(&self, name: &str) {
        let _ = name;
    }
}

/// Observes nothing.
impl BulkheadObserver for () {}
