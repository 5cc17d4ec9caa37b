//! Resilience of CODITECT: failing well, as pure policies and tower layers.
//!
//! Whatever an agent calls may be slow, busy or gone, and the worst outages are those that callers make of it: by calling again
//! and again what is down, by queueing without end before what is slow, by letting what matters least take the
//! place of what matters most. This crate answers the questions that each call raises, and keeps each answer apart from its
//! execution:
//!
//! - A **policy or machine** decides. It is plain data and pure functions: the time, the random number and the history
//!   are handed in, so that it is tested against a naive model without a clock, travels as JSON, and decides
//!   the same way wherever it is asked.
//! - A **handle** shares one between threads: an atomic word, or a lock for a few nanoseconds.
//! - A **layer** carries the decision out around any [`tower`] service, on tokio's time.
//! - An **observer** is told what happened, and can change nothing.
//!
//! | question | decides | shared by threads | layer |
//! |---|---|---|---|
//! | How long to wait for it? | [`Deadline`] | | [`TimeoutLayer`] |
//! | Try again, and when? | [`RetryPolicy`], [`Backoff`], [`BudgetPolicy`] | [`RetryBudget`] | [`RetryLayer`] |
//! | Call it at all? | [`BreakerMachine`] by its [`BreakerPolicy`] | [`Breaker`], [`Breakers`] by key | [`CircuitBreakerLayer`] |
//! | How many at once, how many wait? | [`BulkheadPolicy`] | [`Slots`], [`KeyedSlots`] | [`BulkheadLayer`] |
//! | How many in a minute? | [`RateBucket`] by its [`RatePolicy`] | [`RateLimiter`], [`SharedRateLimiter`] | [`RateLimitLayer`] |
//! | How many does it bear? | [`AdaptiveLimit`] by its [`AdaptivePolicy`] | [`ConcurrencyLimiter`] | [`ConcurrencyLimitLayer`] |
//! | Who is refused first? | [`SheddingPolicy`] | | the same |
//! | Ask twice? | [`HedgePolicy`] over a [`LatencyTracker`] | | [`HedgeLayer`] |
//! | Hold back what keeps failing? | [`QuarantineMachine`] by its [`QuarantinePolicy`] | | |
//! | Whom else to ask? | | | [`FallbackLayer`] |
//!
//! What an outcome means is for the caller to say, by a [`Classify`]: a [`Success`](Classification::Success), a failure that passes
//! ([`Retry`](Classification::Retry), [`RetryAfter`](Classification::RetryAfter)), one that stays ([`Fail`](Classification::Fail)),
//! or nothing about the callee at all ([`Ignore`](Classification::Ignore)).
//!
//! # Example
//!
//! The default stack around a service that is down at first. The caller sees neither the failures nor the waits:
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU32, Ordering};
//!
//! use coditect_resilience::{BreakerState, Classification, Error, StackLayer, StackPolicy};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! // A classifier: here every error is one of this crate's, which knows what it means.
//! fn judge<T>(outcome: &Result<T, Error>) -> Classification {
//!     outcome.as_ref().err().map_or(Classification::Success, Error::classification)
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Error> {
//! let calls = Arc::new(AtomicU32::new(0));
//! let seen = Arc::clone(&calls);
//! let stack = StackLayer::new(StackPolicy::store(), judge::<String>);
//! let store = stack.layer(service_fn(move |name: &'static str| {
//!     let stuck = seen.fetch_add(1, Ordering::Relaxed) == 0;
//!     async move {
//!         if stuck {
//!             std::future::pending::<()>().await;
//!         }
//!         Ok::<_, Error>(format!("hello, {name}"))
//!     }
//! }));
//!
//! assert_eq!(store.oneshot("world").await?, "hello, world");
//! assert_eq!(calls.load(Ordering::Relaxed), 2);
//! assert_eq!(stack.breaker().state(), BreakerState::Closed);
//! # Ok(())
//! # }
//! ```
//!
//! # The default stack
//!
//! [`StackLayer`] puts five layers around a service. `ServiceBuilder` would list them from the outside in, and the order has
//! a meaning:
//!
//! | place | layer | why there |
//! |---|---|---|
//! | 1, outermost | timeout of the call | bounds everything inside it, waits and queues included, so that the caller's deadline holds |
//! | 2 | retry, with its budget | sees the outcome of each try: failures, timeouts and refusals by what is inside |
//! | 3 | bulkhead | a call that waits before its next try holds no slot; one that waits for a slot is not yet a try that the breaker counts |
//! | 4 | circuit breaker | counts what the callee does and not what the caller's own queue does; when it opens, the queue drains at once |
//! | 5, innermost | timeout of a try | what takes too long is a failure that the breaker counts, and ends early enough for another try to be worth something |
//!
//! What is not in it goes here:
//!
//! | layer | where | because |
//! |---|---|---|
//! | fallback | around 1, or between 1 and 2 if its time counts | it is asked when all tries have failed, or at once while the breaker is open |
//! | adaptive limit, shedding | around 1 | what is refused shall cost nothing, and what waits inside counts as under way |
//! | rate limit | between 2 and 3 | each try counts at the provider, and what is parked holds no slot |
//! | hedge | between 4 and 5 | the breaker sees one outcome for each call; both calls have the time of a try |
//!
//! [`StackPolicy`] has presets for a [service](StackPolicy::service), an [agent](StackPolicy::agent), a
//! [model](StackPolicy::model), a [store](StackPolicy::store) and a [bus](StackPolicy::bus).
//!
//! # Retry in one place only
//!
//! Layers of retries multiply: three tries on each of three levels are 27 calls to whatever is failing. So CODITECT
//! retries agents' calls in the timers of the run, and nowhere below. Use [`RetryLayer`] for calls
//! at the edge (a model's API, a database), and [`RetryPolicy`] alone, without its layer, where a scheduler
//! does the waiting. A [`RetryBudget`] shared by all calls to one service is the safeguard against what
//! is left: when everything fails, successes stop paying for retries.
//!
//! # Breakers that processes share
//!
//! [`Breakers::shared`] carries what one process finds out to all others, through any [`BreakerStore`]. It stands beside the calls
//! and never in their way: a store that is slow or gone costs no call anything, and each process then goes by
//! what it sees itself. A [`SharedRateLimiter`] must ask its [`RateLimitStore`] for each call, and so waits a short
//! time for it at most, then takes this process's share of the rate.
//!
//! # Errors
//!
//! No layer wraps the error of the service inside. A retry returns the error of the last try; the layers that have something to
//! say themselves (a timeout, a refusal) need the service's error to be `From<`[`Error`]`>`, which a boxed error is.
//! [`Error::is_refusal`] tells that the call was not made at all.
//!
//! # Features
//!
//! `test-util` adds the conformance suites of the two ports.

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
pub mod quarantine;
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
pub use quarantine::{Probe, QuarantineMachine, QuarantinePolicy, QuarantineState};
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
