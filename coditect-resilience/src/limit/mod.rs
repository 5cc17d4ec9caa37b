//! Adaptive concurrency and load shedding: a limit that finds itself, and who is refused first when it is near.

mod adaptive;
mod layer;
mod limiter;
mod observer;
mod priority;
mod service;

pub use adaptive::{AdaptiveLimit, AdaptivePolicy, Sample};
pub use layer::ConcurrencyLimitLayer;
pub use limiter::{ConcurrencyLimiter, InFlight};
pub use observer::LimitObserver;
pub use priority::{PickPriority, SheddingPolicy};
pub use service::{ConcurrencyLimit, Measured};

#[cfg(test)]
mod tests;
