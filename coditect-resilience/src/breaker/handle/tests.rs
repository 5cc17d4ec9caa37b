//! A breaker as threads share it.

use std::sync::Barrier;
use std::sync::atomic::AtomicU32;

use super::*;
use crate::{Backoff, ErrorKind};

fn policy() -> BreakerPolicy {
    BreakerPolicy::builder()
        .consecutive_failures(3)
        .open_for(Backoff::constant(Duration::from_secs(1)))
        .probes(2)
        .successes_to_close(2)
        .build()
        .unwrap()
}

fn open() -> Breaker {
    let breaker = Breaker::new(policy());
    for _ in 0..3 {
        breaker.acquire().unwrap().failure();
    }
    assert_eq!(breaker.state(), BreakerState::Open);
    breaker
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_makes_room_for_another() {
    let breaker = open();
    tokio::time::advance(Duration::from_secs(1)).await;
    let probes = [breaker.acquire().unwrap(), breaker.acquire().unwrap()];
    assert!(probes.iter().all(BreakerPermit::is_probe));
    let refused = breaker.acquire().unwrap_err();
    assert_eq!(
        (refused.kind(), refused.retry_after()),
        (ErrorKind::CircuitOpen, None)
    );
    drop(probes);
    breaker.acquire().unwrap().success();
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    breaker
        .acquire()
        .unwrap()
        .settle(crate::Classification::Ignore);
    assert_eq!(
        breaker.state(),
        BreakerState::HalfOpen,
        "an ignored outcome shows nothing"
    );
    breaker.acquire().unwrap().success();
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_phase_brings_back_is_not_counted() {
    let breaker = Breaker::new(policy());
    let late: Vec<_> = (0..3).map(|_| breaker.acquire().unwrap()).collect();
    for _ in 0..3 {
        breaker.acquire().unwrap().failure();
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    let probe = breaker.acquire().unwrap();
    late.into_iter().for_each(BreakerPermit::success);
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    probe.failure();
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn an_operator_decides_until_it_is_reset() {
    let breaker = Breaker::new(policy());
    breaker.force_open();
    tokio::time::advance(Duration::from_secs(3_600)).await;
    assert_eq!(breaker.acquire().unwrap_err().retry_after(), None);
    breaker.force_closed();
    for _ in 0..10 {
        breaker.acquire().unwrap().failure();
    }
    assert_eq!(breaker.state(), BreakerState::ForcedClosed);
    breaker.reset();
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[derive(Default)]
struct Log(parking_lot::Mutex<Vec<String>>);

impl BreakerObserver for Log {
    fn on_transition(&self, name: &str, transition: Transition) {
        let Transition { from, to, cause } = transition;
        self.0
            .lock()
            .push(format!("{name}: {from:?} to {to:?}, {cause:?}"));
    }

    fn on_refused(&self, name: &str, state: BreakerState) {
        self.0.lock().push(format!("{name}: refused, {state:?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn observers_hear_of_every_change_and_its_cause() {
    let log = Arc::new(Log::default());
    let both: Vec<Arc<dyn BreakerObserver>> = vec![log.clone(), Arc::new(())];
    let breaker = Breaker::new(policy())
        .with_name("billing")
        .with_observer(Arc::new(both))
        .with_randomness(|| 0.5);
    for _ in 0..3 {
        breaker.acquire().unwrap().failure();
    }
    breaker.acquire().unwrap_err();
    tokio::time::advance(Duration::from_secs(1)).await;
    let probe = breaker.acquire().unwrap();
    breaker.reset();
    drop(probe);
    assert_eq!(
        *log.0.lock(),
        [
            "billing: Closed to Open, Outcomes",
            "billing: refused, Open",
            "billing: Open to HalfOpen, Elapsed",
            "billing: HalfOpen to Closed, Operator",
        ]
    );
    assert!(format!("{breaker:?}").contains("billing"));
}

#[test]
fn threads_never_get_more_probes_than_allowed() {
    const THREADS: usize = 4;
    let breaker = open();
    let later = Instant::now() + Duration::from_secs(2);
    let (under_way, most) = (AtomicU32::new(0), AtomicU32::new(0));
    let barrier = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                barrier.wait();
                for _ in 0..2_000 {
                    let Ok(admission) = breaker.admit(later) else {
                        continue;
                    };
                    let now = under_way.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
                    most.fetch_max(now, std::sync::atomic::Ordering::SeqCst);
                    std::thread::yield_now();
                    under_way.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    breaker.release(admission);
                }
            });
        }
    });
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert!((1..=2).contains(&most.into_inner()));
}
