//! The outcomes that a breaker remembers: of the last calls, or of the last while.

use std::time::Duration;

use tokio::time::Instant;

use super::policy::{BreakerPolicy, CallOutcome, Window};

/// What the window holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) calls: u32,
    pub(super) failed: u32,
    pub(super) slow: u32,
}

impl Counts {
    fn add(&mut self, outcome: CallOutcome) {
        self.calls = self.calls.saturating_add(1);
        self.failed = self.failed.saturating_add(u32::from(outcome.failed));
        self.slow = self.slow.saturating_add(u32::from(outcome.slow));
    }

    fn remove(&mut self, other: Self) {
        self.calls = self.calls.saturating_sub(other.calls);
        self.failed = self.failed.saturating_sub(other.failed);
        self.slow = self.slow.saturating_sub(other.slow);
    }
}

/// The window of one breaker. Empty ones hold no memory of their own, so that a key that was never called
/// costs little.
#[derive(Debug)]
pub(super) enum Outcomes {
    None,
    Calls(Ring),
    Time(Buckets),
}

impl Outcomes {
    pub(super) fn new(policy: &BreakerPolicy) -> Self {
        if !policy.needs_window() {
            return Self::None;
        }
        match policy.window() {
            Window::Calls(size) => Self::Calls(Ring::new(size)),
            Window::Time(span) => Self::Time(Buckets::new(span)),
        }
    }

    /// Takes an outcome in and returns what the window holds now.
    pub(super) fn push(&mut self, outcome: CallOutcome, now: Instant) -> Counts {
        match self {
            Self::None => Counts::default(),
            Self::Calls(ring) => ring.push(outcome),
            Self::Time(buckets) => buckets.push(outcome, now),
        }
    }
}

/// The last calls, two bits each, in a ring.
#[derive(Debug)]
pub(super) struct Ring {
    words: Box<[u64]>,
    size: u32,
    next: u32,
    counts: Counts,
}

const CALLS_PER_WORD: u32 = u64::BITS / 2;

impl Ring {
    fn new(size: u32) -> Self {
        Self {
            words: Box::default(),
            size,
            next: 0,
            counts: Counts::default(),
        }
    }

    fn push(&mut self, outcome: CallOutcome) -> Counts {
        if self.words.is_empty() {
            self.words = vec![0; self.size.div_ceil(CALLS_PER_WORD) as usize].into();
        }
        let word = &mut self.words[(self.next / CALLS_PER_WORD) as usize];
        let shift = (self.next % CALLS_PER_WORD) * 2;
        if self.counts.calls == self.size {
            let oldest = *word >> shift;
            self.counts.remove(Counts {
                calls: 1,
                failed: (oldest & 1) as u32,
                slow: (oldest >> 1 & 1) as u32,
            });
        }
        let bits = u64::from(outcome.failed) | u64::from(outcome.slow) << 1;
        *word = *word & !(3 << shift) | bits << shift;
        self.next = (self.next + 1) % self.size;
        self.counts.add(outcome);
        self.counts
    }
}

/// The calls of a span, counted in steps of a tenth of it.
#[derive(Debug)]
pub(super) struct Buckets {
    buckets: Box<[Counts]>,
    step: Duration,
    /// When the first call came, from which the steps are counted.
    start: Option<Instant>,
    /// The step of the latest call.
    head: u64,
    total: Counts,
}

const STEPS: u64 = 10;

impl Buckets {
    fn new(span: Duration) -> Self {
        Self {
            buckets: Box::default(),
            // Policies count in whole milliseconds, so that a tenth of a window is at least 100 µs.
            step: span / STEPS as u32,
            start: None,
            head: 0,
            total: Counts::default(),
        }
    }

    fn push(&mut self, outcome: CallOutcome, now: Instant) -> Counts {
        if self.buckets.is_empty() {
            self.buckets = vec![Counts::default(); STEPS as usize].into();
        }
        let start = *self.start.get_or_insert(now);
        let step = now.saturating_duration_since(start).as_nanos() / self.step.as_nanos();
        self.advance(u64::try_from(step).unwrap_or(u64::MAX));
        self.buckets[(self.head % STEPS) as usize].add(outcome);
        self.total.add(outcome);
        self.total
    }

    /// Forgets the steps that have left the window. A clock that seems to run backwards (another thread read it
    /// earlier and came later) moves nothing.
    fn advance(&mut self, step: u64) {
        let passed = step.saturating_sub(self.head).min(STEPS);
        self.head = self.head.max(step);
        for back in 0..passed {
            let bucket = &mut self.buckets[((self.head - back) % STEPS) as usize];
            self.total.remove(std::mem::take(bucket));
        }
    }
}

#[cfg(test)]
mod tests;
