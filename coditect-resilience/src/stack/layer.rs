//! Puts the whole stack around services.

use std::fmt;
use std::sync::Arc;

use tower::Layer;

use super::policy::StackPolicy;
use crate::breaker::{Breaker, CircuitBreaker, CircuitBreakerLayer};
use crate::bulkhead::{Bulkhead, BulkheadLayer, Slots};
use crate::retry::{Retry, RetryBudget, RetryLayer, RetryObserver};
use crate::timeout::{Timeout, TimeoutLayer, TimeoutObserver};

/// Puts timeout, retry with its budget, bulkhead, breaker and the timeout of a try around a service, in this order.
///
/// The order and its reasons stand in the [crate's documentation](crate#the-default-stack). One layer stands for one
/// callee: all services that it makes share its breaker, its slots and its budget. What a failure means is for
/// the classifier to say; [`Error::classification`](crate::Error::classification) is a start for what the layers
/// themselves have to say.
///
/// ```
/// use coditect_resilience::{Classification, Error, StackLayer, StackPolicy};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// fn judge<T>(outcome: &Result<T, Error>) -> Classification {
///     outcome.as_ref().err().map_or(Classification::Success, Error::classification)
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Error> {
/// let stack = StackLayer::new(StackPolicy::store(), judge::<u32>);
/// let store = stack.layer(service_fn(|key: u32| async move { Ok::<_, Error>(key + 1) }));
/// assert_eq!(store.oneshot(1).await?, 2);
/// assert_eq!(stack.slots().free(), 128);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct StackLayer<C> {
    policy: StackPolicy,
    classify: C,
    retry: RetryLayer<C>,
    budget: Arc<RetryBudget>,
    breaker: Breaker,
    slots: Slots,
    timeout: TimeoutLayer,
    try_timeout: TimeoutLayer,
}

/// A service with the whole stack around it. Made by [`StackLayer`].
pub type StackService<S, C> =
    Timeout<Retry<Bulkhead<CircuitBreaker<Timeout<S>, Breaker, C>, Slots>, C>>;

impl<C: Clone> StackLayer<C> {
    /// Makes a stack from its policies and the judgement of outcomes, for one callee.
    #[must_use]
    pub fn new(policy: StackPolicy, classify: C) -> Self {
        let budget = Arc::new(RetryBudget::new(policy.budget));
        let retry = RetryLayer::new(policy.retry, classify.clone());
        Self {
            policy,
            retry: retry.with_budget(Arc::clone(&budget)),
            classify,
            budget,
            breaker: Breaker::new(policy.breaker),
            slots: Slots::new(policy.bulkhead),
            timeout: TimeoutLayer::new(policy.timeout()),
            try_timeout: TimeoutLayer::new(policy.try_timeout()),
        }
    }

    /// Replaces the breaker: by one of a table, or with an observer.
    #[must_use]
    pub fn with_breaker(mut self, breaker: Breaker) -> Self {
        self.breaker = breaker;
        self
    }

    /// Replaces the slots: by those of a table, or with an observer.
    #[must_use]
    pub fn with_slots(mut self, slots: Slots) -> Self {
        self.slots = slots;
        self
    }

    /// Replaces the budget by one that others share.
    #[must_use]
    pub fn with_budget(mut self, budget: Arc<RetryBudget>) -> Self {
        self.retry = self.retry.with_budget(Arc::clone(&budget));
        self.budget = budget;
        self
    }

    /// Tells an observer about every retry.
    #[must_use]
    pub fn with_retry_observer(mut self, observer: Arc<dyn RetryObserver>) -> Self {
        self.retry = self.retry.with_observer(observer);
        self
    }

    /// Tells an observer about every timeout, of a try or of the whole.
    #[must_use]
    pub fn with_timeout_observer(mut self, observer: Arc<dyn TimeoutObserver>) -> Self {
        self.timeout = self.timeout.with_observer(Arc::clone(&observer));
        self.try_timeout = self.try_timeout.with_observer(observer);
        self
    }

    /// Returns the breaker.
    #[must_use]
    pub const fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Returns the slots.
    #[must_use]
    pub const fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Returns the budget of its retries.
    #[must_use]
    pub const fn budget(&self) -> &Arc<RetryBudget> {
        &self.budget
    }
}

impl<S, C: Clone> Layer<S> for StackLayer<C> {
    type Service = StackService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        let tried = self.try_timeout.layer(inner);
        let breaker = CircuitBreakerLayer::new(self.breaker.clone(), self.classify.clone());
        let guarded = BulkheadLayer::new(self.slots.clone()).layer(breaker.layer(tried));
        self.timeout.layer(self.retry.layer(guarded))
    }
}

impl<C> fmt::Debug for StackLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackLayer")
            .field("policy", &self.policy)
            .field("breaker", &self.breaker)
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}
