//! Which settled runs are forgotten, and when.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::MemoryConfig;
use super::run::KeptRun;
use crate::RunId;

/// A run that has settled and may be forgotten.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) run: RunId,
    /// How many times it had settled: a run that was opened again comes back as another candidate.
    pub(super) settlements: u32,
    pub(super) bytes: usize,
    pub(super) since: Instant,
}

impl Candidate {
    pub(super) fn new(run: RunId, kept: &KeptRun) -> Self {
        Self {
            run,
            settlements: kept.settlements,
            bytes: kept.bytes(),
            since: Instant::now(),
        }
    }
}

/// The settled runs, those that settled first at the front.
#[derive(Debug)]
pub(super) struct Retention {
    /// Runs that would have been forgotten but for a watch or an entry in an inbox.
    held: VecDeque<Candidate>,
    queue: VecDeque<Candidate>,
    bytes: usize,
    max_runs: usize,
    max_bytes: usize,
    max_age: Duration,
}

impl Retention {
    /// How many of the held runs one sweep looks at, so that many watches do not make every sweep long.
    const HELD: usize = 8;

    pub(super) fn new(config: &MemoryConfig) -> Self {
        Self {
            held: VecDeque::new(),
            queue: VecDeque::new(),
            bytes: 0,
            max_runs: config.max_settled,
            max_bytes: config.max_settled_bytes,
            max_age: config.max_age,
        }
    }

    pub(super) fn extend(&mut self, candidates: Vec<Candidate>) {
        for candidate in candidates {
            self.bytes += candidate.bytes;
            self.queue.push_back(candidate);
        }
    }

    /// Takes back what was due but cannot be forgotten yet.
    pub(super) fn hold(&mut self, candidate: Candidate) {
        self.held.push_back(candidate);
    }

    /// Takes out what is due to be forgotten now. The youngest is spared.
    pub(super) fn sweep(&mut self, now: Instant) -> Vec<Candidate> {
        let some = self.held.len().min(Self::HELD);
        let mut due: Vec<_> = self.held.drain(..some).collect();
        while self.queue.len() > 1 && self.is_over(now) {
            let Some(oldest) = self.queue.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes;
            due.push(oldest);
        }
        due
    }

    fn is_over(&self, now: Instant) -> bool {
        self.queue.len() > self.max_runs
            || self.bytes > self.max_bytes
            || self
                .queue
                .front()
                .is_some_and(|oldest| now.saturating_duration_since(oldest.since) >= self.max_age)
    }
}
