//! Retry: a pure policy, a budget, and the tower layer that carries both out.

mod budget;
mod future;
mod layer;
mod observer;
mod policy;
mod service;

pub use budget::{BudgetPolicy, RetryBudget};
pub use future::RetryFuture;
pub use layer::RetryLayer;
pub use observer::RetryObserver;
pub use policy::{GiveUp, RetryPolicy, RetryPolicyBuilder, Tries, Verdict};
pub use service::Retry;

#[cfg(test)]
mod tests;
