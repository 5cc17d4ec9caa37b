//! The layer as a caller meets it, on paused time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::*;
use crate::{BudgetPolicy, Error, RetryBudget, retry_errors};

#[derive(Default)]
struct Count {
    made: AtomicU32,
    ended: AtomicU32,
    hedges: AtomicU32,
    seconds: AtomicU32,
}

impl HedgeObserver for Count {
    fn on_hedge(&self, delay: Duration) {
        assert!(delay >= Duration::from_millis(10));
        self.hedges.fetch_add(1, Ordering::Relaxed);
    }

    fn on_settle(&self, second: bool) {
        self.seconds.fetch_add(u32::from(second), Ordering::Relaxed);
    }
}

/// Two calls of one request: how long each takes, and whether it succeeds.
#[derive(Clone)]
struct Script(Arc<parking_lot::Mutex<Vec<(u64, bool)>>>);

fn script(calls: impl Into<Vec<(u64, bool)>>) -> Script {
    let mut calls = calls.into();
    calls.reverse();
    Script(Arc::new(parking_lot::Mutex::new(calls)))
}

type Judge = fn(&Result<u64, Error>) -> crate::Classification;

fn layer(count: &Arc<Count>, is_safe: bool) -> HedgeLayer<impl IsSafe<Script> + Clone, Judge> {
    HedgeLayer::new(
        HedgePolicy::default(),
        move |_: &Script| is_safe,
        retry_errors as Judge,
    )
    .with_observer(count.clone())
}

fn service(
    count: &Arc<Count>,
) -> impl Service<Script, Response = u64, Error = Error, Future: Send> + Clone {
    let count = Arc::clone(count);
    service_fn(move |script: Script| {
        let count = Arc::clone(&count);
        async move {
            count.made.fetch_add(1, Ordering::Relaxed);
            let (ms, succeeds) = script.0.lock().pop().expect("the script has another call");
            sleep(Duration::from_millis(ms)).await;
            count.ended.fetch_add(1, Ordering::Relaxed);
            if succeeds {
                Ok(ms)
            } else {
                Err(Error::timeout(Duration::from_millis(ms)))
            }
        }
    })
}

/// A service of which a hundred calls of 20 ms are known.
async fn warm<S>(service: &S)
where
    S: Service<Script, Response = u64, Error = Error> + Clone,
{
    for _ in 0..100 {
        service.clone().oneshot(script([(20, true)])).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_is_made_again_and_the_loser_is_dropped() {
    let count = Arc::new(Count::default());
    let service = layer(&count, true).layer(service(&count));
    warm(&service).await;
    assert_eq!(count.hedges.load(Ordering::Relaxed), 0);
    let started = Instant::now();
    let answer = service
        .clone()
        .oneshot(script([(1_000, true), (20, true)]))
        .await;
    assert_eq!(answer.unwrap(), 20);
    let took = started.elapsed().as_millis();
    assert!(
        (40..=43).contains(&took),
        "{took} ms: the delay is at most an eighth above 20 ms"
    );
    sleep(Duration::from_secs(10)).await;
    assert_eq!(
        count.made.load(Ordering::Relaxed) - count.ended.load(Ordering::Relaxed),
        1
    );
    assert_eq!(
        (
            count.hedges.load(Ordering::Relaxed),
            count.seconds.load(Ordering::Relaxed)
        ),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_that_succeeds_is_used_and_failures_wait_for_the_other() {
    let count = Arc::new(Count::default());
    let service = layer(&count, true).layer(service(&count));
    warm(&service).await;
    let call = |calls: [(u64, bool); 2]| service.clone().oneshot(script(calls));
    assert_eq!(call([(100, true), (500, true)]).await.unwrap(), 100);
    assert_eq!(call([(100, false), (500, true)]).await.unwrap(), 500);
    assert_eq!(call([(300, true), (50, false)]).await.unwrap(), 300);
    assert!(call([(100, false), (50, false)]).await.is_err());
    let made = count.made.load(Ordering::Relaxed);
    assert!(service.clone().oneshot(script([(5, false)])).await.is_err());
    assert_eq!(
        count.made.load(Ordering::Relaxed),
        made + 1,
        "a quick failure is not hedged"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_not_safe_is_never_made_twice() {
    let count = Arc::new(Count::default());
    let service = layer(&count, false).layer(service(&count));
    warm(&service).await;
    assert_eq!(
        service
            .clone()
            .oneshot(script([(9_000, true)]))
            .await
            .unwrap(),
        9_000
    );
    assert_eq!(count.made.load(Ordering::Relaxed), 101);
}

#[tokio::test(start_paused = true)]
async fn a_callee_that_is_slow_altogether_is_hedged_within_the_budget() {
    let count = Arc::new(Count::default());
    let budget = Arc::new(RetryBudget::new(BudgetPolicy::new(0.0, 3).unwrap()));
    let layer = layer(&count, true).with_budget(budget);
    let service = layer.layer(service(&count));
    warm(&service).await;
    for _ in 0..5 {
        service
            .clone()
            .oneshot(script([(100, true), (100, true)]))
            .await
            .unwrap();
    }
    assert_eq!(count.hedges.load(Ordering::Relaxed), 3);
    assert!(format!("{layer:?} {service:?}").contains("quantile: 0.95"));
}

#[test]
fn a_policy_is_checked_and_travels() {
    for wild in [0.4, 1.0, f64::NAN] {
        assert!(HedgePolicy::new(wild, Duration::ZERO).is_err());
    }
    let sent = serde_json::to_string(&HedgePolicy::default()).unwrap();
    assert_eq!(
        sent,
        r#"{"quantile":0.95,"min_delay_ms":10,"min_calls":100}"#
    );
    assert_eq!(
        serde_json::from_str::<HedgePolicy>(&sent).unwrap(),
        HedgePolicy::default()
    );
}

/// Which call's outcome is used, and at which millisecond, in plain words.
fn expected(first: (u64, bool), second: (u64, bool), delay: u64) -> (u64, bool) {
    let second = (delay + second.0, second.1);
    if first.0 <= delay {
        return first;
    }
    let (earlier, later) = if first.0 <= second.0 {
        (first, second)
    } else {
        (second, first)
    };
    if earlier.1 { earlier } else { later }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn two_calls_end_as_a_naive_reading_says(
        first in (1_u64..60, any::<bool>()),
        second in (1_u64..60, any::<bool>()),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let count = Arc::new(Count::default());
            let service = layer(&count, true).layer(service(&count));
            warm(&service).await;
            // The bucket of 20 ms ends within the 22nd millisecond, and tokio's timer ticks in whole ones.
            let mut known = LatencyTracker::new();
            known.record(Duration::from_millis(20));
            let delay = known.quantile(1.0).unwrap().as_micros().div_ceil(1_000) as u64;
            let started = Instant::now();
            let outcome = service.oneshot(script([first, second])).await;
            let (ended, succeeded) = expected(first, second, delay);
            let took = started.elapsed().as_millis() as u64;
            assert_eq!(outcome.is_ok(), succeeded);
            assert!(took.abs_diff(ended) <= 1, "{took} ms rather than {ended}");
        });
    }
}
