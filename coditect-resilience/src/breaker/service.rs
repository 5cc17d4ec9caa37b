//! A service that is not called while it is failing.

use std::fmt;
use std::task::{Context, Poll};

use tower::Service;

use super::future::BreakerFuture;
use super::layer::PickBreaker;
use crate::classification::Classify;
use crate::error::Error;

/// Refuses the calls of `S` while its breaker is open. Made by [`CircuitBreakerLayer`](super::CircuitBreakerLayer).
///
/// It is as ready as the service inside: whether a call is refused depends on the request, so that it is decided in
/// `call`. Put a timeout inside of it: a probe that never ends keeps its place, and nothing closes the breaker. The error stays the inner service's own; it only has to be able to say that the call was refused, by
/// `From<Error>`.
#[derive(Clone)]
pub struct CircuitBreaker<S, P, C> {
    pub(super) inner: S,
    pub(super) pick: P,
    pub(super) classify: C,
}

impl<S, P, C> CircuitBreaker<S, P, C> {
    /// Returns the service inside.
    pub const fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S, P, C, Req> Service<Req> for CircuitBreaker<S, P, C>
where
    S: Service<Req>,
    S::Error: From<Error>,
    P: PickBreaker<Req>,
    C: Classify<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BreakerFuture<S::Future, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match self.pick.pick(&request).acquire_owned() {
            Ok(permit) => {
                let call = self.inner.call(request);
                BreakerFuture::new(call, permit, self.classify.clone())
            }
            Err(refused) => BreakerFuture::refused(refused),
        }
    }
}

impl<S, P, C> fmt::Debug for CircuitBreaker<S, P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker").finish_non_exhaustive()
    }
}
