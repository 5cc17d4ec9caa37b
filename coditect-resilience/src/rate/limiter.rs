//! A rate that threads share: one atomic word.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::policy::{RateBucket, RatePolicy};
use crate::error::Error;
use crate::sync::{AtomicU64, Ordering};

/// Limits a rate in this process. It starts full; all of its state is one atomic word.
///
/// ```
/// use std::time::Duration;
/// use coditect_resilience::{ErrorKind, RateLimiter, RatePolicy};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), coditect_resilience::Error> {
/// let limiter = RateLimiter::new(RatePolicy::new(60, Duration::from_secs(60))?.with_burst(1)?);
/// limiter.reserve(1, Duration::ZERO)?.ready().await;
/// let refused = limiter.reserve(1, Duration::ZERO).unwrap_err();
/// assert_eq!(refused.retry_after(), Some(Duration::from_secs(1)));
/// let next = limiter.reserve(1, Duration::from_secs(5))?;
/// assert_eq!(next.wait(), Duration::from_secs(1));
/// next.ready().await;
/// # Ok(())
/// # }
/// ```
pub struct RateLimiter {
    policy: RatePolicy,
    epoch: Instant,
    bucket: AtomicU64,
}

/// Leave to go at an instant. What it took is spent, unless it is given back by [`RateLimiter::refund`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "leave to go at an instant says nothing unless that is awaited"]
pub struct Reservation {
    wait: Duration,
    at: Instant,
}

impl Reservation {
    pub(super) fn after(wait: Duration, now: Instant) -> Self {
        // The longest wait that was asked for may be as good as for ever.
        const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);
        Self {
            wait,
            at: now + wait.min(FAR),
        }
    }

    /// Returns how long to wait, from when it was made.
    #[must_use]
    pub const fn wait(&self) -> Duration {
        self.wait
    }

    /// Returns the instant from which on it holds.
    #[must_use]
    pub const fn at(&self) -> Instant {
        self.at
    }

    /// Waits for that instant.
    ///
    /// # Cancel safety
    ///
    /// It can be awaited again.
    pub async fn ready(&self) {
        if !self.wait.is_zero() {
            sleep_until(self.at).await;
        }
    }

    pub(super) fn later(self, other: Self) -> Self {
        if other.at > self.at { other } else { self }
    }
}

impl RateLimiter {
    /// Starts full, on tokio's clock.
    #[must_use]
    pub fn new(policy: RatePolicy) -> Self {
        Self::starting_at(policy, Instant::now())
    }

    /// Starts full at an instant.
    #[must_use]
    pub fn starting_at(policy: RatePolicy, start: Instant) -> Self {
        Self {
            policy,
            epoch: start,
            bucket: AtomicU64::new(RateBucket::default().nanos()),
        }
    }

    /// Returns the policy.
    #[must_use]
    pub const fn policy(&self) -> &RatePolicy {
        &self.policy
    }

    /// Takes tokens, and says when they may be used.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::RateLimited`](crate::ErrorKind::RateLimited) if that is later than `max_wait`, with the span after which
    /// it would not be; nothing is taken.
    pub fn reserve(&self, tokens: u32, max_wait: Duration) -> Result<Reservation, Error> {
        self.reserve_at(Instant::now(), tokens, max_wait)
    }

    /// Takes tokens at an instant, as [`reserve`](Self::reserve) does.
    ///
    /// # Errors
    ///
    /// As with [`reserve`](Self::reserve).
    pub fn reserve_at(
        &self,
        now: Instant,
        tokens: u32,
        max_wait: Duration,
    ) -> Result<Reservation, Error> {
        let (policy, since) = (&self.policy, self.nanos(now));
        let wait = self.step(|bucket| bucket.reserve(policy, tokens, since, nanos(max_wait)));
        wait.map(|wait| Reservation::after(Duration::from_nanos(wait), now))
            .map_err(|left| Error::rate_limited(Some(Duration::from_nanos(left))))
    }

    /// Takes from several rates at once, or from none: requests and tokens of one provider, for example.
    ///
    /// # Errors
    ///
    /// The first refusal.
    pub fn reserve_all(demands: &[(&Self, u32)], max_wait: Duration) -> Result<Reservation, Error> {
        let now = Instant::now();
        let mut all = Reservation::after(Duration::ZERO, now);
        for (i, (limiter, tokens)) in demands.iter().enumerate() {
            match limiter.reserve_at(now, *tokens, max_wait) {
                Ok(reservation) => all = all.later(reservation),
                Err(refused) => {
                    let taken = &demands[..i];
                    taken
                        .iter()
                        .for_each(|(limiter, tokens)| limiter.refund(*tokens));
                    return Err(refused);
                }
            }
        }
        Ok(all)
    }

    /// Takes tokens that turned out to be used beyond what was reserved. What follows waits for them.
    pub fn charge(&self, tokens: u32) {
        let (policy, since) = (&self.policy, self.nanos(Instant::now()));
        let _ = self.step(|bucket| {
            bucket.charge(policy, tokens, since);
            Ok::<_, u64>(0)
        });
    }

    /// Gives tokens back that were reserved and not used.
    pub fn refund(&self, tokens: u32) {
        let policy = &self.policy;
        let _ = self.step(|bucket| {
            bucket.refund(policy, tokens);
            Ok::<_, u64>(0)
        });
    }

    fn nanos(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.epoch))
    }

    /// Applies a pure transition to the shared word.
    fn step(&self, transition: impl Fn(&mut RateBucket) -> Result<u64, u64>) -> Result<u64, u64> {
        // The word is all there is to agree on, so no other memory has to be ordered with it.
        let mut word = self.bucket.load(Ordering::Relaxed);
        loop {
            let mut bucket = RateBucket::full_at(word);
            let result = transition(&mut bucket)?;
            match self.bucket.compare_exchange_weak(
                word,
                bucket.nanos(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(result),
                Err(current) => word = current,
            }
        }
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
