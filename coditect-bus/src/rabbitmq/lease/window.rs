//! What a consumer can know, from its own side alone, about what the broker still has for it and what it still owes the broker. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

/// Bounds for how long a turn is kept for a priority whose next message is probably on its way.
const GRACE: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(20));

/// What is known about a priority's queue from what has been received of it.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Received and not settled.
    pub(super) open: usize,
    /// Settled while the window was full: for each, the broker may have another message on its way.
    expected: usize,
    since: Option<Instant>,
    /// How long the broker took lately.
    refill: Duration,
}

impl Window {
    /// Something of every priority may be on its way.
    pub(super) fn at_the_start() -> Self {
        Self {
            open: 0,
            expected: 1,
            since: Some(Instant::now()),
            refill: GRACE.1 / 4,
        }
    }

    pub(super) fn arrived(&mut self) {
        self.open += 1;
        if self.expected > 0 {
            self.expected -= 1;
            if let Some(since) = self.since {
                self.refill = (self.refill * 3 + since.elapsed()) / 4;
            }
            self.since = (self.expected > 0).then(Instant::now);
        }
    }

    pub(super) fn settled(&mut self, prefetch: usize) {
        if self.open >= prefetch || self.expected > 0 {
            self.expected += 1;
            self.since = Some(Instant::now());
        }
        self.open = self.open.saturating_sub(1);
    }

    /// Until when something is expected.
    pub(super) fn expects_until(&self) -> Option<Instant> {
        let since = self.since.filter(|_| self.expected > 0)?;
        Some(since + (self.refill * 4).clamp(GRACE.0, GRACE.1))
    }
}

/// Which tags of a channel are settled, so that many can be acknowledged at once, but never one that is not.
#[derive(Debug)]
pub(super) struct Settled {
    /// All tags below are settled.
    low: u64,
    above: BTreeSet<u64>,
}

impl Default for Settled {
    fn default() -> Self {
        Self {
            low: 1,
            above: BTreeSet::new(),
        }
    }
}

impl Settled {
    /// Notes tags as settled. Returns the highest of `acked` up to which every tag of the channel is settled, and how many of
    /// `acked`, which are in order, that covers.
    pub(super) fn advance(
        &mut self,
        settled: impl Iterator<Item = u64>,
        acked: &[u64],
    ) -> (u64, usize) {
        self.above.extend(settled);
        while self.above.remove(&self.low) {
            self.low += 1;
        }
        let covered = acked.partition_point(|tag| *tag < self.low);
        (
            covered.checked_sub(1).map_or(0, |last| acked[last]),
            covered,
        )
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_kept_only_for_what_a_full_window_makes_likely() {
        let mut window = Window::default();
        assert_eq!(window.expects_until(), None);
        window.arrived();
        // There was room for another, and none came.
        window.settled(2);
        assert_eq!(window.expects_until(), None);
        window.arrived();
        window.arrived();
        window.settled(2);
        window.settled(2);
        let until = window.expects_until().expect("both may be followed");
        assert!(until <= Instant::now() + GRACE.1);
        window.arrived();
        assert!(window.expects_until().is_some(), "one may still come");
        window.arrived();
        assert_eq!(window.expects_until(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_kept_longer_for_a_slow_broker_and_never_for_long() {
        let mut grace = Vec::new();
        for refill in [0, 3, 1_000] {
            let mut window = Window::default();
            for _ in 0..50 {
                window.arrived();
                window.settled(1);
                advance(Duration::from_millis(refill)).await;
            }
            window.arrived();
            window.settled(1);
            grace.push(window.expects_until().expect("it was full") - Instant::now());
        }
        assert_eq!((grace[0], grace[2]), (GRACE.0, GRACE.1));
        assert!(grace[0] < grace[1] && grace[1] < grace[2], "{grace:?}");
    }

    #[test]
    fn many_are_acknowledged_at_once_only_if_all_before_are_settled() {
        let mut settled = Settled::default();
        assert_eq!(settled.advance([2, 3].into_iter(), &[2, 3]), (0, 0));
        assert_eq!(settled.advance([1].into_iter(), &[1]), (1, 1));
        assert_eq!(settled.advance([4, 5, 7].into_iter(), &[4, 5, 7]), (5, 2));
        // 6 is not acknowledged but given back.
        assert_eq!(settled.advance([6, 8].into_iter(), &[8]), (8, 1));
        assert_eq!(settled.advance([11, 9].into_iter(), &[9, 11]), (9, 1));
    }
}
