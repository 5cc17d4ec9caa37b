//! A breaker that threads share: the state machine behind a short lock, with a way around it while all is well.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::machine::{Admission, BreakerMachine, BreakerState};
use super::observer::{BreakerObserver, Cause, Transition};
use super::permit::BreakerPermit;
use super::policy::{BreakerPolicy, CallOutcome};
use crate::error::Error;
use crate::random::{Randomness, SplitMix};
use crate::sync::{AtomicU64, Mutex, Ordering};

/// Guards calls to one callee. Clones are the same breaker.
///
/// While it is closed, admission reads one atomic word and takes no lock; recording an outcome takes one for a few
/// nanoseconds. Most callers want the layer ([`CircuitBreakerLayer`](crate::CircuitBreakerLayer)); by hand it goes so:
///
/// ```
/// use coditect_resilience::{Breaker, BreakerPolicy, BreakerState, ErrorKind};
///
/// let policy = BreakerPolicy::builder().consecutive_failures(2).build()?;
/// let breaker = Breaker::new(policy);
/// for _ in 0..2 {
///     let permit = breaker.acquire()?;
///     permit.failure();
/// }
/// assert_eq!(breaker.state(), BreakerState::Open);
/// let refused = breaker.acquire().unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::CircuitOpen);
/// assert!(refused.retry_after().is_some());
/// # Ok::<(), coditect_resilience::Error>(())
/// ```
#[derive(Clone)]
pub struct Breaker {
    inner: Arc<Inner>,
}

struct Inner {
    name: Arc<str>,
    settings: Arc<BreakerSettings>,
    /// The phase, times two, plus one if every call may pass: a mirror of the machine, written under its lock.
    gate: AtomicU64,
    machine: Mutex<BreakerMachine>,
    /// Its table has been told that it closed, and has not looked yet.
    is_returning: AtomicBool,
}

/// What many breakers have in common.
#[derive(Clone)]
pub(super) struct BreakerSettings {
    pub(super) policy: BreakerPolicy,
    /// Some instant, for what needs one and does not look at it.
    pub(super) epoch: Instant,
    pub(super) randomness: Arc<dyn Randomness>,
    pub(super) observer: Arc<dyn BreakerObserver>,
    /// Where the names of breakers go whose state other processes want to know.
    pub(super) outbox: Option<mpsc::Sender<Arc<str>>>,
    /// Where the names of breakers go that closed, for their table; each at most once, so that it stays bounded.
    pub(super) returns: Option<Arc<Mutex<Vec<Arc<str>>>>>,
}

impl BreakerSettings {
    pub(super) fn new(policy: BreakerPolicy) -> Self {
        Self {
            policy,
            epoch: Instant::now(),
            randomness: Arc::new(SplitMix::new()),
            observer: Arc::new(()),
            outbox: None,
            returns: None,
        }
    }
}

impl Breaker {
    /// Makes a closed breaker without a name.
    #[must_use]
    pub fn new(policy: BreakerPolicy) -> Self {
        Self::with_settings("".into(), Arc::new(BreakerSettings::new(policy)))
    }

    pub(super) fn with_settings(name: Arc<str>, settings: Arc<BreakerSettings>) -> Self {
        let machine = BreakerMachine::new(&settings.policy);
        Self {
            inner: Arc::new(Inner {
                name,
                gate: AtomicU64::new(gate(&machine)),
                machine: Mutex::new(machine),
                is_returning: AtomicBool::new(false),
                settings,
            }),
        }
    }

    /// Gives a breaker that is not yet shared its name. Clones made before keep the old one and another state.
    #[must_use]
    pub fn with_name(self, name: &str) -> Self {
        Self::with_settings(name.into(), Arc::clone(&self.inner.settings))
    }

    /// Tells an observer about a breaker that is not yet shared, as with [`with_name`](Self::with_name).
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn BreakerObserver>) -> Self {
        self.change(|settings| settings.observer = observer)
    }

    /// Replaces the source of the jitter of a breaker that is not yet shared, as with [`with_name`](Self::with_name).
    #[must_use]
    pub fn with_randomness(self, randomness: impl Randomness) -> Self {
        self.change(|settings| settings.randomness = Arc::new(randomness))
    }

    fn change(self, change: impl FnOnce(&mut BreakerSettings)) -> Self {
        let mut settings = BreakerSettings::clone(&self.inner.settings);
        change(&mut settings);
        Self::with_settings(Arc::clone(&self.inner.name), Arc::new(settings))
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    pub(super) fn shared_name(&self) -> &Arc<str> {
        &self.inner.name
    }

    /// Returns its policy.
    #[must_use]
    pub fn policy(&self) -> &BreakerPolicy {
        &self.inner.settings.policy
    }

    pub(super) fn epoch(&self) -> Instant {
        self.inner.settings.epoch
    }

    /// Returns its state as of the last call.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.inner.machine.lock().state()
    }

    /// Returns how much of its open time is left, if it is open.
    #[must_use]
    pub fn open_left(&self) -> Option<Duration> {
        self.inner.machine.lock().open_left(Instant::now())
    }

    /// Tells whether every call is let through, as of the last call: one atomic read.
    #[must_use]
    pub fn is_flowing(&self) -> bool {
        self.fast().is_some()
    }

    /// Says whether a call would be let through now, without making one: for whoever decides whether to fetch work at all.
    ///
    /// # Errors
    ///
    /// The span after which to ask again: what is left of the open time, or nothing where only a change of state can tell (all
    /// probes are under way, or an operator has opened the breaker).
    pub fn look(&self) -> Result<(), Option<Duration>> {
        if self.is_flowing() {
            return Ok(());
        }
        let machine = self.inner.machine.lock();
        machine.look(&self.inner.settings.policy, Instant::now())
    }

    /// Asks for leave to make a call.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::CircuitOpen`](crate::ErrorKind::CircuitOpen) if it is refused, with the span after which to ask again where
    /// that is known.
    pub fn acquire(&self) -> Result<BreakerPermit, Error> {
        self.clone().acquire_owned()
    }

    /// Asks for leave to make a call, as [`acquire`](Self::acquire) does, and gives this handle to the permit.
    ///
    /// # Errors
    ///
    /// As with [`acquire`](Self::acquire).
    pub fn acquire_owned(self) -> Result<BreakerPermit, Error> {
        let started = self.policy().slow_calls().is_some().then(Instant::now);
        let admission = match self.fast() {
            Some(admission) => admission,
            None => self.admit(started.unwrap_or_else(Instant::now))?,
        };
        Ok(BreakerPermit::new(self, admission, started))
    }

    /// Admits a call without the lock, if every call may pass.
    pub(super) fn fast(&self) -> Option<Admission> {
        let gate = self.inner.gate.load(Ordering::Acquire);
        (gate & 1 == 1).then_some(Admission {
            phase: gate >> 1,
            probe: false,
        })
    }

    /// Asks the state machine.
    pub(super) fn admit(&self, now: Instant) -> Result<Admission, Error> {
        let policy = &self.inner.settings.policy;
        let mut state = BreakerState::Closed;
        let admitted = self.step(Cause::Elapsed, |machine| {
            let admitted = machine.admit(policy, now);
            state = machine.state();
            admitted
        });
        admitted.map_err(|left| {
            self.inner.settings.observer.on_refused(self.name(), state);
            Error::circuit_open(left)
        })
    }

    /// Gives the outcome of an admitted call to the state machine.
    pub(super) fn record(&self, admission: Admission, outcome: CallOutcome, now: Instant) {
        let settings = &self.inner.settings;
        self.step(Cause::Outcomes, |machine| {
            let random = || settings.randomness.next_unit();
            machine.record(&settings.policy, admission, outcome, now, random);
        });
    }

    pub(super) fn release(&self, admission: Admission) {
        self.step(Cause::Outcomes, |machine| machine.release(admission));
    }

    /// Refuses every call until [`reset`](Self::reset) or [`force_closed`](Self::force_closed).
    pub fn force_open(&self) {
        self.step(Cause::Operator, BreakerMachine::force_open);
    }

    /// Lets every call through, whatever comes of it, until [`reset`](Self::reset) or [`force_open`](Self::force_open).
    pub fn force_closed(&self) {
        self.step(Cause::Operator, BreakerMachine::force_closed);
    }

    /// Begins again, closed, with nothing counted.
    pub fn reset(&self) {
        self.step(Cause::Operator, |machine| machine.reset(self.policy()));
    }

    pub(super) fn adopt(&self, adopt: impl FnOnce(&mut BreakerMachine)) {
        self.step(Cause::Shared, adopt);
    }

    /// Tells whether it is closed now, after which its table will be told again when it closes the next time.
    pub(super) fn has_returned(&self) -> bool {
        self.inner.is_returning.store(false, SeqCst);
        self.state() == BreakerState::Closed
    }

    pub(super) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.inner) > 1
    }

    /// Takes one step under the lock, mirrors the gate, and reports a change of state once the lock is free.
    fn step<T>(&self, cause: Cause, step: impl FnOnce(&mut BreakerMachine) -> T) -> T {
        let (result, from, to) = {
            let mut machine = self.inner.machine.lock();
            let (from, phase) = (machine.state(), machine.phase());
            let result = step(&mut machine);
            if machine.phase() != phase {
                self.inner.gate.store(gate(&machine), Ordering::Release);
            }
            (result, from, machine.state())
        };
        if from != to {
            self.report(Transition { from, to, cause });
        }
        result
    }

    #[cold]
    fn report(&self, transition: Transition) {
        let Transition { from, to, cause } = transition;
        tracing::debug!(
            name = self.name(),
            ?from,
            ?to,
            ?cause,
            "breaker changed its state"
        );
        self.inner
            .settings
            .observer
            .on_transition(self.name(), transition);
        if let (BreakerState::Closed, Some(returns)) = (to, &self.inner.settings.returns)
            && !self.inner.is_returning.swap(true, SeqCst)
        {
            returns.lock().push(Arc::clone(&self.inner.name));
        }
        if let (Cause::Outcomes, Some(outbox)) = (cause, &self.inner.settings.outbox) {
            // A full outbox loses the notice: others find out by themselves, and no call waits.
            let _ = outbox.try_send(Arc::clone(&self.inner.name));
        }
    }
}

fn gate(machine: &BreakerMachine) -> u64 {
    machine.phase() << 1 | u64::from(machine.state().is_flowing())
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("name", &self.name())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(test)]
mod tests;
