//! One call, and perhaps one to another service after it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower::Service;

use super::observer::FallbackObserver;
use crate::classification::Classify;

pin_project! {
    /// Ends with the outcome of the first service, or of the other one. Made by [`Fallback`](super::Fallback).
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the call that is under way, and no other one begins.
    #[must_use = "a call makes no progress unless it is polled"]
    pub struct FallbackFuture<A, F, C, Req>
    where
        F: Service<Req>,
    {
        #[pin]
        state: State<A, F::Future>,
        spare: Option<(F, Req)>,
        classify: C,
        observer: Arc<dyn FallbackObserver>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<A, B> {
        First { #[pin] call: A },
        Readying,
        Other { #[pin] call: B },
    }
}

impl<A, F, C, Req> FallbackFuture<A, F, C, Req>
where
    F: Service<Req>,
{
    pub(super) const fn new(
        first: A,
        other: F,
        request: Req,
        classify: C,
        observer: Arc<dyn FallbackObserver>,
    ) -> Self {
        Self {
            state: State::First { call: first },
            spare: Some((other, request)),
            classify,
            observer,
        }
    }
}

impl<A, F, C, Req> Future for FallbackFuture<A, F, C, Req>
where
    F: Service<Req>,
    A: Future<Output = Result<F::Response, F::Error>>,
    C: Classify<F::Response, F::Error>,
{
    type Output = Result<F::Response, F::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::First { call } => {
                    let outcome = ready!(call.poll(cx));
                    let class = this.classify.classify(&outcome);
                    if !class.is_retryable() {
                        return Poll::Ready(outcome);
                    }
                    tracing::debug!(?class, "falling back to another service");
                    this.observer.on_fallback(class);
                    this.state.set(State::Readying);
                }
                StateProjection::Readying => {
                    let (other, _) = this
                        .spare
                        .as_mut()
                        .expect("the other service is kept until it is called");
                    if let Err(error) = ready!(other.poll_ready(cx)) {
                        return Poll::Ready(Err(error));
                    }
                    let (mut other, request) = this
                        .spare
                        .take()
                        .expect("the other service is kept until it is called");
                    let call = other.call(request);
                    this.state.set(State::Other { call });
                }
                StateProjection::Other { call } => return call.poll(cx),
            }
        }
    }
}

impl<A, F, C, Req> fmt::Debug for FallbackFuture<A, F, C, Req>
where
    F: Service<Req>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackFuture").finish_non_exhaustive()
    }
}
