//! The state machine of one quarantine: outcomes, time and random numbers in, states and probes out.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::policy::QuarantinePolicy;
use crate::breaker::{Admission, BreakerMachine, CallOutcome};

/// What becomes of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QuarantineState {
    /// It is done, and its outcomes are counted.
    Watching,
    /// It is held back.
    Held,
    /// It is held back, but for what is tried as a probe.
    Probing,
}

/// Leave to try one piece of work that is held back. Its outcome goes back with it, or it is given up.
#[derive(Debug, PartialEq, Eq, Hash)]
#[must_use = "no other probe is let through before this one has gone back"]
pub struct Probe(Admission);

/// Decides whether work is held back that keeps failing in the same way; `K` are the ways. Pure: clock and random numbers are
/// handed in.
///
/// A [`BreakerMachine`] is what holds: its open time is the time to the next probe.
///
/// ```
/// use std::time::Duration;
/// use coditect_resilience::{QuarantineMachine, QuarantinePolicy, QuarantineState};
/// use tokio::time::Instant;
///
/// let policy = QuarantinePolicy::new(2, 3, Duration::from_secs(60))?;
/// let mut machine = QuarantineMachine::new(&policy);
/// let now = Instant::now();
/// machine.record(&policy, Some("timeout"), now, || 0.5);
/// machine.record(&policy, None, now, || 0.5);
/// assert!(machine.record(&policy, Some("timeout"), now, || 0.5), "two of three");
/// assert_eq!(machine.held(), Some(&"timeout"));
/// assert!(machine.probe(&policy, now).is_err());
///
/// let later = now + Duration::from_secs(60);
/// let probe = machine.probe(&policy, later).expect("its time has come");
/// machine.probed(&policy, probe, true, later, || 0.5);
/// assert_eq!(machine.state(), QuarantineState::Watching);
/// # Ok::<(), coditect_resilience::Error>(())
/// ```
#[derive(Debug)]
pub struct QuarantineMachine<K> {
    /// The last outcomes, the oldest first; none is a success. Empty while it holds.
    recent: VecDeque<(Instant, Option<K>)>,
    held: Option<K>,
    gate: BreakerMachine,
}

impl<K: PartialEq> QuarantineMachine<K> {
    /// Begins to watch, with nothing counted.
    #[must_use]
    pub fn new(policy: &QuarantinePolicy) -> Self {
        Self {
            recent: VecDeque::new(),
            held: None,
            gate: BreakerMachine::new(policy.gate()),
        }
    }

    /// Returns the state as of the last step.
    #[must_use]
    pub fn state(&self) -> QuarantineState {
        use crate::breaker::BreakerState;
        match (&self.held, self.gate.state()) {
            (None, _) => QuarantineState::Watching,
            (Some(_), BreakerState::HalfOpen) => QuarantineState::Probing,
            (Some(_), _) => QuarantineState::Held,
        }
    }

    /// Returns the way of failing for which it holds.
    #[must_use]
    pub const fn held(&self) -> Option<&K> {
        self.held.as_ref()
    }

    /// Returns when something was last counted, while it watches.
    #[must_use]
    pub fn last(&self) -> Option<Instant> {
        self.recent.back().map(|(at, _)| *at)
    }

    /// Takes an outcome in, none for a success; says whether it holds from now on. While it holds, only probes count.
    pub fn record(
        &mut self,
        policy: &QuarantinePolicy,
        outcome: Option<K>,
        now: Instant,
        random: impl FnOnce() -> f64,
    ) -> bool {
        if self.held.is_some() {
            return false;
        }
        while self.recent.len() >= policy.of() as usize {
            self.recent.pop_front();
        }
        let is_old = |at: Instant| now.saturating_duration_since(at) > policy.within();
        while self.recent.front().is_some_and(|(at, _)| is_old(*at)) {
            self.recent.pop_front();
        }
        self.recent.push_back((now, outcome));
        // What came last is what it is for.
        let Some((_, Some(kind))) = self.recent.back() else {
            return false;
        };
        let same = |(_, other): &&(Instant, Option<K>)| other.as_ref() == Some(kind);
        if self.recent.iter().filter(same).count() < policy.failures() as usize {
            return false;
        }
        self.held = self.recent.pop_back().and_then(|(_, kind)| kind);
        self.recent = VecDeque::new();
        if let Ok(call) = self.gate.admit(policy.gate(), now) {
            let failed = CallOutcome::FAILURE;
            self.gate.record(policy.gate(), call, failed, now, random);
        }
        true
    }

    /// Holds on the word of somebody else, as long as it does not hold already; probes come no sooner than after `left`.
    pub fn adopt(&mut self, policy: &QuarantinePolicy, kind: K, left: Duration, now: Instant) {
        if self.held.is_none() {
            self.held = Some(kind);
            self.recent = VecDeque::new();
            self.gate.adopt_open(policy.gate(), left, now);
        }
    }

    /// Says what [`probe`](Self::probe) would say now, and changes nothing.
    ///
    /// # Errors
    ///
    /// As with [`probe`](Self::probe).
    pub fn look(&self, policy: &QuarantinePolicy, now: Instant) -> Result<(), Option<Duration>> {
        if self.held.is_none() {
            return Err(None);
        }
        self.gate.look(policy.gate(), now)
    }

    /// Lets one piece of work through that is held back, if it is time for that.
    ///
    /// # Errors
    ///
    /// The span after which to ask again: what is left until then, or nothing where a probe is under way, or nothing is held.
    pub fn probe(
        &mut self,
        policy: &QuarantinePolicy,
        now: Instant,
    ) -> Result<Probe, Option<Duration>> {
        if self.held.is_none() {
            return Err(None);
        }
        self.gate.admit(policy.gate(), now).map(Probe)
    }

    /// Takes the outcome of a probe in: one that passed ends the quarantine. Says whether it did.
    pub fn probed(
        &mut self,
        policy: &QuarantinePolicy,
        probe: Probe,
        passed: bool,
        now: Instant,
        random: impl FnOnce() -> f64,
    ) -> bool {
        let outcome = if passed {
            CallOutcome::SUCCESS
        } else {
            CallOutcome::FAILURE
        };
        let was_held = self.held.is_some();
        self.gate
            .record(policy.gate(), probe.0, outcome, now, random);
        if was_held && self.gate.state().is_flowing() {
            self.held = None;
        }
        was_held && self.held.is_none()
    }

    /// Takes a probe back that showed nothing.
    pub fn give_up(&mut self, probe: Probe) {
        self.gate.release(probe.0);
    }

    /// Watches again, with nothing counted; says whether it had held.
    pub fn release(&mut self, policy: &QuarantinePolicy) -> bool {
        self.recent = VecDeque::new();
        self.gate.reset(policy.gate());
        self.held.take().is_some()
    }
}

#[cfg(test)]
mod tests;
