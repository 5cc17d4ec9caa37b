//! The layer as a caller meets it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::{Classification, Error, ErrorKind};

fn judge(outcome: &Result<&'static str, Error>) -> Classification {
    match outcome {
        Ok(_) => Classification::Success,
        Err(error) if error.is_retryable() => Classification::Retry,
        Err(_) => Classification::Fail,
    }
}

#[derive(Default)]
struct Count(AtomicU32);

impl FallbackObserver for Count {
    fn on_fallback(&self, class: Classification) {
        assert_eq!(class, Classification::Retry);
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What each of two services answers.
type Request = (
    fn() -> Result<&'static str, Error>,
    fn() -> Result<&'static str, Error>,
);

async fn call(request: Request) -> (Result<&'static str, ErrorKind>, u32) {
    let count = Arc::new(Count::default());
    let other = service_fn(|request: Request| async move { request.1() });
    let layer = FallbackLayer::new(other, judge).with_observer(count.clone());
    let service = layer.layer(service_fn(|request: Request| async move { request.0() }));
    let text = format!(
        "{layer:?} {service:?} {:?}",
        service.clone().oneshot(request)
    );
    assert!(text.contains("FallbackLayer"));
    let outcome = service.oneshot(request).await;
    (
        outcome.map_err(|error| error.kind()),
        count.0.load(Ordering::Relaxed),
    )
}

#[tokio::test]
async fn the_other_service_is_asked_only_for_a_failure_that_passes() {
    fn busy() -> Result<&'static str, Error> {
        Err(Error::overloaded())
    }
    fn late() -> Result<&'static str, Error> {
        Err(Error::timeout(Duration::ZERO))
    }
    fn bad() -> Result<&'static str, Error> {
        Err(Error::invalid_policy("the request"))
    }
    assert_eq!(call((|| Ok("first"), bad)).await, (Ok("first"), 0));
    assert_eq!(call((busy, || Ok("other"))).await, (Ok("other"), 1));
    assert_eq!(call((busy, late)).await, (Err(ErrorKind::Timeout), 1));
    assert_eq!(
        call((bad, || Ok("other"))).await,
        (Err(ErrorKind::InvalidPolicy), 0)
    );
}
