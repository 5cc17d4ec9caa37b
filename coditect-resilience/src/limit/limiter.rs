//! A limit that threads share: admission on one atomic word, learning behind a short lock.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::adaptive::{AdaptiveLimit, AdaptivePolicy, Sample};
use super::observer::LimitObserver;
use super::priority::SheddingPolicy;
use crate::error::Error;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// Limits how many calls to one callee are under way at once, and finds the limit itself. Clones are the same limit.
///
/// It refuses at once what is too much: waiting in a queue is what makes latency, which is what it measures.
///
/// ```
/// use coditect_resilience::{AdaptivePolicy, ConcurrencyLimiter, ErrorKind, SheddingPolicy};
///
/// let limiter = ConcurrencyLimiter::new(AdaptivePolicy::fixed(2)?)
///     .with_shedding(SheddingPolicy::new([1.0, 0.5, 0.5])?);
/// let first = limiter.acquire(2)?;
/// assert_eq!(limiter.acquire(2).unwrap_err().kind(), ErrorKind::Overloaded);
/// let urgent = limiter.acquire(0)?;
/// assert_eq!(limiter.in_flight(), 2);
/// urgent.success();
/// first.success();
/// # Ok::<(), coditect_resilience::Error>(())
/// ```
#[derive(Clone)]
pub struct ConcurrencyLimiter {
    inner: Arc<Inner>,
}

struct Inner {
    policy: AdaptivePolicy,
    shedding: SheddingPolicy,
    observer: Arc<dyn LimitObserver>,
    /// The limit in the upper half, the calls under way in the lower: they are compared in one step.
    word: AtomicU64,
    machine: Mutex<AdaptiveLimit>,
}

const HALF: u32 = 32;
const LOWER: u64 = u32::MAX as u64;

impl ConcurrencyLimiter {
    /// Begins at the start of the policy, all priorities alike.
    #[must_use]
    pub fn new(policy: AdaptivePolicy) -> Self {
        Self::with(policy, SheddingPolicy::none(), Arc::new(()))
    }

    fn with(
        policy: AdaptivePolicy,
        shedding: SheddingPolicy,
        observer: Arc<dyn LimitObserver>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                policy,
                shedding,
                observer,
                word: AtomicU64::new(u64::from(policy.start()) << HALF),
                machine: Mutex::new(AdaptiveLimit::new(&policy)),
            }),
        }
    }

    /// Refuses low priorities first, from before the first call on.
    #[must_use]
    pub fn with_shedding(self, shedding: SheddingPolicy) -> Self {
        Self::with(
            self.inner.policy,
            shedding,
            Arc::clone(&self.inner.observer),
        )
    }

    /// Tells an observer, from before the first call on.
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn LimitObserver>) -> Self {
        Self::with(self.inner.policy, self.inner.shedding, observer)
    }

    /// Returns the limit as it is now.
    #[must_use]
    pub fn limit(&self) -> u32 {
        (self.inner.word.load(Ordering::Relaxed) >> HALF) as u32
    }

    /// Returns how many calls are under way.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        (self.inner.word.load(Ordering::Relaxed) & LOWER) as u32
    }

    /// Lets a call of a priority (0 is the highest) in, or refuses it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Overloaded`](crate::ErrorKind::Overloaded) if there is no room for its priority.
    pub fn acquire(&self, priority: u8) -> Result<InFlight, Error> {
        self.acquire_at(priority, Instant::now())
    }

    pub(super) fn acquire_at(&self, priority: u8, now: Instant) -> Result<InFlight, Error> {
        let inner = &self.inner;
        let mut word = inner.word.load(Ordering::Relaxed);
        loop {
            let (limit, in_flight) = ((word >> HALF) as u32, (word & LOWER) as u32);
            if in_flight >= inner.shedding.room(priority, limit) {
                inner.observer.on_shed(priority, limit);
                return Err(Error::overloaded());
            }
            match inner.word.compare_exchange_weak(
                word,
                word + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    return Ok(InFlight {
                        limiter: self.clone(),
                        started: now,
                        in_flight: in_flight + 1,
                    });
                }
                Err(current) => word = current,
            }
        }
    }

    /// Learns from a call and mirrors the new limit beside the count.
    fn learn(&self, sample: Sample) {
        let inner = &self.inner;
        if inner.policy.min() == inner.policy.max() {
            return;
        }
        let (from, to) = {
            let mut machine = inner.machine.lock();
            let from = machine.limit();
            machine.sample(&inner.policy, sample);
            let to = machine.limit();
            if from != to {
                // Under the lock, so that the mirror never falls behind for good.
                let (from, to) = (u64::from(from) << HALF, u64::from(to) << HALF);
                inner
                    .word
                    .fetch_add(to.wrapping_sub(from), Ordering::Relaxed);
            }
            (from, to)
        };
        if from != to {
            inner.observer.on_limit(from, to);
        }
    }
}

/// One call under way. Dropping it makes room and teaches nothing: nobody knows how long the call would have taken.
#[derive(Debug)]
#[must_use = "a call that is dropped at once is not under way"]
pub struct InFlight {
    limiter: ConcurrencyLimiter,
    started: Instant,
    in_flight: u32,
}

impl InFlight {
    /// Reports that the call ended as it should, after the time that has passed.
    pub fn success(self) {
        let latency = Instant::now().saturating_duration_since(self.started);
        self.teach(latency, false);
    }

    /// Reports that the callee could not bear it: it timed out, or was refused.
    pub fn overload(self) {
        self.teach(Duration::ZERO, true);
    }

    pub(super) fn teach(&self, latency: Duration, overloaded: bool) {
        self.limiter.learn(Sample {
            latency,
            in_flight: self.in_flight,
            overloaded,
        });
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.limiter.inner.word.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for ConcurrencyLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimiter")
            .field("limit", &self.limit())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
mod loom_tests;
