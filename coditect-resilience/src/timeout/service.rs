//! A service whose calls end in time.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::sleep;
use tower::Service;

use super::future::TimeoutFuture;
use super::observer::TimeoutObserver;
use crate::error::Error;

/// Drops the calls of `S` that do not end in time. Made by [`TimeoutLayer`](super::TimeoutLayer).
///
/// The error stays the inner service's own; it only has to be able to say that time ran out, by
/// `From<Error>`. A boxed error can.
#[derive(Clone)]
pub struct Timeout<S> {
    pub(super) inner: S,
    pub(super) limit: Duration,
    pub(super) observer: Arc<dyn TimeoutObserver>,
}

impl<S> Timeout<S> {
    /// Returns the service inside.
    pub const fn inner(&self) -> &S {
        &self.inner
    }

    /// Returns how long a call may take.
    pub const fn limit(&self) -> Duration {
        self.limit
    }
}

impl<S, Req> Service<Req> for Timeout<S>
where
    S: Service<Req>,
    S::Error: From<Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = TimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let call = self.inner.call(request);
        TimeoutFuture::new(
            call,
            sleep(self.limit),
            self.limit,
            Arc::clone(&self.observer),
        )
    }
}

impl<S> fmt::Debug for Timeout<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
