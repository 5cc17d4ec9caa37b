//! Resilience of CODITECT: retry and timeout as pure policies and tower layers.
//!
//! Whatever an agent calls may be slow, busy or gone. This crate answers two questions about such a call,
//! *how long to wait for it* and *whether to try it again*, and it keeps each answer apart from its execution:
//!
//! - A **policy** decides. It is plain data and pure functions: the time, the random number and the history
//!   are handed in, so that it is tested without a clock, travels as JSON with the task it belongs to, and decides
//!   the same way wherever it is asked. [`RetryPolicy`] with its [`Backoff`] and [`Jitter`], [`BudgetPolicy`], [`Deadline`].
//! - A **layer** carries the decision out around any [`tower`] service, on tokio's time: [`RetryLayer`],
//!   [`TimeoutLayer`].
//! - An **observer** is told what happened, and can change nothing: [`RetryObserver`], [`TimeoutObserver`].
//!
//! # Example
//!
//! A call that is tried three times, two seconds each, ten seconds in all, and whose retries can never add
//! more than a tenth to the load:
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use std::time::Duration;
//!
//! use coditect_resilience::{
//!     Backoff, BudgetPolicy, Classification, Error, RetryBudget, RetryLayer, RetryPolicy, TimeoutLayer,
//! };
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), BoxError> {
//! let policy = RetryPolicy::builder(3)
//!     .backoff(Backoff::new(Duration::from_millis(50), Duration::from_secs(5))?)
//!     .build()?;
//! let budget = Arc::new(RetryBudget::new(BudgetPolicy::new(0.1, 10)?));
//!
//! // Passing failures are worth another try; anything else is not.
//! fn judge<T>(outcome: &Result<T, BoxError>) -> Classification {
//!     match outcome {
//!         Ok(_) => Classification::Success,
//!         Err(error) if error.downcast_ref().is_some_and(Error::is_retryable) => Classification::Retry,
//!         Err(_) => Classification::Fail,
//!     }
//! }
//!
//! let calls = AtomicU32::new(0);
//! let service = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Duration::from_secs(10))) // the call as a whole
//!     .layer(RetryLayer::new(policy, judge::<String>).with_budget(budget))
//!     .layer(TimeoutLayer::new(Duration::from_secs(2))) // each try
//!     .service(service_fn(|name: &'static str| {
//!         let stuck = calls.fetch_add(1, Ordering::Relaxed) == 0;
//!         async move {
//!             if stuck {
//!                 std::future::pending::<()>().await;
//!             }
//!             Ok::<_, BoxError>(format!("hello, {name}"))
//!         }
//!     }));
//!
//! assert_eq!(service.oneshot("world").await?, "hello, world");
//! assert_eq!(calls.into_inner(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # The order of layers
//!
//! `ServiceBuilder` lists layers from the outside in, and the order has a meaning:
//!
//! | place | layer | why there |
//! |---|---|---|
//! | outermost | timeout of the call | bounds everything inside it, waits included, so that the caller's deadline holds |
//! | middle | retry, with its budget | sees the outcome of each try, with a try that took too long among them |
//! | innermost | timeout of a try | gives up on one try early enough for another to be worth something |
//!
//! The other way round (one timeout inside, none outside) a call may last as long as all its tries and waits together.
//! With a timeout outside only, one stuck try eats the time of all the others.
//!
//! # Retry in one place only
//!
//! Layers of retries multiply: three tries on each of three levels are 27 calls to whatever is failing. So CODITECT
//! retries agents' calls in the timers of the run, and nowhere below. Use [`RetryLayer`] for calls
//! at the edge (a model's API, a database), and [`RetryPolicy`] alone, without its layer, where a scheduler
//! does the waiting. A [`RetryBudget`] shared by all calls to one service is the safeguard against what
//! is left: when everything fails, successes stop paying for retries.
//!
//! # Errors
//!
//! No layer wraps the error of the service inside. A retry returns the error of the last try; a timeout needs the
//! service's error to be `From<`[`Error`]`>`, which a boxed error is.

mod backoff;
pub mod breaker;
pub mod bulkhead;
mod classification;
mod deadline;
mod error;
pub mod fallback;
mod gate;
pub mod hedge;
pub mod limit;
mod millis;
mod random;
pub mod rate;
pub mod retry;
pub mod stack;
mod sync;
pub mod timeout;

pub use backoff::{Backoff, Jitter};
pub use breaker::{
    Admission, Adoption, Breaker, BreakerMachine, BreakerNotice, BreakerObserver, BreakerPermit,
    BreakerPolicy, BreakerPolicyBuilder, BreakerSharing, BreakerState, BreakerStore, Breakers,
    CallOutcome, Cause, CircuitBreaker, CircuitBreakerLayer, Finding, MemoryBreakerStore,
    PickBreaker, SharingObserver, SharingPolicy, Transition, Window,
};
pub use bulkhead::{
    Bulkhead, BulkheadLayer, BulkheadObserver, BulkheadPolicy, KeyedSlots, PickSlots, Slot, Slots,
};
pub use classification::{Classification, Classify, retry_errors};
pub use deadline::Deadline;
pub use error::{Error, ErrorKind};
pub use fallback::{Fallback, FallbackLayer, FallbackObserver};
pub use gate::GatedFuture;
pub use hedge::{Hedge, HedgeLayer, HedgeObserver, HedgePolicy, IsSafe, LatencyTracker};
pub use limit::{
    AdaptiveLimit, AdaptivePolicy, ConcurrencyLimit, ConcurrencyLimitLayer, ConcurrencyLimiter,
    InFlight, LimitObserver, PickPriority, Sample, SheddingPolicy,
};
pub use random::{Randomness, SplitMix};
pub use rate::{
    Demand, MemoryRateLimitStore, RateBucket, RateDecision, RateLimit, RateLimitLayer,
    RateLimitStore, RateLimiter, RateObserver, RatePolicy, Reservation, SharedRateLimiter,
};
pub use retry::{
    BudgetPolicy, GiveUp, Retry, RetryBudget, RetryLayer, RetryObserver, RetryPolicy,
    RetryPolicyBuilder, Tries, Verdict,
};
pub use stack::{StackLayer, StackPolicy, StackService};
pub use timeout::{Timeout, TimeoutLayer, TimeoutObserver};
