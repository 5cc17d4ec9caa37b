//! Puts rate limits around services.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower::Layer;

use super::limiter::RateLimiter;
use super::observer::RateObserver;
use super::service::RateLimit;
use super::shared::SharedRateLimiter;

/// Parks the calls of a service until its rates allow them, or refuses them.
///
/// Put it outside of what holds a slot (a bulkhead), so that what is parked takes none.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use coditect_resilience::{Error, RateLimitLayer, RateLimiter, RatePolicy};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// struct Prompt { tokens: u32 }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Error> {
/// let minute = Duration::from_secs(60);
/// let requests = Arc::new(RateLimiter::new(RatePolicy::new(60, minute)?));
/// let tokens = Arc::new(RateLimiter::new(RatePolicy::new(6_000, minute)?.with_burst(1_000)?));
/// let layer = RateLimitLayer::new(Duration::from_secs(30))
///     .with_limit(requests, |_: &Prompt| 1)
///     .with_limit(tokens, |prompt: &Prompt| prompt.tokens);
/// let model = layer.layer(service_fn(|prompt: Prompt| async move { Ok::<_, Error>(prompt.tokens) }));
///
/// let started = tokio::time::Instant::now();
/// for _ in 0..2 {
///     model.clone().oneshot(Prompt { tokens: 1_000 }).await?;
/// }
/// assert_eq!(started.elapsed(), Duration::from_secs(10), "a hundred tokens a second");
/// # Ok(())
/// # }
/// ```
pub struct RateLimitLayer<Req> {
    pub(super) limits: Arc<Limits<Req>>,
}

pub(super) struct Limits<Req> {
    pub(super) local: Vec<(Arc<RateLimiter>, Cost<Req>)>,
    pub(super) shared: Vec<(Arc<SharedRateLimiter>, Cost<Req>)>,
    pub(super) max_wait: Duration,
    pub(super) observer: Arc<dyn RateObserver>,
}

pub(super) type Cost<Req> = Arc<dyn Fn(&Req) -> u32 + Send + Sync>;

impl<Req> RateLimitLayer<Req> {
    /// Makes a layer without any limit, which parks a call for `max_wait` at most.
    #[must_use]
    pub fn new(max_wait: Duration) -> Self {
        Self {
            limits: Arc::new(Limits {
                local: Vec::new(),
                shared: Vec::new(),
                max_wait,
                observer: Arc::new(()),
            }),
        }
    }

    /// Adds a limit of this process, and what a request costs of it. Local limits are asked together, all or none.
    #[must_use]
    pub fn with_limit(
        self,
        limiter: Arc<RateLimiter>,
        cost: impl Fn(&Req) -> u32 + Send + Sync + 'static,
    ) -> Self {
        self.change(|limits| limits.local.push((limiter, Arc::new(cost))))
    }

    /// Adds a limit that processes share, asked after the local ones and in the order in which they were added.
    #[must_use]
    pub fn with_shared_limit(
        self,
        limiter: Arc<SharedRateLimiter>,
        cost: impl Fn(&Req) -> u32 + Send + Sync + 'static,
    ) -> Self {
        self.change(|limits| limits.shared.push((limiter, Arc::new(cost))))
    }

    /// Tells an observer what is parked and refused.
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn RateObserver>) -> Self {
        self.change(|limits| limits.observer = observer)
    }

    fn change(mut self, change: impl FnOnce(&mut Limits<Req>)) -> Self {
        change(Arc::make_mut(&mut self.limits));
        self
    }
}

impl<S, Req> Layer<S> for RateLimitLayer<Req> {
    type Service = RateLimit<S, Req>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit {
            inner,
            limits: Arc::clone(&self.limits),
        }
    }
}

impl<Req> Clone for RateLimitLayer<Req> {
    fn clone(&self) -> Self {
        Self {
            limits: Arc::clone(&self.limits),
        }
    }
}

impl<Req> Clone for Limits<Req> {
    fn clone(&self) -> Self {
        Self {
            local: self.local.clone(),
            shared: self.shared.clone(),
            max_wait: self.max_wait,
            observer: Arc::clone(&self.observer),
        }
    }
}

impl<Req> fmt::Debug for RateLimitLayer<Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.limits.debug(f, "RateLimitLayer")
    }
}

impl<Req> Limits<Req> {
    pub(super) fn debug(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        f.debug_struct(name)
            .field("limits", &(self.local.len() + self.shared.len()))
            .field("max_wait", &self.max_wait)
            .finish_non_exhaustive()
    }
}
