//! The state machine of a breaker: time and random numbers in, admissions and states out.

use std::time::Duration;

use tokio::time::Instant;

use super::policy::{BreakerPolicy, CallOutcome};
use super::window::{Counts, Outcomes};

/// What a breaker does with calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BreakerState {
    /// Calls flow, and their outcomes are counted.
    Closed,
    /// Calls are refused until the open time is over.
    Open,
    /// A few calls are let through as probes.
    HalfOpen,
    /// Calls are refused until an operator says otherwise.
    ForcedOpen,
    /// Calls flow whatever comes of them, until an operator says otherwise.
    ForcedClosed,
}

impl BreakerState {
    /// Tells whether every call is let through.
    #[must_use]
    pub const fn is_flowing(self) -> bool {
        matches!(self, Self::Closed | Self::ForcedClosed)
    }
}

/// Leave for one call. Its outcome goes back with it, or it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Admission {
    pub(super) phase: u64,
    pub(super) probe: bool,
}

impl Admission {
    /// Tells whether the call is a probe of a half-open breaker.
    #[must_use]
    pub const fn is_probe(self) -> bool {
        self.probe
    }
}

/// Decides which calls a breaker lets through. Pure: clock and random numbers are handed in.
///
/// Every change of state begins a new *phase*, and an admission belongs to its phase: what a call of an earlier
/// phase brings back says nothing about this one and is not counted.
///
/// ```
/// use coditect_resilience::{Backoff, BreakerMachine, BreakerPolicy, BreakerState, CallOutcome};
/// use std::time::Duration;
/// use tokio::time::Instant;
///
/// let policy = BreakerPolicy::builder()
///     .consecutive_failures(1)
///     .open_for(Backoff::constant(Duration::from_secs(1)))
///     .successes_to_close(1)
///     .build()?;
/// let mut machine = BreakerMachine::new(&policy);
/// let now = Instant::now();
///
/// let call = machine.admit(&policy, now).expect("closed");
/// machine.record(&policy, call, CallOutcome::FAILURE, now, || 0.5);
/// assert_eq!(machine.admit(&policy, now), Err(Some(Duration::from_secs(1))));
///
/// let later = now + Duration::from_secs(1);
/// let probe = machine.admit(&policy, later).expect("the open time is over");
/// assert_eq!(machine.state(), BreakerState::HalfOpen);
/// machine.record(&policy, probe, CallOutcome::SUCCESS, later, || 0.5);
/// assert_eq!(machine.state(), BreakerState::Closed);
/// # Ok::<(), coditect_resilience::Error>(())
/// ```
#[derive(Debug)]
pub struct BreakerMachine {
    state: State,
    phase: u64,
    consecutive: u32,
    outcomes: Outcomes,
    /// Openings since the breaker was last closed, and how long the latest was meant to be.
    openings: u32,
    open_for: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed,
    Open { until: Instant },
    HalfOpen { under_way: u32, passed: u32 },
    ForcedOpen,
    ForcedClosed,
}

impl BreakerMachine {
    /// Begins closed, with nothing counted.
    #[must_use]
    pub fn new(policy: &BreakerPolicy) -> Self {
        Self {
            state: State::Closed,
            phase: 0,
            consecutive: 0,
            outcomes: Outcomes::new(policy),
            openings: 0,
            open_for: None,
        }
    }

    /// Returns the state as of the last step: an open breaker becomes half-open with the first call after its time.
    #[must_use]
    pub const fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
            State::ForcedOpen => BreakerState::ForcedOpen,
            State::ForcedClosed => BreakerState::ForcedClosed,
        }
    }

    /// Returns how much of its open time is left, if it is open.
    #[must_use]
    pub fn open_left(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Open { until } => Some(until.saturating_duration_since(now)),
            _ => None,
        }
    }

    pub(super) const fn phase(&self) -> u64 {
        self.phase
    }

    /// Lets a call through, or refuses it.
    ///
    /// # Errors
    ///
    /// The span after which to ask again: what is left of the open time, or nothing where nobody can say (all probes
    /// are under way, or an operator has opened the breaker).
    pub fn admit(
        &mut self,
        policy: &BreakerPolicy,
        now: Instant,
    ) -> Result<Admission, Option<Duration>> {
        if let State::Open { until } = self.state {
            let left = until.saturating_duration_since(now);
            if !left.is_zero() {
                return Err(Some(left));
            }
            self.probe();
        }
        let probe = match &mut self.state {
            State::HalfOpen { under_way, .. } if *under_way < policy.probes() => {
                *under_way += 1;
                true
            }
            State::Closed | State::ForcedClosed => false,
            _ => return Err(None),
        };
        Ok(Admission {
            phase: self.phase,
            probe,
        })
    }

    /// Says what [`admit`](Self::admit) would say now, and changes nothing.
    ///
    /// # Errors
    ///
    /// As with [`admit`](Self::admit).
    pub fn look(&self, policy: &BreakerPolicy, now: Instant) -> Result<(), Option<Duration>> {
        match self.state {
            State::Closed | State::ForcedClosed => Ok(()),
            State::Open { until } => {
                let left = until.saturating_duration_since(now);
                left.is_zero().then_some(()).ok_or(Some(left))
            }
            State::HalfOpen { under_way, .. } if under_way < policy.probes() => Ok(()),
            State::HalfOpen { .. } | State::ForcedOpen => Err(None),
        }
    }

    /// Takes the outcome of an admitted call in. `random` is asked only if the breaker opens, for a number in `[0, 1)` that
    /// spreads the open time.
    pub fn record(
        &mut self,
        policy: &BreakerPolicy,
        admission: Admission,
        outcome: CallOutcome,
        now: Instant,
        random: impl FnOnce() -> f64,
    ) {
        if admission.phase != self.phase {
            return;
        }
        match &mut self.state {
            State::Closed => {
                self.consecutive = if outcome.failed {
                    self.consecutive.saturating_add(1)
                } else {
                    0
                };
                let counts = self.outcomes.push(outcome, now);
                if trips(policy, self.consecutive, counts) {
                    self.open(policy, now, random());
                }
            }
            State::HalfOpen { under_way, passed } => {
                *under_way = under_way.saturating_sub(1);
                if outcome.failed || outcome.slow {
                    self.open(policy, now, random());
                    return;
                }
                *passed += 1;
                if *passed >= policy.successes_to_close() {
                    self.close(policy);
                }
            }
            State::Open { .. } | State::ForcedOpen | State::ForcedClosed => {}
        }
    }

    /// Takes an admission back whose call showed nothing: it was dropped, or its outcome is to be ignored.
    pub fn release(&mut self, admission: Admission) {
        if let State::HalfOpen { under_way, .. } = &mut self.state
            && admission.phase == self.phase
        {
            *under_way = under_way.saturating_sub(1);
        }
    }

    /// Refuses every call until it is told otherwise.
    pub fn force_open(&mut self) {
        self.enter(State::ForcedOpen);
    }

    /// Lets every call through, and counts none, until it is told otherwise.
    pub fn force_closed(&mut self) {
        self.enter(State::ForcedClosed);
    }

    /// Begins again, closed, with nothing counted: also the way out of a forced state.
    pub fn reset(&mut self, policy: &BreakerPolicy) {
        self.close(policy);
    }

    /// Stays away on the word of another process: a closed breaker opens for a span, an open one stays open that long
    /// at least. The span is cut off at this policy's own longest one. A half-open breaker is about to know
    /// better itself, and a forced one was told by an operator: neither listens.
    pub fn adopt_open(&mut self, policy: &BreakerPolicy, span: Duration, now: Instant) {
        let span = span.min(policy.open_for().max());
        let theirs = far(now, span);
        match &mut self.state {
            State::Open { until } => *until = theirs.max(*until),
            State::Closed => {
                self.openings = 1;
                self.open_for = Some(span);
                self.enter(State::Open { until: theirs });
            }
            State::HalfOpen { .. } | State::ForcedOpen | State::ForcedClosed => {}
        }
    }

    /// Lets probes through on the word of another process. A closed breaker then wants to see one success rather than
    /// the many failures that would trip it, and an open one need not wait until its time is over.
    pub fn adopt_probing(&mut self) {
        if let State::Closed | State::Open { .. } = self.state {
            self.probe();
        }
    }

    fn open(&mut self, policy: &BreakerPolicy, now: Instant, random: f64) {
        self.openings = self.openings.saturating_add(1);
        let span = policy
            .open_for()
            .delay(self.openings, self.open_for, random);
        self.open_for = Some(span);
        self.enter(State::Open {
            until: far(now, span),
        });
    }

    fn close(&mut self, policy: &BreakerPolicy) {
        self.consecutive = 0;
        self.outcomes = Outcomes::new(policy);
        self.openings = 0;
        self.open_for = None;
        self.enter(State::Closed);
    }

    const fn probe(&mut self) {
        self.enter(State::HalfOpen {
            under_way: 0,
            passed: 0,
        });
    }

    const fn enter(&mut self, state: State) {
        self.state = state;
        self.phase += 1;
    }
}

/// The instant after a span; thirty years at most, which no instant overflows.
pub(super) fn far(now: Instant, span: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);
    now + span.min(FAR)
}

/// Tells whether what was counted is a sign to open.
fn trips(policy: &BreakerPolicy, consecutive: u32, counts: Counts) -> bool {
    let reaches = |part: u32, rate: Option<f64>| {
        rate.is_some_and(|rate| f64::from(part) >= rate * f64::from(counts.calls))
    };
    let in_a_row = policy
        .consecutive_failures()
        .is_some_and(|limit| consecutive >= limit);
    let enough = counts.calls >= policy.min_calls();
    in_a_row
        || enough
            && (reaches(counts.failed, policy.failure_rate())
                || reaches(counts.slow, policy.slow_calls().map(|(_, rate)| rate)))
}

#[cfg(test)]
mod tests;
