//! One call with all its tries.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};
use tower::Service;

use super::layer::Settings;
use super::policy::{GiveUp, Tries, Verdict};
use crate::classification::{Classification, Classify};

pin_project! {
    /// Ends with the outcome of the last try. Made by [`Retry`](super::Retry).
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the try that is running, and no further one begins.
    #[must_use = "a call makes no progress unless it is polled"]
    pub struct RetryFuture<S, C, Req>
    where
        S: Service<Req>,
    {
        service: S,
        settings: Arc<Settings<C>>,
        // The request is kept only as long as another try may need it.
        request: Option<Req>,
        started: Instant,
        tries: Tries,
        #[pin]
        state: State<S::Future>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Calling { #[pin] call: F },
        Waiting { #[pin] sleep: Sleep },
        Readying,
    }
}

impl<S, C, Req> RetryFuture<S, C, Req>
where
    S: Service<Req>,
    Req: Clone,
{
    pub(super) fn new(mut service: S, settings: Arc<Settings<C>>, request: Req) -> Self {
        let kept = (settings.policy.max_attempts() > 1).then(|| request.clone());
        let call = service.call(request);
        Self {
            service,
            settings,
            request: kept,
            started: Instant::now(),
            tries: Tries::default(),
            state: State::Calling { call },
        }
    }
}

impl<S, C, Req> Future for RetryFuture<S, C, Req>
where
    S: Service<Req>,
    C: Classify<S::Response, S::Error>,
    Req: Clone,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Calling { call } => {
                    let outcome = ready!(call.poll(cx));
                    let class = this.settings.classify.classify(&outcome);
                    match this.settings.judge(class, this.tries, *this.started) {
                        None => return Poll::Ready(outcome),
                        Some(delay) => this.state.set(State::Waiting {
                            sleep: sleep(delay),
                        }),
                    }
                }
                StateProjection::Waiting { sleep } => {
                    ready!(sleep.poll(cx));
                    this.state.set(State::Readying);
                }
                StateProjection::Readying => {
                    if let Err(error) = ready!(this.service.poll_ready(cx)) {
                        return Poll::Ready(Err(error));
                    }
                    // A further try was granted, so the request is still here: it was kept because more
                    // than one attempt is allowed, and is given away only with the last one.
                    let last = this.tries.made + 1 >= this.settings.policy.max_attempts();
                    let request = if last {
                        this.request.take()
                    } else {
                        this.request.clone()
                    };
                    let request = request.expect("the request is kept until the last attempt");
                    let call = this.service.call(request);
                    this.state.set(State::Calling { call });
                }
            }
        }
    }
}

impl<C> Settings<C> {
    /// Counts a try that has ended, and returns the wait before the next one, if there is one.
    fn judge(
        &self,
        class: Classification,
        tries: &mut Tries,
        started: Instant,
    ) -> Option<Duration> {
        tries.made = tries.made.saturating_add(1);
        if !class.is_retryable() {
            self.settle(class, tries.made);
            return None;
        }
        let now = Instant::now();
        tries.elapsed = now.saturating_duration_since(started);
        let mut verdict = self
            .policy
            .decide(class, *tries, self.randomness.next_unit());
        if let (Verdict::Retry { .. }, Some(budget)) = (verdict, &self.budget)
            && !budget.withdraw_at(now)
        {
            verdict = Verdict::GiveUp(GiveUp::Budget);
        }
        match verdict {
            Verdict::Retry { attempt, delay } => {
                tracing::debug!(attempt, ?delay, "retrying a failed call");
                self.observer.on_retry(attempt, delay);
                tries.last_delay = Some(delay);
                Some(delay)
            }
            Verdict::GiveUp(why) => {
                self.give_up(tries.made, why);
                None
            }
            Verdict::Return => None,
        }
    }

    /// Notes an outcome after which there is nothing to decide.
    fn settle(&self, class: Classification, attempts: u32) {
        match class {
            Classification::Success => {
                if let Some(budget) = &self.budget {
                    budget.deposit();
                }
                self.observer.on_success(attempts);
            }
            Classification::Fail => self.give_up(attempts, GiveUp::NotRetryable),
            Classification::Ignore | Classification::Retry | Classification::RetryAfter(_) => {}
        }
    }

    fn give_up(&self, attempts: u32, why: GiveUp) {
        tracing::debug!(attempts, ?why, "giving up on a failed call");
        self.observer.on_give_up(attempts, why);
    }
}

impl<S, C, Req> fmt::Debug for RetryFuture<S, C, Req>
where
    S: Service<Req>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryFuture")
            .field("tries", &self.tries)
            .finish_non_exhaustive()
    }
}
