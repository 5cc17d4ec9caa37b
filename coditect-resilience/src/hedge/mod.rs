//! Hedging: a second call where the first takes unusually long, as a tower layer.

mod future;
mod latency;
mod layer;
mod observer;
mod policy;
mod service;

pub use future::HedgeFuture;
pub use latency::LatencyTracker;
pub use layer::{HedgeLayer, IsSafe};
pub use observer::HedgeObserver;
pub use policy::HedgePolicy;
pub use service::Hedge;

#[cfg(test)]
mod tests;
