//! Puts a fallback behind services.

use std::fmt;
use std::sync::Arc;

use tower::Layer;

use super::observer::FallbackObserver;
use super::service::Fallback;

/// Asks another service where the first one fails for a reason that passes.
///
/// What is classified as [`Retry`](crate::Classification::Retry) or [`RetryAfter`](crate::Classification::RetryAfter)
/// goes to the other service, once. A request that would fail anywhere is not passed on. Put it outside of
/// retry and breaker, so that it is asked only when the first service has failed for good or is not to be called.
///
/// ```
/// use coditect_resilience::{Breaker, BreakerPolicy, CircuitBreakerLayer, Error, FallbackLayer, retry_errors};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Error> {
/// let breaker = Breaker::new(BreakerPolicy::default());
/// breaker.force_open();
/// let small = service_fn(|prompt: String| async move { Ok::<_, Error>(format!("small: {prompt}")) });
/// let service = ServiceBuilder::new()
///     .layer(FallbackLayer::new(small, retry_errors))
///     .layer(CircuitBreakerLayer::new(breaker, retry_errors))
///     .service(service_fn(|prompt: String| async move { Ok::<_, Error>(format!("large: {prompt}")) }));
/// assert_eq!(service.oneshot("hello".into()).await?, "small: hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FallbackLayer<F, C> {
    other: F,
    classify: C,
    observer: Arc<dyn FallbackObserver>,
}

impl<F, C> FallbackLayer<F, C> {
    /// Makes a layer from the other service and the judgement of the first one's outcomes.
    #[must_use]
    pub fn new(other: F, classify: C) -> Self {
        Self {
            other,
            classify,
            observer: Arc::new(()),
        }
    }

    /// Tells an observer when the other service is asked.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn FallbackObserver>) -> Self {
        self.observer = observer;
        self
    }
}

impl<S, F: Clone, C: Clone> Layer<S> for FallbackLayer<F, C> {
    type Service = Fallback<S, F, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Fallback {
            inner,
            other: self.other.clone(),
            classify: self.classify.clone(),
            observer: Arc::clone(&self.observer),
        }
    }
}

impl<F, C> fmt::Debug for FallbackLayer<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackLayer").finish_non_exhaustive()
    }
}
