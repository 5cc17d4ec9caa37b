//! Partitions, which runs share, and the lease under which one process owns a partition.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::RunId;

/// Names one of the fixed number of parts into which a journal's runs are divided, from 0.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Partition(u16);

impl Partition {
    /// Names a partition by its number, from 0.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// Returns the number of the partition, from 0.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Returns the number as an index into a slice that has an entry per partition.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Says into how many partitions a journal divides its runs; at least one.
///
/// It is fixed for the life of a journal: with another count, runs would change their partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionCount(std::num::NonZeroU16);

impl PartitionCount {
    /// A single partition.
    pub const ONE: Self = Self(std::num::NonZeroU16::MIN);

    /// Takes a count, unless it is zero.
    #[must_use]
    pub const fn new(count: u16) -> Option<Self> {
        match std::num::NonZeroU16::new(count) {
            Some(count) => Some(Self(count)),
            None => None,
        }
    }

    /// Returns the count, at least 1.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// Iterates over all partitions, in order.
    pub fn partitions(self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.get()).map(Partition)
    }
}

impl fmt::Display for PartitionCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Returns the partition to which a run belongs.
///
/// The run id's 16 bytes in network order are hashed with FNV-1a (64 bits: offset basis
/// `0xcbf29ce484222325`, prime `0x100000001b3`), the upper half is folded onto the lower by exclusive
/// or, and the remainder by the count is the partition. Every process and every release computes the
/// same, since stored runs are found by it.
#[must_use]
pub fn partition_of(run: RunId, count: PartitionCount) -> Partition {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in run.as_uuid().as_bytes() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let folded = (hash ^ (hash >> 32)) & 0xffff_ffff;
    let remainder = folded % u64::from(count.get());
    // A remainder by a `u16` fits into one.
    Partition(remainder as u16)
}

/// Grows with each claim of a partition, so that a journal refuses whoever claimed before.
///
/// A journal never hands out less than its server's time in milliseconds since the Unix epoch, so that
/// tokens grow even over a store that restarts empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FencingToken(u64);

impl FencingToken {
    /// Wraps a token that a backend has read or made.
    #[must_use]
    pub const fn new(token: u64) -> Self {
        Self(token)
    }

    /// Returns the token as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the token of the claim that follows one with token `last`, at a server time.
    ///
    /// # Examples
    ///
    /// ```
    /// use coditect_dag::Timestamp;
    /// use coditect_dag::journal::FencingToken;
    ///
    /// let now = Timestamp::from_millis(1_000);
    /// let first = FencingToken::following(None, now);
    /// assert_eq!(first.get(), 1_000);
    /// assert_eq!(FencingToken::following(Some(first), now).get(), 1_001);
    /// ```
    #[must_use]
    pub fn following(last: Option<Self>, now: crate::Timestamp) -> Self {
        let least = last.map_or(1, |token| token.0.saturating_add(1));
        Self(least.max(now.as_millis()))
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Is the exclusive right to a partition, bounded in time.
///
/// What it allows is judged by the journal, by the token alone; [`until`](Self::until) tells the holder
/// when it must expect that somebody else has claimed the partition.
#[derive(Clone, Debug)]
pub struct PartitionLease {
    partition: Partition,
    token: FencingToken,
    owner: Arc<str>,
    ttl: Duration,
    until: Instant,
    follows_hand_over: bool,
}

impl PartitionLease {
    /// Makes the lease that a backend has granted, counted from an instant before it was asked.
    #[must_use]
    pub fn new(
        partition: Partition,
        token: FencingToken,
        owner: impl Into<Arc<str>>,
        ttl: Duration,
        asked: Instant,
    ) -> Self {
        Self {
            partition,
            token,
            owner: owner.into(),
            ttl,
            until: later(asked, ttl),
            follows_hand_over: false,
        }
    }

    /// Says whether the former owner has handed the partition over, or just gave it up or lost it.
    #[must_use]
    pub fn with_follows_hand_over(mut self, follows: bool) -> Self {
        self.follows_hand_over = follows;
        self
    }

    /// Returns whether the former owner has [handed the partition over](super::RunJournal::hand_over), so that what is open has
    /// been handed out already.
    #[must_use]
    pub const fn follows_hand_over(&self) -> bool {
        self.follows_hand_over
    }

    /// Returns the partition that is owned.
    #[must_use]
    pub const fn partition(&self) -> Partition {
        self.partition
    }

    /// Returns the token that accompanies everything written under this lease.
    #[must_use]
    pub const fn token(&self) -> FencingToken {
        self.token
    }

    /// Returns the name under which the partition was claimed.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Returns the span for which the lease was granted.
    #[must_use]
    pub const fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Returns the instant, by the holder's clock, from which the partition may be somebody else's.
    #[must_use]
    pub const fn until(&self) -> Instant {
        self.until
    }

    /// Returns whether the lease has run out by the holder's clock.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Returns the same right, extended by a full span from `asked`.
    #[must_use]
    pub fn renewed(&self, asked: Instant) -> Self {
        Self {
            until: later(asked, self.ttl),
            ..self.clone()
        }
    }
}

/// Adds a span to an instant; a span too long for the clock counts as thirty years.
fn later(from: Instant, span: Duration) -> Instant {
    const LONG: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    from.checked_add(span).unwrap_or_else(|| from + LONG)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn partitions_are_the_same_in_every_release() {
        let count = PartitionCount::new(64).unwrap();
        let of = |id: u128| partition_of(RunId::from_uuid(Uuid::from_u128(id)), count).get();
        assert_eq!(
            [of(0), of(1), of(0x0192_d3c0_7a5e_7cc3_98c4_dc0c_0c07_398f)],
            [28, 11, 37]
        );
    }

    #[test]
    fn partitions_get_even_shares() {
        let count = PartitionCount::new(16).unwrap();
        let mut shares = [0_u32; 16];
        for _ in 0..16_000 {
            shares[partition_of(RunId::new(), count).index()] += 1;
        }
        assert!(
            shares.iter().all(|share| (800..1_200).contains(share)),
            "{shares:?}"
        );
    }

    #[test]
    fn a_count_of_zero_is_none() {
        assert_eq!(PartitionCount::new(0), None);
        assert_eq!(PartitionCount::new(3).unwrap().partitions().count(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_lease_does_not_overflow() {
        let token = FencingToken::new(1);
        let lease =
            PartitionLease::new(Partition::new(0), token, "a", Duration::MAX, Instant::now());
        assert!(!lease.is_expired());
        assert!(!lease.renewed(Instant::now()).is_expired());
    }
}
