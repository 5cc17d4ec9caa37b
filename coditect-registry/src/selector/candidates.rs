//! The candidates for one requirement, indexed so that no selector has to look at all of them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::least_loaded::LeastLoaded;
use super::shares::Shares;
use super::{Candidate, scale};

/// Holds those among whom a [`Selector`](super::Selector) chooses, with what is needed to choose quickly.
///
/// Positions are `0..len` and change when a candidate leaves: the last one takes its place.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use coditect_registry::{AgentRecord, Candidate, Candidates, Incarnation, LeastConnections, Selector};
/// use tokio::time::Instant;
///
/// let incarnation = Incarnation::fresh();
/// let candidate = |name: &str| -> Result<_, coditect_registry::Error> {
///     Ok(Candidate::new(Arc::new(AgentRecord::new(name.parse()?, incarnation))))
/// };
/// let candidates = Candidates::new([candidate("busy")?, candidate("idle")?]);
/// let _work = candidates.get(0).map(Candidate::begin);
/// assert_eq!(LeastConnections.select(&candidates, Instant::now(), 0), Some(1));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Candidates {
    members: Vec<Candidate>,
    turn: AtomicUsize,
    shares: Shares,
    least: Arc<LeastLoaded>,
}

impl Candidates {
    /// Gathers candidates; each may stand in any number of such gatherings.
    pub fn new(members: impl IntoIterator<Item = Candidate>) -> Self {
        let mut candidates = Self::default();
        for member in members {
            candidates.insert(member);
        }
        candidates
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Returns the candidate at a position.
    pub fn get(&self, position: usize) -> Option<&Candidate> {
        self.members.get(position)
    }

    /// Goes through all of them by position.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Candidate> {
        self.members.iter()
    }

    /// Takes the next turn: positions one after the other, round and round. O(1).
    pub fn next_turn(&self) -> Option<usize> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        turn.checked_rem(self.members.len())
    }

    /// Draws a position in proportion to the [capacities](Candidate::capacity). O(log n).
    pub fn by_capacity(&self, random: u64) -> Option<usize> {
        let total = self.shares.total();
        (total > 0).then(|| self.shares.holder(scale(random, total)))
    }

    /// Draws among the positions with the least [`score`](Candidate::score). O(log n), but O(n) the first time.
    pub fn least_loaded(&self, random: u64) -> Option<usize> {
        self.least
            .find(random, self.members.iter().map(Candidate::score))
    }

    pub(crate) fn insert(&mut self, candidate: Candidate) {
        candidate.sit(self.members.len(), &self.least);
        self.shares.push(candidate.capacity());
        self.members.push(candidate);
    }

    /// Takes over a candidate's capacity, if it is there and its capacity has changed.
    pub(crate) fn reweigh(&mut self, candidate: &Candidate) {
        if let Some(position) = candidate.position(&self.least) {
            self.shares.set(position, candidate.capacity());
        }
    }

    /// Takes a candidate out, if it is there.
    pub(crate) fn remove(&mut self, candidate: &Candidate) {
        let Some(position) = candidate.stand_up(&self.least) else {
            return;
        };
        self.shares.swap_remove(position);
        self.members.swap_remove(position);
        if let Some(moved) = self.members.get(position) {
            moved.move_to(position, &self.least);
        }
        // Only now: until it had moved, the last one may have reported to its old position.
        self.least.clear(self.members.len());
    }
}

impl Drop for Candidates {
    fn drop(&mut self) {
        for member in &self.members {
            member.stand_up(&self.least);
        }
    }
}

impl fmt::Debug for Candidates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.members).finish()
    }
}
