//! The layer as a caller meets it, on paused time.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};

use super::*;
use crate::{Backoff, Error, ErrorKind, RetryLayer, RetryPolicy, retry_errors};

#[derive(Default)]
struct Count(AtomicU32);

impl TimeoutObserver for Count {
    fn on_timeout(&self, limit: Duration) {
        assert_eq!(limit, Duration::from_secs(1));
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn layer() -> TimeoutLayer {
    TimeoutLayer::new(Duration::from_secs(1))
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_in_time_is_not_touched() {
    let service = service_fn(|ms: u64| async move {
        sleep(Duration::from_millis(ms)).await;
        Err::<u64, BoxError>(format!("its own error after {ms} ms").into())
    });
    let outcome = layer().layer(service).oneshot(999).await;
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "its own error after 999 ms"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_does_not_end_is_dropped_at_its_limit() {
    struct Dropped(Arc<AtomicU32>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let dropped = Arc::new(AtomicU32::new(0));
    let service = service_fn(|guard: Dropped| async move {
        pending::<()>().await;
        drop(guard);
        Ok::<_, Error>(())
    });
    let count = Arc::new(Count::default());
    let started = Instant::now();
    let service = layer().with_observer(count.clone()).layer(service);
    let error = service
        .oneshot(Dropped(Arc::clone(&dropped)))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(started.elapsed(), Duration::from_secs(1));
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_there_wins_against_the_limit() {
    let service = service_fn(|()| async { Ok::<_, Error>(7) });
    let none = TimeoutLayer::new(Duration::ZERO);
    assert_eq!(none.layer(service).oneshot(()).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_within_the_retry_limits_each_try_and_one_around_it_limits_all() {
    let tries = AtomicU32::new(0);
    let stuck = || {
        service_fn(|()| {
            tries.fetch_add(1, Ordering::Relaxed);
            pending::<Result<(), Error>>()
        })
    };
    let policy = RetryPolicy::builder(3)
        .backoff(Backoff::constant(Duration::from_millis(500)))
        .build()
        .unwrap();
    let retry = || RetryLayer::new(policy, retry_errors::<(), Error>);

    let started = Instant::now();
    let each = ServiceBuilder::new()
        .layer(retry())
        .layer(layer())
        .service(stuck());
    each.oneshot(()).await.unwrap_err();
    assert_eq!(tries.swap(0, Ordering::Relaxed), 3);
    assert_eq!(started.elapsed(), Duration::from_millis(4_000));

    let started = Instant::now();
    let all = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_millis(2_700)))
        .layer(retry())
        .layer(layer())
        .service(stuck());
    all.oneshot(()).await.unwrap_err();
    assert_eq!(tries.load(Ordering::Relaxed), 2);
    assert_eq!(started.elapsed(), Duration::from_millis(2_700));
}

#[tokio::test]
async fn the_parts_show_their_limit() {
    let service = layer().layer(());
    assert_eq!(service.limit(), Duration::from_secs(1));
    assert_eq!(*service.inner(), ());
    let text = format!("{:?} {service:?}", layer());
    assert_eq!(
        text,
        "TimeoutLayer { limit: 1s, .. } Timeout { limit: 1s, .. }"
    );
}
