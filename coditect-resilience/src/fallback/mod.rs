//! Fallback: another service where the first one fails, as a tower layer.

mod future;
mod layer;
mod observer;
mod service;

pub use future::FallbackFuture;
pub use layer::FallbackLayer;
pub use observer::FallbackObserver;
pub use service::Fallback;

#[cfg(test)]
mod tests;
