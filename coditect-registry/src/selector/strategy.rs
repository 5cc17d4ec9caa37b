//! The selectors that come with the crate.

use tokio::time::Instant;

use super::{Candidate, Candidates, FULL, Selector, scale};

/// Gives each candidate its turn: any `n` picks in a row among `n` candidates choose each exactly once. O(1).
///
/// A candidate with a [`SlowStart`](crate::SlowStart) lets some of its turns pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundRobin;

impl Selector for RoundRobin {
    fn select(&self, candidates: &Candidates, _now: Instant, random: u64) -> Option<usize> {
        const TRIES: u32 = 8;
        let mut turn = candidates.next_turn()?;
        // Each try looks at other bits of the number; if all pass, as all are new, it does not matter who is taken.
        for round in 0..TRIES {
            let ramp = candidates.get(turn).map_or(FULL, Candidate::ramp);
            if ramp >= FULL || ((random >> (8 * round)) as u8) < ramp as u8 {
                break;
            }
            turn = candidates.next_turn()?;
        }
        Some(turn)
    }
}

/// Chooses the candidate with the least work in flight for its capacity; among equals, any of them at random.
///
/// This is exact, not sampled: [`Candidates`] keep a tournament tree of the loads, from the first time they are asked for
/// the least loaded. A pick walks down the tree, O(log n), and each task that starts or ends updates a path in the tree
/// of every requirement that its agent meets and for which this selector is used. Picks that run at the same instant on
/// several threads may see each other's choice late and choose the same candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeastConnections;

impl Selector for LeastConnections {
    fn select(&self, candidates: &Candidates, _now: Instant, random: u64) -> Option<usize> {
        candidates.least_loaded(random)
    }
}

/// Draws two different candidates at random and chooses the one with less work in flight for its capacity. O(1).
///
/// Nearly as even as looking at all of them (the longest queue is O(log log n); Mitzenmacher, *The Power of Two Choices in
/// Randomized Load Balancing*, 2001), and steadier than [`LeastConnections`] when many processes choose by reports that
/// are a little old, since they do not all fall upon the same candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PowerOfTwoChoices;

impl PowerOfTwoChoices {
    /// Draws the two positions among `len` candidates; they differ if `len` is at least two.
    pub fn draw(len: usize, random: u64) -> (usize, usize) {
        // Each half of the number draws one position, which is uniform enough for up to millions of candidates.
        let first = scale(random, len as u64) as usize;
        if len < 2 {
            return (first, first);
        }
        let second = scale(random << 32, len as u64 - 1) as usize;
        (first, second + usize::from(second >= first))
    }
}

impl Selector for PowerOfTwoChoices {
    fn select(&self, candidates: &Candidates, _now: Instant, random: u64) -> Option<usize> {
        let (first, second) = Self::draw(candidates.len(), random);
        let (a, b) = (candidates.get(first)?, candidates.get(second)?);
        Some(if b.score() < a.score() { second } else { first })
    }
}

/// Draws two different candidates at random and chooses the one that is expected to be done sooner, by what has been seen
/// of the capability there: its latency, its share of successes, what it has in flight, its capacity. O(1).
///
/// The latency is the peak-sensitive moving average of Twitter's Finagle, which made this combination known. Outcomes come
/// from [`Choice::done`](crate::Choice::done); without a [`Balancer`](crate::Balancer) there are none, and what is chosen is
/// whoever has less in flight from here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeakEwma;

impl Selector for PeakEwma {
    fn select(&self, candidates: &Candidates, now: Instant, random: u64) -> Option<usize> {
        let (first, second) = PowerOfTwoChoices::draw(candidates.len(), random);
        let (a, b) = (candidates.get(first)?, candidates.get(second)?);
        Some(if b.cost(now) < a.cost(now) {
            second
        } else {
            first
        })
    }
}

/// Chooses at random in proportion to the capacities, whatever the load: an agent of weight 3 gets three times as much as
/// one of weight 1 with as many slots. O(log n), by a Fenwick tree over the capacities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weighted;

impl Selector for Weighted {
    fn select(&self, candidates: &Candidates, _now: Instant, random: u64) -> Option<usize> {
        candidates.by_capacity(random)
    }
}
