//! One call against the clock.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Sleep;

use super::observer::TimeoutObserver;
use crate::error::Error;

pin_project! {
    /// Ends with the outcome of the call, or with a timeout. Made by [`Timeout`](super::Timeout).
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the call.
    #[must_use = "a call makes no progress unless it is polled"]
    pub struct TimeoutFuture<F> {
        #[pin]
        call: F,
        #[pin]
        sleep: Sleep,
        limit: Duration,
        observer: Arc<dyn TimeoutObserver>,
    }
}

impl<F> TimeoutFuture<F> {
    pub(super) const fn new(
        call: F,
        sleep: Sleep,
        limit: Duration,
        observer: Arc<dyn TimeoutObserver>,
    ) -> Self {
        Self {
            call,
            sleep,
            limit,
            observer,
        }
    }
}

impl<F, T, E> Future for TimeoutFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: From<Error>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // The call comes first: an answer that is there is never thrown away for having come late.
        if let Poll::Ready(outcome) = this.call.poll(cx) {
            return Poll::Ready(outcome);
        }
        ready!(this.sleep.poll(cx));
        tracing::debug!(limit = ?this.limit, "dropping a call that did not end in time");
        this.observer.on_timeout(*this.limit);
        Poll::Ready(Err(Error::timeout(*this.limit).into()))
    }
}

impl<F> fmt::Debug for TimeoutFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeoutFuture")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
