//! A rate that processes share through a store, and what happens while the store is away.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};
use tower::BoxError;

use super::limiter::{RateLimiter, Reservation};
use super::observer::RateObserver;
use super::policy::RatePolicy;
use crate::backoff::Backoff;
use crate::breaker::{Breaker, BreakerPolicy};
use crate::error::Error;

/// Counts what all processes together take of a rate.
///
/// # Contract
///
/// - **R1** The reservations under one key, made by all processes, never exceed the rate of the demand: what is taken in any
///   span is at most the burst and what the span earns.
/// - **R2** A refusal takes nothing.
/// - **R3** Keys are apart.
/// - **R4** Time is the store's own, so that processes whose clocks differ agree.
///
/// [`RateBucket`](super::RateBucket) is the whole computation: a store needs one number for each key, changed atomically.
#[async_trait]
pub trait RateLimitStore: Send + Sync + 'static {
    /// Takes what is demanded, and says when it may be used.
    ///
    /// # Errors
    ///
    /// Whatever went wrong with the store; the caller then decides by a local share.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped may have taken the tokens, which are then lost.
    async fn reserve(&self, key: &str, demand: Demand) -> Result<RateDecision, BoxError>;
}

/// What is asked of a shared rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// The rate of the key, the same for all who ask.
    pub policy: RatePolicy,
    /// How many tokens are wanted.
    pub tokens: u32,
    /// How long the caller would wait for them.
    pub max_wait: Duration,
}

/// What a store says to a demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RateDecision {
    /// The tokens are taken and may be used after a span.
    Go(Duration),
    /// Nothing is taken; the wait would be allowed after a span.
    Refused(Duration),
}

/// Limits a rate together with other processes.
///
/// Each demand is one round trip to the store. If the store fails or does not answer in time, this
/// process's share of the rate, kept locally, decides instead; after three such demands in a row a breaker leaves the store
/// alone for a while. So a store that is away costs a call the timeout at most, and most calls nothing.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use coditect_resilience::{MemoryRateLimitStore, RatePolicy, SharedRateLimiter};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), coditect_resilience::Error> {
/// let store = Arc::new(MemoryRateLimitStore::new());
/// let policy = RatePolicy::new(60, Duration::from_secs(60))?.with_burst(1)?;
/// // Two processes with one allowance; each falls back to half of it.
/// let one = SharedRateLimiter::new(store.clone(), "provider", policy, 2);
/// let other = SharedRateLimiter::new(store, "provider", policy, 2);
/// assert_eq!(one.reserve(1, Duration::ZERO).await?.wait(), Duration::ZERO);
/// assert_eq!(other.reserve(1, Duration::from_secs(5)).await?.wait(), Duration::from_secs(1));
/// # Ok(())
/// # }
/// ```
pub struct SharedRateLimiter {
    store: Arc<dyn RateLimitStore>,
    key: Arc<str>,
    policy: RatePolicy,
    share: RateLimiter,
    timeout: Duration,
    breaker: Breaker,
    observer: Arc<dyn RateObserver>,
}

impl SharedRateLimiter {
    /// Shares the rate of a key with the others that use it, `processes` in all.
    ///
    /// Their number only matters while the store is away: then each takes that part of the rate.
    #[must_use]
    pub fn new(
        store: Arc<dyn RateLimitStore>,
        key: &str,
        policy: RatePolicy,
        processes: u32,
    ) -> Self {
        let breaker = BreakerPolicy::builder()
            .consecutive_failures(3)
            .open_for(Backoff::constant(Duration::from_secs(1)))
            .successes_to_close(1)
            .build()
            .expect("the numbers are above zero");
        Self {
            store,
            key: key.into(),
            policy,
            share: RateLimiter::new(policy.divided(processes)),
            timeout: Duration::from_millis(100),
            breaker: Breaker::new(breaker),
            observer: Arc::new(()),
        }
    }

    /// Replaces how long the store may take to answer, 100 ms unless told otherwise.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Tells an observer when the store fails.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn RateObserver>) -> Self {
        self.observer = observer;
        self
    }

    /// Takes tokens, and says when they may be used.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::RateLimited`](crate::ErrorKind::RateLimited) if that is later than `max_wait`; nothing is taken.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped may have taken the tokens.
    pub async fn reserve(&self, tokens: u32, max_wait: Duration) -> Result<Reservation, Error> {
        match self.ask(tokens, max_wait).await {
            Some(RateDecision::Go(wait)) => {
                // What was used of the share is missing from it when the store goes away, but never owed: a
                // process may well use more than its part while others use less.
                let _ = self.share.reserve(tokens, Duration::ZERO);
                Ok(Reservation::after(wait, Instant::now()))
            }
            Some(RateDecision::Refused(left)) => Err(Error::rate_limited(Some(left))),
            None => self.share.reserve(tokens, max_wait),
        }
    }

    /// Asks the store, unless it has failed lately.
    async fn ask(&self, tokens: u32, max_wait: Duration) -> Option<RateDecision> {
        let permit = self.breaker.acquire().ok()?;
        let demand = Demand {
            policy: self.policy,
            tokens,
            max_wait,
        };
        let asked = self.store.reserve(&self.key, demand);
        let error: BoxError = match timeout(self.timeout, asked).await {
            Ok(Ok(decision)) => {
                permit.success();
                return Some(decision);
            }
            Ok(Err(error)) => error,
            Err(_) => Error::timeout(self.timeout).into(),
        };
        permit.failure();
        tracing::debug!(key = &*self.key, %error, "the store of a rate failed");
        self.observer.on_store_failure(&*error);
        None
    }
}

impl fmt::Debug for SharedRateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRateLimiter")
            .field("key", &self.key)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// Counts rates in memory: for several limiters in one process, and for tests. It never forgets a key.
#[derive(Debug, Default)]
pub struct MemoryRateLimitStore {
    limiters: Mutex<HashMap<String, Arc<RateLimiter>>>,
}

impl MemoryRateLimitStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl RateLimitStore for MemoryRateLimitStore {
    async fn reserve(&self, key: &str, demand: Demand) -> Result<RateDecision, BoxError> {
        let limiter = {
            let mut limiters = self.limiters.lock();
            let limiter = limiters.entry(key.to_owned());
            Arc::clone(limiter.or_insert_with(|| Arc::new(RateLimiter::new(demand.policy))))
        };
        let reserved = limiter.reserve(demand.tokens, demand.max_wait);
        Ok(reserved.map_or_else(
            |refused| RateDecision::Refused(refused.retry_after().unwrap_or_default()),
            |reservation| RateDecision::Go(reservation.wait()),
        ))
    }
}

#[cfg(feature = "test-util")]
pub mod conformance;
#[cfg(test)]
mod tests;
