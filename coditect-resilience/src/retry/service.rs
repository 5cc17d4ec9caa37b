//! A service whose failed calls are repeated.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower::Service;

use super::future::RetryFuture;
use super::layer::Settings;
use crate::classification::Classify;

/// Repeats the failed calls of `S`. Made by [`RetryLayer`](super::RetryLayer).
///
/// The request is cloned for every try that is followed by another (an `Arc` makes that cheap), and the inner
/// service is cloned once per call. The error is the inner service's own, from the last try.
pub struct Retry<S, C> {
    pub(super) inner: S,
    pub(super) settings: Arc<Settings<C>>,
}

impl<S, C> Retry<S, C> {
    /// Returns the service inside.
    pub const fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S, C, Req> Service<Req> for Retry<S, C>
where
    S: Service<Req> + Clone,
    C: Classify<S::Response, S::Error>,
    Req: Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = RetryFuture<S, C, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        // Readiness belongs to the instance that was polled, so that one makes the call, and the fresh clone
        // stays behind.
        let fresh = self.inner.clone();
        let ready = mem::replace(&mut self.inner, fresh);
        RetryFuture::new(ready, Arc::clone(&self.settings), request)
    }
}

impl<S: Clone, C> Clone for Retry<S, C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            settings: Arc::clone(&self.settings),
        }
    }
}

impl<S, C> fmt::Debug for Retry<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.debug(f, "Retry")
    }
}
