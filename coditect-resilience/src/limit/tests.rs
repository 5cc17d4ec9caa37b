//! The limiter against a naive count, and the layer under too much load, on paused time.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::{Classification, Error, ErrorKind, retry_errors};

#[derive(Default)]
struct Log {
    shed: Mutex<[u32; 3]>,
    limits: Mutex<Vec<(u32, u32)>>,
}

impl LimitObserver for Log {
    fn on_shed(&self, priority: u8, _: u32) {
        self.shed.lock()[usize::from(priority)] += 1;
    }

    fn on_limit(&self, from: u32, to: u32) {
        self.limits.lock().push((from, to));
    }
}

/// Twice what a callee of ten workers bears is offered for twenty seconds.
#[tokio::test(start_paused = true)]
async fn under_twice_the_load_the_highest_priority_keeps_its_latency_and_the_lowest_is_shed() {
    let log = Arc::new(Log::default());
    let limiter = ConcurrencyLimiter::new(AdaptivePolicy::new(4, 10, 200).unwrap())
        .with_shedding(SheddingPolicy::default())
        .with_observer(log.clone());
    let workers = Arc::new(Semaphore::new(10));
    let callee = service_fn(move |_: u8| {
        let workers = Arc::clone(&workers);
        async move {
            let _worker = workers.acquire().await;
            sleep(Duration::from_millis(50)).await;
            Ok::<_, Error>(())
        }
    });
    let layer =
        ConcurrencyLimitLayer::new(limiter.clone(), |priority: &u8| *priority, retry_errors);
    let service = layer.layer(callee);
    let (mut calls, mut offered) = (JoinSet::new(), [0_u32; 3]);
    // 400 a second, of which 50 are P0, 100 P1 and 250 P2; the callee does 200 a second.
    for i in 0..400 * 20_u32 {
        let priority = match i % 8 {
            0 => 0,
            1 | 2 => 1,
            _ => 2,
        };
        offered[usize::from(priority)] += 1;
        let call = service.clone().oneshot(priority);
        calls.spawn(async move {
            let started = Instant::now();
            (priority, call.await.map(|()| started.elapsed()))
        });
        sleep(Duration::from_micros(2_500)).await;
    }
    let (mut done, mut latencies) = ([0_u32; 3], Vec::new());
    while let Some(call) = calls.join_next().await {
        let (priority, outcome) = call.unwrap();
        match outcome {
            Ok(latency) => {
                done[usize::from(priority)] += 1;
                latencies.extend((priority == 0).then_some(latency));
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Overloaded),
        }
    }
    latencies.sort_unstable();
    let p99 = latencies[latencies.len() * 99 / 100];
    let share = |priority: usize| f64::from(done[priority]) / f64::from(offered[priority]);
    println!(
        "done {done:?} of {offered:?}, P0 p99 {p99:?}, limit {}",
        limiter.limit()
    );
    assert!(share(0) > 0.99, "P0: {}", share(0));
    assert!(share(2) < share(1) && share(2) < 0.6, "P2: {}", share(2));
    assert!(p99 <= Duration::from_millis(150), "{p99:?}");
    // The callee is kept busy all the same.
    assert!(done.iter().sum::<u32>() > 200 * 20 * 9 / 10, "{done:?}");
    let shed: u32 = log.shed.lock().iter().sum();
    assert_eq!(shed + done.iter().sum::<u32>(), offered.iter().sum::<u32>());
    assert_eq!(limiter.in_flight(), 0);
    assert!(!log.limits.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_overloads_the_callee_lowers_the_limit_and_other_failures_do_not() {
    let limiter = ConcurrencyLimiter::new(AdaptivePolicy::new(1, 10, 20).unwrap());
    let judge = |outcome: &Result<(), Error>| match outcome {
        Err(error) if error.kind() == ErrorKind::InvalidPolicy => Classification::Fail,
        outcome => retry_errors(outcome),
    };
    let layer = ConcurrencyLimitLayer::new(limiter.clone(), 0, judge);
    let service = layer.layer(service_fn(|error: fn() -> Error| async move {
        Err::<(), _>(error())
    }));
    let _ = service
        .clone()
        .oneshot(|| Error::invalid_policy("its own fault"))
        .await;
    assert_eq!(limiter.limit(), 10);
    let _ = service
        .clone()
        .oneshot(|| Error::timeout(Duration::ZERO))
        .await;
    assert_eq!(limiter.limit(), 9);
    drop(service.call_dropped());
    assert_eq!((limiter.limit(), limiter.in_flight()), (9, 0));
}

trait CallDropped {
    fn call_dropped(&self) -> impl Sized;
}

impl<S: tower::Service<fn() -> Error> + Clone> CallDropped for S {
    /// A call that is made and dropped before it is polled.
    fn call_dropped(&self) -> impl Sized {
        self.clone().call(Error::overloaded)
    }
}

#[test]
fn shares_that_rise_are_refused() {
    for shares in [
        [0.5, 0.6, 0.1],
        [1.0, 1.0, 0.0],
        [1.1, 1.0, 1.0],
        [f64::NAN; 3],
    ] {
        assert!(SheddingPolicy::new(shares).is_err(), "{shares:?}");
    }
    let sent = serde_json::to_string(&SheddingPolicy::default()).unwrap();
    assert_eq!(sent, "[1.0,0.8,0.5]");
    assert!(serde_json::from_str::<SheddingPolicy>("[0.1,0.2,0.3]").is_err());
    assert_eq!(
        serde_json::from_str::<SheddingPolicy>(&sent).unwrap(),
        SheddingPolicy::default()
    );
}

proptest! {
    #[test]
    fn the_limiter_agrees_with_a_naive_count(
        limit in 1_u32..20,
        shares in (1_u32..=4, 1_u32..=4, 1_u32..=4),
        steps in prop::collection::vec((any::<bool>(), 0_u8..5, any::<usize>()), 0..200),
    ) {
        let mut shares = [shares.0, shares.1, shares.2];
        shares.sort_unstable_by(|one, other| other.cmp(one));
        let shedding = SheddingPolicy::new(shares.map(|quarters| f64::from(quarters) / 4.0)).unwrap();
        let limiter = ConcurrencyLimiter::new(AdaptivePolicy::fixed(limit).unwrap()).with_shedding(shedding);
        let mut held = Vec::new();
        for (enters, priority, index) in steps {
            if enters {
                let quarters = shares[usize::from(priority.min(2))];
                let room = (limit * quarters / 4).max(1);
                let entered = limiter.acquire(priority);
                prop_assert_eq!(entered.is_ok(), (held.len() as u32) < room);
                held.extend(entered);
            } else if !held.is_empty() {
                let call: InFlight = held.swap_remove(index % held.len());
                if index % 2 == 0 { call.success() } else { call.overload() }
            }
            prop_assert_eq!((limiter.in_flight(), limiter.limit()), (held.len() as u32, limit));
        }
    }
}
