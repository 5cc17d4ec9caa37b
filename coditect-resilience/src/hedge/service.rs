//! A service whose slow calls are made a second time.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower::Service;

use super::future::HedgeFuture;
use super::layer::{IsSafe, Settings};
use crate::classification::Classify;

/// Hedges the calls of `S`. Made by [`HedgeLayer`](super::HedgeLayer).
///
/// A request that may be hedged is cloned once, and so is the service inside.
pub struct Hedge<S, P, C> {
    pub(super) inner: S,
    pub(super) settings: Arc<Settings<P, C>>,
}

impl<S, P, C> Hedge<S, P, C> {
    /// Returns the service inside.
    pub const fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S, P, C, Req> Service<Req> for Hedge<S, P, C>
where
    S: Service<Req> + Clone,
    P: IsSafe<Req>,
    C: Classify<S::Response, S::Error>,
    Req: Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = HedgeFuture<S, P, C, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let settings = Arc::clone(&self.settings);
        let delay = settings
            .is_safe
            .is_safe(&request)
            .then(|| settings.policy.delay(&settings.latencies.lock()))
            .flatten();
        let Some(delay) = delay else {
            return HedgeFuture::single(self.inner.call(request), settings);
        };
        let fresh = self.inner.clone();
        let mut ready = mem::replace(&mut self.inner, fresh);
        let first = ready.call(request.clone());
        HedgeFuture::hedged(first, ready, request, delay, settings)
    }
}

impl<S: Clone, P, C> Clone for Hedge<S, P, C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            settings: Arc::clone(&self.settings),
        }
    }
}

impl<S, P, C> fmt::Debug for Hedge<S, P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.debug(f, "Hedge")
    }
}
