//! One call, and perhaps a second one.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};
use tower::Service;

use super::layer::Settings;
use crate::classification::{Classification, Classify};

pin_project! {
    /// Ends with whichever of two calls succeeds first, or with the failure of the last. Made by
    /// [`Hedge`](super::Hedge).
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops both calls.
    #[must_use = "a call makes no progress unless it is polled"]
    pub struct HedgeFuture<S, P, C, Req>
    where
        S: Service<Req>,
    {
        #[pin]
        first: Option<S::Future>,
        #[pin]
        second: Second<S::Future>,
        // What a second call would be made of.
        spare: Option<(S, Req)>,
        started: Instant,
        delay: Duration,
        is_hedged: bool,
        settings: Arc<Settings<P, C>>,
    }
}

pin_project! {
    #[project = SecondProjection]
    enum Second<F> {
        Never,
        Waiting { #[pin] sleep: Sleep },
        Readying,
        Calling { #[pin] call: F },
    }
}

impl<S, P, C, Req> HedgeFuture<S, P, C, Req>
where
    S: Service<Req>,
{
    pub(super) fn single(call: S::Future, settings: Arc<Settings<P, C>>) -> Self {
        Self {
            first: Some(call),
            second: Second::Never,
            spare: None,
            started: Instant::now(),
            delay: Duration::ZERO,
            is_hedged: false,
            settings,
        }
    }

    pub(super) fn hedged(
        first: S::Future,
        service: S,
        request: Req,
        delay: Duration,
        settings: Arc<Settings<P, C>>,
    ) -> Self {
        Self {
            first: Some(first),
            second: Second::Waiting {
                sleep: sleep(delay),
            },
            spare: Some((service, request)),
            started: Instant::now(),
            delay,
            is_hedged: false,
            settings,
        }
    }
}

impl<S, P, C, Req> Future for HedgeFuture<S, P, C, Req>
where
    S: Service<Req>,
    C: Classify<S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(first) = this.first.as_mut().as_pin_mut()
            && let Poll::Ready(outcome) = first.poll(cx)
        {
            this.first.set(None);
            let class = this.settings.classify.classify(&outcome);
            let since = this.started.elapsed();
            let is_second_under_way = matches!(*this.second, Second::Calling { .. });
            // A failure waits for the second call only if that was made: to try again is a retry's business.
            if class == Classification::Success || !is_second_under_way {
                this.settings
                    .settle(class, since, this.is_hedged.then_some(false));
                return Poll::Ready(outcome);
            }
        }
        loop {
            match this.second.as_mut().project() {
                SecondProjection::Never => return Poll::Pending,
                SecondProjection::Waiting { sleep } => {
                    if sleep.poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    if this.settings.budget.withdraw() {
                        this.second.set(Second::Readying);
                    } else {
                        this.second.set(Second::Never);
                    }
                }
                SecondProjection::Readying => {
                    let Some((service, _)) = this.spare else {
                        return Poll::Pending;
                    };
                    match service.poll_ready(cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Err(_)) => this.second.set(Second::Never),
                        Poll::Ready(Ok(())) => {
                            let (mut service, request) =
                                this.spare.take().expect("it was there a line ago");
                            *this.is_hedged = true;
                            tracing::debug!(delay = ?this.delay, "hedging a slow call");
                            this.settings.observer.on_hedge(*this.delay);
                            let call = service.call(request);
                            this.second.set(Second::Calling { call });
                        }
                    }
                }
                SecondProjection::Calling { call } => {
                    let Poll::Ready(outcome) = call.poll(cx) else {
                        return Poll::Pending;
                    };
                    let class = this.settings.classify.classify(&outcome);
                    if class == Classification::Success || this.first.is_none() {
                        // The second call began after the delay.
                        let latency = this.started.elapsed().saturating_sub(*this.delay);
                        this.settings.settle(class, latency, Some(true));
                        return Poll::Ready(outcome);
                    }
                    this.second.set(Second::Never);
                }
            }
        }
    }
}

impl<P, C> Settings<P, C> {
    /// Learns from the call whose answer is used.
    fn settle(&self, class: Classification, latency: Duration, second: Option<bool>) {
        if class == Classification::Success {
            self.latencies.lock().record(latency);
            self.budget.deposit();
        }
        if let Some(second) = second {
            self.observer.on_settle(second);
        }
    }
}

impl<S, P, C, Req> fmt::Debug for HedgeFuture<S, P, C, Req>
where
    S: Service<Req>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HedgeFuture")
            .field("delay", &self.delay)
            .field("is_hedged", &self.is_hedged)
            .finish_non_exhaustive()
    }
}
