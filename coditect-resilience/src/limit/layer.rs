//! Puts a concurrency limit around services.

use std::fmt;

use tower::Layer;

use super::limiter::ConcurrencyLimiter;
use super::service::ConcurrencyLimit;

/// Refuses the calls of a service that are too many, those of low priority first.
///
/// ```
/// use coditect_resilience::{
///     AdaptivePolicy, ConcurrencyLimitLayer, ConcurrencyLimiter, Error, SheddingPolicy, retry_errors,
/// };
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Error> {
/// let limiter = ConcurrencyLimiter::new(AdaptivePolicy::default()).with_shedding(SheddingPolicy::default());
/// // The priority of a request is its second part.
/// let layer = ConcurrencyLimitLayer::new(limiter, |request: &(&str, u8)| request.1, retry_errors);
/// let service = layer.layer(service_fn(|request: (&'static str, u8)| async move { Ok::<_, Error>(request.0) }));
/// assert_eq!(service.oneshot(("hello", 2)).await?, "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ConcurrencyLimitLayer<P, C> {
    limiter: ConcurrencyLimiter,
    priority: P,
    classify: C,
}

impl<P, C> ConcurrencyLimitLayer<P, C> {
    /// Makes a layer from a limit, the priority of requests (a number for all of them, or a function), and the judgement
    /// of outcomes: what is retryable counts as an overload of the callee, a success as a measure of it.
    #[must_use]
    pub const fn new(limiter: ConcurrencyLimiter, priority: P, classify: C) -> Self {
        Self {
            limiter,
            priority,
            classify,
        }
    }
}

impl<S, P: Clone, C: Clone> Layer<S> for ConcurrencyLimitLayer<P, C> {
    type Service = ConcurrencyLimit<S, P, C>;

    fn layer(&self, inner: S) -> Self::Service {
        ConcurrencyLimit {
            inner,
            limiter: self.limiter.clone(),
            priority: self.priority.clone(),
            classify: self.classify.clone(),
        }
    }
}

impl<P, C> fmt::Debug for ConcurrencyLimitLayer<P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimitLayer")
            .field("limiter", &self.limiter)
            .finish_non_exhaustive()
    }
}
