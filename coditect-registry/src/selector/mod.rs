//! Choosing one agent among those that offer what is required.
//!
//! A [`Selector`] decides and does nothing else: it sees the [`Candidates`], the time and a random number that it is handed,
//! and returns a position among them. State that a choice leaves behind (whose turn it is, who has how much in flight) lives
//! with the candidates, so that one selector may serve any number of capabilities without mixing them up.

mod candidate;
mod candidates;
mod in_flight;
mod least_loaded;
mod presence;
mod shares;
mod strategy;

pub use candidate::Candidate;
pub(crate) use candidate::FULL;
pub use candidates::Candidates;
pub use in_flight::InFlight;
pub use strategy::{LeastConnections, PeakEwma, PowerOfTwoChoices, RoundRobin, Weighted};

use std::fmt::Debug;

use tokio::time::Instant;

/// Chooses one of the candidates for a task.
///
/// # Examples
///
/// A selector of one's own, which takes the first candidate that has a free slot:
///
/// ```
/// use coditect_registry::{Candidates, Selector};
/// use tokio::time::Instant;
///
/// #[derive(Debug)]
/// struct FirstFree;
///
/// impl Selector for FirstFree {
///     fn select(&self, candidates: &Candidates, _now: Instant, _random: u64) -> Option<usize> {
///         candidates.iter().position(|candidate| candidate.load().free() > 0)
///     }
/// }
/// ```
pub trait Selector: Debug + Send + Sync + 'static {
    /// Returns the position of the chosen candidate, or `None` to choose none of them.
    ///
    /// There is always at least one candidate. `random` is uniform over all `u64`. Runs under the view's read lock for
    /// each task, so it must be quick and must not call back into the view. A position out of range counts as `None`.
    fn select(&self, candidates: &Candidates, now: Instant, random: u64) -> Option<usize>;
}

/// Maps a random number to `0..bound` without bias worth naming (Lemire's multiplication, without rejection).
pub(crate) fn scale(random: u64, bound: u64) -> u64 {
    let product = u128::from(random) * u128::from(bound);
    // The upper half of a 64 by 64 bit product fits into 64 bits.
    (product >> 64) as u64
}

#[cfg(test)]
mod tests;
