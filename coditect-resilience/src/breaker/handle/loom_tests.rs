//! Every order in which two threads can take the steps of a breaker.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p coditect-resilience --release --lib loom`

use loom::thread;

use super::*;
use crate::Backoff;

fn policy(failures: u32, successes: u32) -> BreakerPolicy {
    BreakerPolicy::builder()
        .consecutive_failures(failures)
        .open_for(Backoff::constant(Duration::from_secs(1)))
        .successes_to_close(successes)
        .build()
        .unwrap()
}

fn breaker(policy: BreakerPolicy) -> Breaker {
    Breaker::new(policy).with_randomness(|| 0.0)
}

#[test]
fn no_failure_is_lost_and_no_call_passes_once_a_trip_was_seen() {
    loom::model(|| {
        let (breaker, now) = (breaker(policy(2, 1)), Instant::now());
        let fail = |breaker: Breaker| {
            move || {
                let admission = match breaker.fast() {
                    Some(admission) => Ok(admission),
                    None => breaker.admit(now),
                };
                if let Ok(admission) = admission {
                    breaker.record(admission, CallOutcome::FAILURE, now);
                }
            }
        };
        let other = thread::spawn(fail(breaker.clone()));
        fail(breaker.clone())();
        other.join().unwrap();
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(breaker.fast().is_none() && breaker.admit(now).is_err());
    });
}

#[test]
fn of_two_threads_one_gets_the_probe_and_the_gate_mirrors_the_machine() {
    loom::model(|| {
        let (breaker, now) = (breaker(policy(1, 1)), Instant::now());
        let call = breaker.fast().unwrap();
        breaker.record(call, CallOutcome::FAILURE, now);
        let later = now + Duration::from_secs(1);
        let probes = Arc::new(AtomicU64::new(0));
        let probe = |breaker: Breaker, probes: Arc<AtomicU64>| {
            move || {
                if let Ok(admission) = breaker.admit(later)
                    && admission.is_probe()
                {
                    assert_eq!(probes.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                    probes.fetch_sub(1, Ordering::SeqCst);
                    breaker.record(admission, CallOutcome::SUCCESS, later);
                }
            }
        };
        let other = thread::spawn(probe(breaker.clone(), Arc::clone(&probes)));
        probe(breaker.clone(), probes)();
        other.join().unwrap();
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert_eq!(
            breaker.fast().unwrap().phase,
            breaker.inner.machine.lock().phase()
        );
    });
}

#[test]
fn a_forced_breaker_stays_forced_whatever_calls_bring_back() {
    loom::model(|| {
        let (breaker, now) = (breaker(policy(1, 1)), Instant::now());
        let operator = breaker.clone();
        let other = thread::spawn(move || operator.force_open());
        if let Some(admission) = breaker.fast() {
            breaker.record(admission, CallOutcome::FAILURE, now);
        }
        other.join().unwrap();
        assert_eq!(breaker.state(), BreakerState::ForcedOpen);
        assert!(breaker.fast().is_none());
    });
}
