//! One call through a breaker.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::permit::BreakerPermit;
use crate::classification::Classify;
use crate::error::Error;

pin_project! {
    /// Ends with the outcome of the call, or with its refusal. Made by [`CircuitBreaker`](super::CircuitBreaker).
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the call, which then counts neither as a success nor as a failure.
    #[must_use = "a call makes no progress unless it is polled"]
    pub struct BreakerFuture<F, C> {
        #[pin]
        state: State<F, C>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, C> {
        Calling {
            #[pin]
            call: F,
            permit: Option<BreakerPermit>,
            classify: C,
        },
        Refused { error: Option<Error> },
    }
}

impl<F, C> BreakerFuture<F, C> {
    pub(super) const fn new(call: F, permit: BreakerPermit, classify: C) -> Self {
        Self {
            state: State::Calling {
                call,
                permit: Some(permit),
                classify,
            },
        }
    }

    pub(super) const fn refused(error: Error) -> Self {
        Self {
            state: State::Refused { error: Some(error) },
        }
    }
}

impl<F, C, T, E> Future for BreakerFuture<F, C>
where
    F: Future<Output = Result<T, E>>,
    C: Classify<T, E>,
    E: From<Error>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Calling {
                call,
                permit,
                classify,
            } => {
                let outcome = ready!(call.poll(cx));
                if let Some(permit) = permit.take() {
                    permit.settle(classify.classify(&outcome));
                }
                Poll::Ready(outcome)
            }
            StateProjection::Refused { error } => {
                let error = error.take().expect("a future is not polled after its end");
                Poll::Ready(Err(error.into()))
            }
        }
    }
}

impl<F, C> fmt::Debug for BreakerFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerFuture").finish_non_exhaustive()
    }
}
