//! How a capability has gone at one instance, and at all who offer it together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::ejection::{Ejected, Ejection};
use super::latency::{Latency, fading};
use super::success::Success;

/// Says how a task went, as far as the instance that was chosen for it is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done.
    Succeeded,
    /// The instance failed it: an error of its own, a panic, a missed deadline, no answer.
    Failed,
    /// It ended in a way that says nothing of the instance, such as a cancellation or an input that was refused.
    Cancelled,
}

/// How a capability has gone at all who offer it together.
#[derive(Debug, Default)]
pub(crate) struct Offered {
    state: Mutex<Common>,
    members: AtomicU32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Common {
    latency: Latency,
    success: Success,
}

/// How a capability has gone at one instance.
#[derive(Debug)]
pub(crate) struct Track {
    all: Arc<Offered>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    latency: Latency,
    success: Success,
    /// When the last outcome was seen, for failures to fade.
    last: Option<Instant>,
    decay: Duration,
    ejected: Ejected,
}

/// The longest latency that is believed, so that costs stay finite.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Track {
    pub(crate) fn new(all: Arc<Offered>) -> Self {
        Self {
            all,
            state: Mutex::default(),
        }
    }

    pub(crate) fn is_part_of(&self, all: &Arc<Offered>) -> bool {
        Arc::ptr_eq(&self.all, all)
    }

    /// Takes an outcome into account; `true` if it is a failure by which the instance stands out.
    pub(crate) fn observe(
        &self,
        outcome: Outcome,
        latency: Duration,
        now: Instant,
        decay: Duration,
        ejection: Option<&Ejection>,
    ) -> bool {
        let succeeded = match outcome {
            Outcome::Succeeded => true,
            Outcome::Failed => false,
            Outcome::Cancelled => return false,
        };
        let latency = latency.min(LONGEST);
        let all = self.all.observe(succeeded, latency, now, decay);
        let mut state = self.state.lock();
        state.decay = decay;
        state.last = state.last.max(Some(now));
        // Failing fast is not being fast: a failure counts as no quicker than the others' successes.
        let usual = all.latency.at(now, decay).filter(|_| !succeeded);
        let usual = Duration::try_from_secs_f64(usual.unwrap_or(0.0)).unwrap_or(LONGEST);
        state.latency.observe(latency.max(usual), now, decay);
        state.success.observe(succeeded);
        !succeeded
            && state.ejected.until().is_none()
            && ejection.is_some_and(|policy| policy.stands_out(&state.success, &all.success))
    }

    /// Returns the estimated time from a pick to a success, in seconds: latency over the share of successes, as an
    /// instance that succeeds every other time has to be asked twice. `None` if nothing is known.
    pub(crate) fn expected(&self, now: Instant) -> Option<f64> {
        let state = self.state.lock();
        let latency = state.latency.at(now, state.decay)?;
        Some(latency / state.success_at(now))
    }

    pub(crate) fn latency(&self, now: Instant) -> Option<Duration> {
        let state = self.state.lock();
        let seconds = state.latency.at(now, state.decay)?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// Returns the share of successes among the last outcomes, and how many there were.
    pub(crate) fn success(&self) -> (f64, u32) {
        let success = self.state.lock().success;
        (success.rate(), success.outcomes())
    }

    pub(crate) fn ejected_until(&self) -> Option<Instant> {
        self.state.lock().ejected.until()
    }

    pub(crate) fn eject(&self, policy: &Ejection, now: Instant, random: u64) -> Instant {
        self.state.lock().ejected.begin(policy, now, random)
    }

    /// Ends the ejection with a clean record.
    pub(crate) fn readmit(&self) {
        let mut state = self.state.lock();
        state.ejected.end();
        state.success = Success::default();
    }
}

impl State {
    /// The share of successes for the choice: doubtful while there are few outcomes, and failures fade with time, or who
    /// is avoided for them could never show that it is well again.
    fn success_at(&self, now: Instant) -> f64 {
        let known = f64::from(self.success.outcomes());
        let failed = (1.0 - self.success.rate()) * known / (known + 1.0);
        let left = self.last.map_or(0.0, |last| fading(last, now, self.decay));
        (1.0 - failed * left).max(1.0 / f64::from(Success::WINDOW))
    }
}

impl Offered {
    pub(crate) fn set_members(&self, members: usize) {
        let members = u32::try_from(members).unwrap_or(u32::MAX);
        self.members.store(members, Ordering::Relaxed);
    }

    fn observe(&self, succeeded: bool, latency: Duration, now: Instant, decay: Duration) -> Common {
        let mut state = self.state.lock();
        if succeeded {
            state.latency.observe(latency, now, decay);
        }
        // As long as the windows of all members together: else the common rate would be quicker to forget than each
        // one's own, and after an outage of all those would stand out who are the last to forget it.
        let members = self.members.load(Ordering::Relaxed).max(1);
        state
            .success
            .observe_over(succeeded, Success::WINDOW.saturating_mul(members));
        *state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECAY: Duration = Duration::from_secs(10);
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn failing_fast_is_not_being_fast() {
        let (all, now) = (Arc::new(Offered::default()), Instant::now());
        let (good, bad) = (Track::new(Arc::clone(&all)), Track::new(all));
        for _ in 0..20 {
            good.observe(Outcome::Succeeded, 100 * MS, now, DECAY, None);
            bad.observe(Outcome::Failed, MS, now, DECAY, None);
        }
        assert!(bad.expected(now) > good.expected(now).map(|cost| 5.0 * cost));
        // Left alone, its failures fade and it is tried again.
        let later = now + 20 * DECAY;
        good.observe(Outcome::Succeeded, 100 * MS, later, DECAY, None);
        assert!(bad.expected(later) < good.expected(later));
    }

    #[test]
    fn a_cancellation_says_nothing() {
        let track = Track::new(Arc::default());
        let now = Instant::now();
        let ejection = Ejection::default().with_failures_in_row(1);
        assert!(!track.observe(Outcome::Cancelled, MS, now, DECAY, Some(&ejection)));
        assert_eq!((track.expected(now), track.success()), (None, (1.0, 0)));
        assert!(track.observe(Outcome::Failed, MS, now, DECAY, Some(&ejection)));
        assert_eq!(track.success(), (0.0, 1));
    }

    #[test]
    fn whoever_is_ejected_cannot_be_ejected_and_comes_back_with_a_clean_record() {
        let track = Track::new(Arc::default());
        let (now, ejection) = (Instant::now(), Ejection::default().with_failures_in_row(1));
        assert!(track.observe(Outcome::Failed, MS, now, DECAY, Some(&ejection)));
        let until = track.eject(&ejection, now, 0);
        assert_eq!(track.ejected_until(), Some(until));
        assert!(!track.observe(Outcome::Failed, MS, now, DECAY, Some(&ejection)));
        track.readmit();
        assert_eq!((track.ejected_until(), track.success()), (None, (1.0, 0)));
    }

    #[test]
    fn absurd_latencies_do_no_harm() {
        let (track, now) = (Track::new(Arc::default()), Instant::now());
        track.observe(Outcome::Failed, Duration::MAX, now, Duration::ZERO, None);
        assert!(track.expected(now).is_some_and(f64::is_finite));
        assert_eq!(track.latency(now), Some(LONGEST));
    }
}
