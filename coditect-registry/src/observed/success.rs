//! The share of outcomes that were successes, lately.

/// Averages the last outcomes: plainly while there are few, then exponentially over about [`WINDOW`](Self::WINDOW).
///
/// It counts outcomes, not time, so that an agent that gets one task a minute is judged like one that gets a thousand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Success {
    rate: f64,
    outcomes: u32,
    failures_in_row: u32,
}

impl Default for Success {
    fn default() -> Self {
        Self {
            rate: 1.0,
            outcomes: 0,
            failures_in_row: 0,
        }
    }
}

impl Success {
    /// About how many outcomes are remembered.
    pub(crate) const WINDOW: u32 = 64;

    pub(crate) fn observe(&mut self, succeeded: bool) {
        self.observe_over(succeeded, Self::WINDOW);
    }

    /// As [`observe`](Self::observe), over a window of another length.
    pub(crate) fn observe_over(&mut self, succeeded: bool, window: u32) {
        self.outcomes = self.outcomes.saturating_add(1).min(window.max(1));
        let outcome = if succeeded { 1.0 } else { 0.0 };
        self.rate += (outcome - self.rate) / f64::from(self.outcomes);
        self.failures_in_row = if succeeded {
            0
        } else {
            self.failures_in_row.saturating_add(1)
        };
    }

    /// Returns the share of successes: 1 before the first outcome.
    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }

    /// Returns how many outcomes there were, up to the window.
    pub(crate) fn outcomes(&self) -> u32 {
        self.outcomes
    }

    pub(crate) fn failures_in_row(&self) -> u32 {
        self.failures_in_row
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn few_outcomes_are_averaged_plainly(outcomes in prop::collection::vec(any::<bool>(), 1..64)) {
            let mut success = Success::default();
            outcomes.iter().for_each(|&outcome| success.observe(outcome));
            let plain = outcomes.iter().filter(|&&outcome| outcome).count() as f64 / outcomes.len() as f64;
            prop_assert!((success.rate() - plain).abs() < 1e-9);
            prop_assert_eq!(success.outcomes() as usize, outcomes.len());
            let row = outcomes.iter().rev().take_while(|&&outcome| !outcome).count();
            prop_assert_eq!(success.failures_in_row() as usize, row);
        }

        #[test]
        fn what_is_long_ago_is_forgotten(before in prop::collection::vec(any::<bool>(), 0..200)) {
            let mut success = Success::default();
            before.iter().for_each(|&outcome| success.observe(outcome));
            (0..10 * Success::WINDOW).for_each(|_| success.observe(true));
            prop_assert!(success.rate() > 0.999);
            (0..10 * Success::WINDOW).for_each(|_| success.observe(false));
            prop_assert!((0.0..0.001).contains(&success.rate()));
        }
    }
}
