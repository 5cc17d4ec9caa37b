//! A service whose calls keep to a rate.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tower::Service;

use super::layer::{Cost, Limits};
use super::limiter::{RateLimiter, Reservation};
use super::observer::RateObserver;
use super::shared::SharedRateLimiter;
use crate::error::Error;
use crate::gate::{GatedFuture, Guard, Leave};

/// Parks calls of `S` until its rates allow them. Made by [`RateLimitLayer`](super::RateLimitLayer).
///
/// It is as ready as the service inside; what a request costs is known in `call`.
pub struct RateLimit<S, Req> {
    pub(super) inner: S,
    pub(super) limits: Arc<Limits<Req>>,
}

/// Nothing is held while a call runs: its tokens are spent.
#[derive(Debug)]
pub struct Spent(());

impl<T, E> Guard<T, E> for Spent {
    fn settle(self, _: &Result<T, E>) {}
}

impl<S, Req> RateLimit<S, Req> {
    /// Returns the service inside.
    pub const fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S, Req> Service<Req> for RateLimit<S, Req>
where
    S: Service<Req> + Clone,
    S::Error: From<Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = GatedFuture<S, Req, Spent>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let leave: Leave<Spent> = match self.limits.reserve_local(&request) {
            Err(refused) => return GatedFuture::refused(refused),
            Ok(local) if !self.limits.shared.is_empty() => {
                self.limits.reserve_shared(&request, local)
            }
            Ok(local) if local.wait().is_zero() => {
                return GatedFuture::calling(self.inner.call(request), Spent(()));
            }
            Ok(local) => {
                self.limits.observer.on_park(local.wait());
                Box::pin(async move {
                    local.ready().await;
                    Ok(Spent(()))
                })
            }
        };
        let fresh = self.inner.clone();
        let ready = mem::replace(&mut self.inner, fresh);
        GatedFuture::waiting(leave, ready, request)
    }
}

impl<Req> Limits<Req> {
    fn reserve_local(&self, request: &Req) -> Result<Reservation, Error> {
        let now = Instant::now();
        let mut all = Reservation::after(Duration::ZERO, now);
        for (i, (limiter, cost)) in self.local.iter().enumerate() {
            match limiter.reserve_at(now, cost(request), self.max_wait) {
                Ok(reservation) => all = all.later(reservation),
                Err(refused) => {
                    self.refund(&self.local[..i], request);
                    self.observer.on_refused();
                    return Err(refused);
                }
            }
        }
        Ok(all)
    }

    fn refund(&self, taken: &[(Arc<RateLimiter>, Cost<Req>)], request: &Req) {
        for (limiter, cost) in taken {
            limiter.refund(cost(request));
        }
    }

    /// Asks the shared limits one after the other, then waits for the latest of all reservations.
    fn reserve_shared(&self, request: &Req, local: Reservation) -> Leave<Spent> {
        let taken = self
            .local
            .iter()
            .map(|(limiter, cost)| (Arc::clone(limiter), cost(request)));
        let wanted = self
            .shared
            .iter()
            .map(|(limiter, cost)| (Arc::clone(limiter), cost(request)));
        Box::pin(ask_shared(
            local,
            taken.collect(),
            wanted.collect(),
            self.max_wait,
            Arc::clone(&self.observer),
        ))
    }
}

async fn ask_shared(
    local: Reservation,
    taken: Vec<(Arc<RateLimiter>, u32)>,
    wanted: Vec<(Arc<SharedRateLimiter>, u32)>,
    max_wait: Duration,
    observer: Arc<dyn RateObserver>,
) -> Result<Spent, Error> {
    let mut all = local;
    for (limiter, tokens) in wanted {
        match limiter.reserve(tokens, max_wait).await {
            Ok(reservation) => all = all.later(reservation),
            Err(refused) => {
                for (limiter, tokens) in taken {
                    limiter.refund(tokens);
                }
                observer.on_refused();
                return Err(refused);
            }
        }
    }
    if !all.wait().is_zero() {
        observer.on_park(all.wait());
    }
    all.ready().await;
    Ok(Spent(()))
}

impl<S: Clone, Req> Clone for RateLimit<S, Req> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            limits: Arc::clone(&self.limits),
        }
    }
}

impl<S, Req> fmt::Debug for RateLimit<S, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.limits.debug(f, "RateLimit")
    }
}
