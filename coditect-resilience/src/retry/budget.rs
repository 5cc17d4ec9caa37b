//! A budget that keeps retries from multiplying an outage.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::error::Error;
use crate::sync::{AtomicU64, Ordering};

/// Says how many retries are allowed per success, and how many in any case.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawBudgetPolicy", into = "RawBudgetPolicy")]
pub struct BudgetPolicy {
    deposit: u32,
    reserve_per_second: u32,
    capacity: u32,
}

/// Thousandths of a retry: the unit in which a budget is counted.
const RETRY: u32 = 1_000;

impl BudgetPolicy {
    /// The most retries that a budget can hold.
    pub const MAX_CAPACITY: u32 = 16_000;

    /// Allows `per_success` retries for every success (counted in thousandths), and saves up `capacity` at most.
    ///
    /// A service that fails altogether earns nothing, so that its callers' retries die away: with 0.1, ten
    /// successes pay for one retry, and retries add a tenth to the load at worst.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPolicy`](crate::ErrorKind::InvalidPolicy) if the share is no number from 0 to 1,000 or the
    /// capacity is above [`MAX_CAPACITY`](Self::MAX_CAPACITY).
    pub fn new(per_success: f64, capacity: u32) -> Result<Self, Error> {
        if !(0.0..=1_000.0).contains(&per_success) {
            return Err(Error::invalid_policy(
                "the retries per success lie outside 0 to 1000",
            ));
        }
        if capacity > Self::MAX_CAPACITY {
            return Err(Error::invalid_policy(
                "the capacity of the budget is above 16000",
            ));
        }
        Ok(Self {
            deposit: (per_success * f64::from(RETRY)).round() as u32,
            reserve_per_second: 0,
            capacity: capacity * RETRY,
        })
    }

    /// Adds retries that are allowed each second without any success.
    ///
    /// They let a caller with little traffic retry at all. Keep them below what the callee bears while it
    /// is failing.
    #[must_use]
    pub const fn with_reserve_per_second(mut self, retries: u32) -> Self {
        self.reserve_per_second = retries;
        self
    }

    /// Returns the retries that one success pays for.
    #[must_use]
    pub fn per_success(&self) -> f64 {
        f64::from(self.deposit) / f64::from(RETRY)
    }

    /// Returns the retries that are allowed each second without any success.
    #[must_use]
    pub const fn reserve_per_second(&self) -> u32 {
        self.reserve_per_second
    }

    /// Returns the most retries that can be saved up.
    #[must_use]
    pub const fn capacity(&self) -> u32 {
        self.capacity / RETRY
    }
}

impl Default for BudgetPolicy {
    /// Allows one retry for five successes, ten a second in any case, a hundred saved up.
    fn default() -> Self {
        Self {
            deposit: RETRY / 5,
            reserve_per_second: 10,
            capacity: 100 * RETRY,
        }
    }
}

/// Counts what is left of the retries that a [`BudgetPolicy`] allows: a token bucket filled by successes.
///
/// Share one (in an `Arc`) between all calls to the same service, and only those. It starts full. It never
/// goes below zero, and never grants more than its capacity, plus the deposits, plus the reserve of the time
/// that has passed. All of its state is one atomic word: no lock, no waiting.
///
/// ```
/// use coditect_resilience::{BudgetPolicy, RetryBudget};
///
/// let budget = RetryBudget::new(BudgetPolicy::new(0.5, 1)?);
/// assert!(budget.withdraw());
/// assert!(!budget.withdraw(), "it held one retry");
/// budget.deposit();
/// assert!(!budget.withdraw(), "one success pays for half a retry");
/// budget.deposit();
/// assert!(budget.withdraw());
/// # Ok::<(), coditect_resilience::Error>(())
/// ```
pub struct RetryBudget {
    policy: BudgetPolicy,
    epoch: Instant,
    bucket: AtomicU64,
}

impl RetryBudget {
    /// Opens a full budget on tokio's clock.
    #[must_use]
    pub fn new(policy: BudgetPolicy) -> Self {
        Self::starting_at(policy, Instant::now())
    }

    /// Opens a full budget whose reserve counts from an instant.
    #[must_use]
    pub fn starting_at(policy: BudgetPolicy, start: Instant) -> Self {
        let full = Bucket {
            tokens: policy.capacity,
            refilled_ms: 0,
        };
        Self {
            policy,
            epoch: start,
            bucket: AtomicU64::new(full.pack()),
        }
    }

    /// Pays in what a success is worth.
    pub fn deposit(&self) {
        // A success changes nothing in a full bucket, and a full bucket is what a healthy service has:
        // neither the clock nor the shared word is touched then.
        if Bucket::unpack(self.bucket.load(Ordering::Relaxed)).tokens < self.policy.capacity {
            self.deposit_at(Instant::now());
        }
    }

    /// Pays in what a success at an instant is worth.
    pub fn deposit_at(&self, now: Instant) {
        self.step(now, |bucket| Some(bucket.deposit(&self.policy)));
    }

    /// Takes out one retry; `false` if less than one is left.
    pub fn withdraw(&self) -> bool {
        self.withdraw_at(Instant::now())
    }

    /// Takes out one retry at an instant; `false` if less than one is left.
    pub fn withdraw_at(&self, now: Instant) -> bool {
        self.step(now, Bucket::withdraw)
    }

    /// Returns how long it takes until time alone pays for a retry: nothing if one is there now, none if time pays for none.
    #[must_use]
    pub fn next_in(&self) -> Option<Duration> {
        self.next_in_at(Instant::now())
    }

    /// Returns how long it takes from an instant, as [`next_in`](Self::next_in) does.
    #[must_use]
    pub fn next_in_at(&self, now: Instant) -> Option<Duration> {
        let bucket = Bucket::unpack(self.bucket.load(Ordering::Relaxed));
        let bucket = bucket.refill(&self.policy, self.ms(now));
        let missing = u64::from(RETRY.saturating_sub(bucket.tokens));
        match u64::from(self.policy.reserve_per_second) {
            _ if missing == 0 => Some(Duration::ZERO),
            0 => None,
            // Less than one retry fits: no time is enough.
            _ if self.policy.capacity < RETRY => None,
            reserve => Some(Duration::from_millis(missing.div_ceil(reserve))),
        }
    }

    fn ms(&self, now: Instant) -> u64 {
        let ms = now.saturating_duration_since(self.epoch).as_millis();
        u64::try_from(ms).unwrap_or(u64::MAX)
    }

    /// Returns the retries that are left, as of the last deposit or withdrawal.
    #[must_use]
    pub fn balance(&self) -> f64 {
        let bucket = Bucket::unpack(self.bucket.load(Ordering::Relaxed));
        f64::from(bucket.tokens) / f64::from(RETRY)
    }

    /// Returns the policy.
    #[must_use]
    pub const fn policy(&self) -> &BudgetPolicy {
        &self.policy
    }

    /// Applies a pure transition to the shared word, after the reserve has been added.
    fn step(&self, now: Instant, transition: impl Fn(Bucket) -> Option<Bucket>) -> bool {
        let now_ms = self.ms(now);
        // The word is all there is to agree on, so no other memory has to be ordered with it.
        self.bucket
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                transition(Bucket::unpack(word).refill(&self.policy, now_ms)).map(Bucket::pack)
            })
            .is_ok()
    }
}

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryBudget")
            .field("policy", &self.policy)
            .field("balance", &self.balance())
            .finish_non_exhaustive()
    }
}

/// The pure state of a budget, which fits into one word: 24 bits of tokens (thousandths of a retry) and
/// 40 bits of time (34 years of milliseconds).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket {
    tokens: u32,
    refilled_ms: u64,
}

const TIME_BITS: u32 = 40;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
const _: () = assert!((BudgetPolicy::MAX_CAPACITY * RETRY) < (1 << (u64::BITS - TIME_BITS)));

impl Bucket {
    const fn pack(self) -> u64 {
        (self.tokens as u64) << TIME_BITS | self.refilled_ms
    }

    const fn unpack(word: u64) -> Self {
        Self {
            tokens: (word >> TIME_BITS) as u32,
            refilled_ms: word & TIME_MASK,
        }
    }

    /// Adds the reserve of the time since the last refill. A retry a second is just a token a millisecond, so
    /// nothing is lost to rounding; time that seems to run backwards (another thread was faster) adds nothing.
    fn refill(self, policy: &BudgetPolicy, now_ms: u64) -> Self {
        let now_ms = now_ms.min(TIME_MASK).max(self.refilled_ms);
        let earned = (now_ms - self.refilled_ms).saturating_mul(policy.reserve_per_second.into());
        Self {
            tokens: self.capped(earned, policy),
            refilled_ms: now_ms,
        }
    }

    fn deposit(self, policy: &BudgetPolicy) -> Self {
        Self {
            tokens: self.capped(policy.deposit.into(), policy),
            ..self
        }
    }

    fn withdraw(self) -> Option<Self> {
        let tokens = self.tokens.checked_sub(RETRY)?;
        Some(Self { tokens, ..self })
    }

    fn capped(self, added: u64, policy: &BudgetPolicy) -> u32 {
        let room = policy.capacity.saturating_sub(self.tokens);
        self.tokens + u32::try_from(added).map_or(room, |added| added.min(room))
    }
}

/// A budget as it travels, not yet checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBudgetPolicy {
    per_success: f64,
    #[serde(default)]
    reserve_per_second: u32,
    capacity: u32,
}

impl TryFrom<RawBudgetPolicy> for BudgetPolicy {
    type Error = Error;

    fn try_from(raw: RawBudgetPolicy) -> Result<Self, Error> {
        let policy = Self::new(raw.per_success, raw.capacity)?;
        Ok(policy.with_reserve_per_second(raw.reserve_per_second))
    }
}

impl From<BudgetPolicy> for RawBudgetPolicy {
    fn from(policy: BudgetPolicy) -> Self {
        Self {
            per_success: policy.per_success(),
            reserve_per_second: policy.reserve_per_second,
            capacity: policy.capacity(),
        }
    }
}

#[cfg(test)]
mod tests;
