//! Timeout: a limit on how long one call may take, as a tower layer.

mod future;
mod layer;
mod observer;
mod service;

pub use future::TimeoutFuture;
pub use layer::TimeoutLayer;
pub use observer::TimeoutObserver;
pub use service::Timeout;

#[cfg(test)]
mod tests;
