//! The layer as a caller meets it, on paused time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::{BulkheadLayer, BulkheadPolicy, Error, ErrorKind, Slots};

#[derive(Default)]
struct Count {
    parked: AtomicU32,
    refused: AtomicU32,
}

impl RateObserver for Count {
    fn on_park(&self, wait: Duration) {
        assert!(!wait.is_zero());
        self.parked.fetch_add(1, Ordering::Relaxed);
    }

    fn on_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

fn limiter(amount: u32, burst: u32) -> Arc<RateLimiter> {
    let policy = RatePolicy::new(amount, Duration::from_secs(1)).unwrap();
    Arc::new(RateLimiter::new(policy.with_burst(burst).unwrap()))
}

#[tokio::test(start_paused = true)]
async fn calls_are_parked_in_order_without_a_slot_and_refused_beyond_the_longest_wait() {
    let count = Arc::new(Count::default());
    let slots = Slots::new(BulkheadPolicy::new(1).unwrap());
    let layer = RateLimitLayer::new(Duration::from_millis(250))
        .with_limit(limiter(10, 1), |_: &u32| 1)
        .with_observer(count.clone());
    let service = layer.layer(
        BulkheadLayer::new(slots.clone())
            .layer(service_fn(|name: u32| async move { Ok::<_, Error>(name) })),
    );
    let started = Instant::now();
    let calls: Vec<_> = (0..4)
        .map(|name| {
            let call = service.clone().oneshot(name);
            tokio::spawn(async move {
                (
                    call.await.map_err(|error| error.kind()),
                    started.elapsed().as_millis(),
                )
            })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(slots.free(), 1, "what is parked holds no slot");
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.push(call.await.unwrap());
    }
    assert_eq!(
        outcomes,
        [
            (Ok(0), 0),
            (Ok(1), 100),
            (Ok(2), 200),
            (Err(ErrorKind::RateLimited), 0)
        ]
    );
    assert_eq!(count.parked.load(Ordering::Relaxed), 2);
    assert_eq!(count.refused.load(Ordering::Relaxed), 1);
    assert_eq!(
        format!("{layer:?} {service:?}")
            .matches("limits: 1")
            .count(),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn a_shared_limit_is_asked_after_the_local_ones_and_its_refusal_gives_them_back() {
    let store = Arc::new(MemoryRateLimitStore::new());
    let policy = RatePolicy::new(1, Duration::from_secs(1)).unwrap();
    let shared = Arc::new(SharedRateLimiter::new(store, "provider", policy, 1));
    let local = limiter(1, 2);
    let count = Arc::new(Count::default());
    let layer = RateLimitLayer::new(Duration::ZERO)
        .with_limit(Arc::clone(&local), |_: &()| 1)
        .with_shared_limit(shared, |_: &()| 1)
        .with_observer(count.clone());
    let service = layer.layer(service_fn(|()| async { Ok::<_, Error>(()) }));
    service.clone().oneshot(()).await.unwrap();
    for _ in 0..3 {
        let refused = service.clone().oneshot(()).await.unwrap_err();
        assert_eq!(refused.retry_after(), Some(Duration::from_secs(1)));
    }
    assert_eq!(count.refused.load(Ordering::Relaxed), 3);
    assert!(
        local.reserve(1, Duration::ZERO).is_ok(),
        "one of two was left"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_the_second_limit_gives_back_to_the_first() {
    let (requests, tokens) = (limiter(1, 5), limiter(1, 2));
    let layer = RateLimitLayer::new(Duration::ZERO)
        .with_limit(Arc::clone(&requests), |_: &u32| 1)
        .with_limit(tokens, |tokens: &u32| *tokens);
    let service = layer.layer(service_fn(|_: u32| async { Ok::<_, Error>(()) }));
    for _ in 0..9 {
        assert!(service.clone().oneshot(3).await.is_err());
    }
    service.oneshot(2).await.unwrap();
    assert!(requests.reserve(4, Duration::ZERO).is_ok());
}
