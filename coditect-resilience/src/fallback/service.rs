//! A service behind which another one stands.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower::Service;

use super::future::FallbackFuture;
use super::observer::FallbackObserver;
use crate::classification::Classify;

/// Asks `F` where `S` fails. Made by [`FallbackLayer`](super::FallbackLayer).
///
/// The request is cloned for the other service, and that one once for each call; it is asked whether it is ready only when it is needed.
#[derive(Clone)]
pub struct Fallback<S, F, C> {
    pub(super) inner: S,
    pub(super) other: F,
    pub(super) classify: C,
    pub(super) observer: Arc<dyn FallbackObserver>,
}

impl<S, F, C> Fallback<S, F, C> {
    /// Returns the first service.
    pub const fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S, F, C, Req> Service<Req> for Fallback<S, F, C>
where
    S: Service<Req>,
    F: Service<Req, Response = S::Response, Error = S::Error> + Clone,
    C: Classify<S::Response, S::Error> + Clone,
    Req: Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = FallbackFuture<S::Future, F, C, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let first = self.inner.call(request.clone());
        FallbackFuture::new(
            first,
            self.other.clone(),
            request,
            self.classify.clone(),
            Arc::clone(&self.observer),
        )
    }
}

impl<S, F, C> fmt::Debug for Fallback<S, F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback").finish_non_exhaustive()
    }
}
