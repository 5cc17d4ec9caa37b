//! Puts a bulkhead around services.

use std::fmt;

use tower::Layer;

use super::service::Bulkhead;
use super::slots::Slots;

/// Picks the compartment of a request. [`Slots`] are one, for all requests; so is any `Fn(&Req) -> Slots`, which looks it
/// up in [`KeyedSlots`](super::KeyedSlots).
pub trait PickSlots<Req> {
    /// Returns the compartment in which this request runs.
    fn pick(&self, request: &Req) -> Slots;
}

impl<Req> PickSlots<Req> for Slots {
    fn pick(&self, _: &Req) -> Slots {
        self.clone()
    }
}

impl<F, Req> PickSlots<Req> for F
where
    F: Fn(&Req) -> Slots,
{
    fn pick(&self, request: &Req) -> Slots {
        self(request)
    }
}

/// Limits how many calls of a service are under way at once.
#[derive(Clone)]
pub struct BulkheadLayer<P> {
    pick: P,
}

impl<P> BulkheadLayer<P> {
    /// Makes a layer from a compartment, or a function that picks one.
    #[must_use]
    pub const fn new(pick: P) -> Self {
        Self { pick }
    }
}

impl<S, P: Clone> Layer<S> for BulkheadLayer<P> {
    type Service = Bulkhead<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Bulkhead {
            inner,
            pick: self.pick.clone(),
        }
    }
}

impl<P> fmt::Debug for BulkheadLayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkheadLayer").finish_non_exhaustive()
    }
}
