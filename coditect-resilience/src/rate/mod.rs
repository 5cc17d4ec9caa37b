//! Rate limit: so much in a span, local or shared by processes, as a tower layer that parks calls.

mod layer;
mod limiter;
mod observer;
mod policy;
mod service;
pub mod shared;

pub use layer::RateLimitLayer;
pub use limiter::{RateLimiter, Reservation};
pub use observer::RateObserver;
pub use policy::{RateBucket, RatePolicy};
pub use service::RateLimit;
pub use shared::{Demand, MemoryRateLimitStore, RateDecision, RateLimitStore, SharedRateLimiter};

#[cfg(test)]
mod tests;
