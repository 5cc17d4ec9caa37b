//! A service of which so many calls run at once.

use std::fmt;
use std::mem;
use std::task::{Context, Poll};

use tower::Service;

use super::layer::PickSlots;
use super::slots::Slot;
use crate::error::Error;
use crate::gate::GatedFuture;

/// Lets so many calls of `S` run at once, and so many wait. Made by [`BulkheadLayer`](super::BulkheadLayer).
///
/// It is as ready as the service inside: the compartment depends on the request, so that the queue is inside the
/// call. A call that waits holds a clone of the service inside; one that is let in at once makes none.
#[derive(Clone)]
pub struct Bulkhead<S, P> {
    pub(super) inner: S,
    pub(super) pick: P,
}

impl<S, P> Bulkhead<S, P> {
    /// Returns the service inside.
    pub const fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S, P, Req> Service<Req> for Bulkhead<S, P>
where
    S: Service<Req> + Clone,
    S::Error: From<Error>,
    P: PickSlots<Req>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = GatedFuture<S, Req, Slot>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let slots = self.pick.pick(&request);
        if let Some(slot) = slots.try_acquire() {
            return GatedFuture::calling(self.inner.call(request), slot);
        }
        match slots.enter() {
            Ok(place) => {
                let fresh = self.inner.clone();
                let ready = mem::replace(&mut self.inner, fresh);
                GatedFuture::waiting(Box::pin(place.slot()), ready, request)
            }
            Err(refused) => GatedFuture::refused(refused),
        }
    }
}

impl<S, P> fmt::Debug for Bulkhead<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulkhead").finish_non_exhaustive()
    }
}
