//! Circuit breaker: a pure state machine, shared by threads, keyed, shared by processes, and its tower layer.

mod future;
mod handle;
mod keyed;
mod layer;
mod machine;
mod observer;
mod permit;
mod policy;
mod service;
pub mod sharing;
mod window;

pub use future::BreakerFuture;
pub use handle::Breaker;
pub use keyed::Breakers;
pub use layer::{CircuitBreakerLayer, PickBreaker};
pub use machine::{Admission, BreakerMachine, BreakerState};
pub use observer::{BreakerObserver, Cause, Transition};
pub use permit::BreakerPermit;
pub use policy::{BreakerPolicy, BreakerPolicyBuilder, CallOutcome, Window};
pub use service::CircuitBreaker;
pub use sharing::{
    Adoption, BreakerNotice, BreakerSharing, BreakerStore, Finding, MemoryBreakerStore,
    SharingObserver, SharingPolicy,
};

#[cfg(test)]
mod tests;
