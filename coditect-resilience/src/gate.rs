//! A call that has to be let in first: at once, after a wait, or not at all.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower::Service;

use crate::error::Error;

/// The wait for leave, boxed: a call that has to wait can afford it.
pub(crate) type Leave<G> = Pin<Box<dyn Future<Output = Result<G, Error>> + Send>>;

pin_project! {
    /// Ends with the outcome of a call that may have to wait for leave first. Made by [`Bulkhead`](crate::Bulkhead),
    /// [`RateLimit`](crate::RateLimit) and [`ConcurrencyLimit`](crate::ConcurrencyLimit).
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves the queue if it waits, or drops the call and gives back what it held; what a rate was charged stays
    /// charged.
    #[must_use = "a call makes no progress unless it is polled"]
    pub struct GatedFuture<S, Req, G>
    where
        S: Service<Req>,
    {
        // What waits is kept here; a call that was let in at once has neither.
        parked: Option<(S, Req)>,
        #[pin]
        state: State<S::Future, G>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, G> {
        Waiting { leave: Leave<G> },
        Readying { guard: Option<G> },
        Calling {
            #[pin]
            call: F,
            guard: Option<G>,
        },
        Refused { error: Option<Error> },
    }
}

impl<S, Req, G> GatedFuture<S, Req, G>
where
    S: Service<Req>,
{
    pub(crate) const fn calling(call: S::Future, guard: G) -> Self {
        Self {
            parked: None,
            state: State::Calling {
                call,
                guard: Some(guard),
            },
        }
    }

    pub(crate) const fn refused(error: Error) -> Self {
        Self {
            parked: None,
            state: State::Refused { error: Some(error) },
        }
    }

    pub(crate) const fn waiting(leave: Leave<G>, service: S, request: Req) -> Self {
        Self {
            parked: Some((service, request)),
            state: State::Waiting { leave },
        }
    }
}

/// What a guard learns about the call that it was held for.
pub(crate) trait Guard<T, E> {
    /// Takes the guard back at the end of the call.
    fn settle(self, outcome: &Result<T, E>);
}

impl<S, Req, G> Future for GatedFuture<S, Req, G>
where
    S: Service<Req>,
    S::Error: From<Error>,
    G: Guard<S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Waiting { leave } => match ready!(leave.as_mut().poll(cx)) {
                    Ok(guard) => this.state.set(State::Readying { guard: Some(guard) }),
                    Err(error) => return Poll::Ready(Err(error.into())),
                },
                StateProjection::Readying { guard } => {
                    let (service, _) = this
                        .parked
                        .as_mut()
                        .expect("what waits is parked until it is called");
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        return Poll::Ready(Err(error));
                    }
                    let guard = guard.take();
                    let (mut service, request) = this
                        .parked
                        .take()
                        .expect("what waits is parked until it is called");
                    let call = service.call(request);
                    this.state.set(State::Calling { call, guard });
                }
                StateProjection::Calling { call, guard } => {
                    let outcome = ready!(call.poll(cx));
                    if let Some(guard) = guard.take() {
                        guard.settle(&outcome);
                    }
                    return Poll::Ready(outcome);
                }
                StateProjection::Refused { error } => {
                    let error = error.take().expect("a future is not polled after its end");
                    return Poll::Ready(Err(error.into()));
                }
            }
        }
    }
}

impl<S, Req, G> fmt::Debug for GatedFuture<S, Req, G>
where
    S: Service<Req>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatedFuture").finish_non_exhaustive()
    }
}
