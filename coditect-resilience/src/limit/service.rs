//! A service of which only so many calls run at once, however many are offered.

use std::fmt;
use std::task::{Context, Poll};

use tower::Service;

use super::limiter::{ConcurrencyLimiter, InFlight};
use super::priority::PickPriority;
use crate::classification::{Classification, Classify};
use crate::error::Error;
use crate::gate::{GatedFuture, Guard};

/// Refuses the calls of `S` that are too many. Made by [`ConcurrencyLimitLayer`](super::ConcurrencyLimitLayer).
#[derive(Clone)]
pub struct ConcurrencyLimit<S, P, C> {
    pub(super) inner: S,
    pub(super) limiter: ConcurrencyLimiter,
    pub(super) priority: P,
    pub(super) classify: C,
}

/// A call under way, and how its outcome is judged.
#[derive(Debug)]
pub struct Measured<C> {
    call: InFlight,
    classify: C,
}

impl<T, E, C: Classify<T, E>> Guard<T, E> for Measured<C> {
    fn settle(self, outcome: &Result<T, E>) {
        match self.classify.classify(outcome) {
            Classification::Success => self.call.success(),
            class if class.is_retryable() => self.call.overload(),
            // A failure that would be the same again may be quick, and says nothing about load.
            _ => {}
        }
    }
}

impl<S, P, C> ConcurrencyLimit<S, P, C> {
    /// Returns the service inside.
    pub const fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S, P, C, Req> Service<Req> for ConcurrencyLimit<S, P, C>
where
    S: Service<Req>,
    S::Error: From<Error>,
    P: PickPriority<Req>,
    C: Classify<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = GatedFuture<S, Req, Measured<C>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match self.limiter.acquire(self.priority.priority(&request)) {
            Ok(call) => {
                let classify = self.classify.clone();
                GatedFuture::calling(self.inner.call(request), Measured { call, classify })
            }
            Err(refused) => GatedFuture::refused(refused),
        }
    }
}

impl<S, P, C> fmt::Debug for ConcurrencyLimit<S, P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimit")
            .field("limiter", &self.limiter)
            .finish_non_exhaustive()
    }
}
