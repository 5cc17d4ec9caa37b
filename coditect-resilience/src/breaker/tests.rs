//! The layer as a caller meets it, on paused time.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{advance, sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::*;
use crate::{Backoff, Classification, Error, ErrorKind, retry_errors};

fn policy() -> BreakerPolicyBuilder {
    BreakerPolicy::builder()
        .consecutive_failures(2)
        .open_for(Backoff::constant(Duration::from_secs(1)))
        .successes_to_close(1)
}

fn failure() -> Error {
    Error::timeout(Duration::ZERO)
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_keeps_calls_from_the_service_until_a_probe_succeeds() {
    let calls = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&calls);
    let breaker = Breaker::new(policy().build().unwrap());
    let mut service =
        CircuitBreakerLayer::new(breaker, retry_errors).layer(service_fn(move |is_good: bool| {
            seen.fetch_add(1, Ordering::Relaxed);
            async move { if is_good { Ok(7) } else { Err(failure()) } }
        }));
    let mut call = async |is_good| {
        let outcome = service.ready().await.unwrap().call(is_good).await;
        outcome.map_err(|error| error.kind())
    };
    assert_eq!(call(false).await, Err(ErrorKind::Timeout));
    assert_eq!(call(false).await, Err(ErrorKind::Timeout));
    assert_eq!(call(true).await, Err(ErrorKind::CircuitOpen));
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    advance(Duration::from_secs(1)).await;
    assert_eq!(call(false).await, Err(ErrorKind::Timeout), "the probe");
    assert_eq!(call(true).await, Err(ErrorKind::CircuitOpen));
    advance(Duration::from_secs(1)).await;
    assert_eq!(call(true).await, Ok(7));
    assert_eq!(call(true).await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_is_no_verdict() {
    let breaker = Breaker::new(policy().build().unwrap());
    let service = CircuitBreakerLayer::new(breaker.clone(), retry_errors).layer(service_fn(
        |stuck: bool| async move {
            if stuck {
                pending::<()>().await;
            }
            Ok::<_, Error>(())
        },
    ));
    for _ in 0..2 {
        breaker.acquire().unwrap().failure();
    }
    advance(Duration::from_secs(1)).await;
    let probe = timeout(Duration::from_millis(5), service.clone().oneshot(true));
    assert!(probe.await.is_err());
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    service.oneshot(false).await.unwrap();
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn slow_calls_trip_it_although_they_succeed() {
    let policy = policy()
        .slow_calls(Duration::from_millis(100), 0.5)
        .window(Window::Calls(10))
        .min_calls(4)
        .build()
        .unwrap();
    let breaker = Breaker::new(policy);
    let service = CircuitBreakerLayer::new(breaker.clone(), retry_errors).layer(service_fn(
        |ms: u64| async move {
            sleep(Duration::from_millis(ms)).await;
            Ok::<_, Error>(())
        },
    ));
    for (ms, state) in [
        (10, BreakerState::Closed),
        (10, BreakerState::Closed),
        (150, BreakerState::Closed),
        (150, BreakerState::Open),
    ] {
        service.clone().oneshot(ms).await.unwrap();
        assert_eq!(breaker.state(), state);
    }
}

#[tokio::test(start_paused = true)]
async fn excluded_errors_are_not_counted() {
    let breaker = Breaker::new(policy().build().unwrap());
    let judge = |outcome: &Result<(), Error>| match outcome {
        Err(error) if error.kind() == ErrorKind::InvalidPolicy => Classification::Ignore,
        outcome => retry_errors(outcome),
    };
    let bad = Error::invalid_policy("the caller's fault");
    let service = CircuitBreakerLayer::new(breaker.clone(), judge);
    for _ in 0..10 {
        let error = format!("{bad:?}");
        let mine =
            service_fn(|()| async { Err::<(), _>(Error::invalid_policy("the caller's fault")) });
        let outcome = service.layer(mine).oneshot(()).await.unwrap_err();
        assert_eq!(format!("{outcome:?}"), error);
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test]
async fn the_parts_show_themselves() {
    let layer = CircuitBreakerLayer::new(
        Breaker::new(BreakerPolicy::default()),
        retry_errors::<(), Error>,
    );
    let service = layer.layer(3);
    assert_eq!(*service.inner(), 3);
    assert_eq!(
        format!("{layer:?} {service:?}"),
        "CircuitBreakerLayer { .. } CircuitBreaker { .. }"
    );
}
