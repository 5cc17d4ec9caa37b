//! One attempt: the handler under its timeout, its cancellation and its panics.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tokio::time::Instant;

use super::breaker::Leave;
use super::hosted::Hosted;
use super::slots::Load;
use crate::agent::{AgentError, Answer};
use crate::context::TaskContext;
use crate::failure::{Failure, FailureKind, panic_text};

/// How an attempt ended.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    Output(Bytes),
    Plan(Bytes),
    Failed {
        failure: Failure,
        retry_after: Option<Duration>,
        /// The handler says that nothing outside had changed.
        before_effect: bool,
    },
}

impl Ended {
    pub(crate) fn failed(failure: Failure) -> Self {
        Self::Failed {
            failure,
            retry_after: None,
            before_effect: false,
        }
    }
}

/// How an attempt ended, and whether it was to go on.
#[derive(Debug)]
pub(crate) struct Attempted {
    pub(crate) ended: Ended,
    /// Its token was fired by others before it ended.
    told: bool,
}

impl Attempted {
    /// Says whether it answered with no more than that it was told to stop.
    pub(crate) fn was_given_up(&self) -> bool {
        self.told && matches!(self.ended, Ended::Failed { .. })
    }
}

/// What bounds an attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) grace: Duration,
    pub(crate) max_payload: usize,
}

/// Runs the handler to its end.
///
/// A handler that ignores cancellation is dropped at the end of the grace, at its next `await`: one
/// that never awaits cannot be stopped by anybody, and keeps its slot until it returns. Its breaker is told what the attempt
/// has shown, where it gave its `leave`, and its slots how much the agent bears.
pub(crate) async fn attempt(
    hosted: &Arc<Hosted>,
    context: &TaskContext,
    input: Bytes,
    bounds: Bounds,
    leave: Option<Leave>,
) -> Attempted {
    let measured = hosted.measure();
    // What a handler holds may panic when the handler is dropped.
    let attempted = AssertUnwindSafe(carry_out(hosted, context, input, bounds))
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| Attempted {
            ended: ended(Err(panic), bounds.max_payload),
            told: context.token().is_cancelled(),
        });
    if let Some(leave) = leave {
        leave.settle(&attempted);
    }
    if let (Some(measured), Some(load)) = (measured, load(context, &attempted)) {
        hosted.learn(&measured, load);
    }
    attempted
}

/// What an attempt has shown of how much its agent bears; none where it shows nothing of that.
fn load(context: &TaskContext, attempted: &Attempted) -> Option<Load> {
    // How long others took to answer it says nothing of itself, nor that there was no time left after that.
    if context.has_waited() {
        return None;
    }
    match &attempted.ended {
        Ended::Output(_) | Ended::Plan(_) => Some(Load::Borne),
        Ended::Failed { .. } if attempted.was_given_up() => None,
        Ended::Failed {
            failure,
            retry_after,
            ..
        } => {
            let is_overload = failure.kind == FailureKind::Timeout
                || (failure.kind == FailureKind::Error && retry_after.is_some());
            is_overload.then_some(Load::Overload)
        }
    }
}

async fn carry_out(
    hosted: &Arc<Hosted>,
    context: &TaskContext,
    input: Bytes,
    bounds: Bounds,
) -> Attempted {
    // What is judged before or without the token.
    let judged = |failure| Attempted {
        ended: Ended::failed(failure),
        told: false,
    };
    if input.len() > bounds.max_payload {
        return judged(too_large("input", input.len(), bounds.max_payload));
    }
    let agent = Arc::clone(&hosted.agent);
    let call = {
        let context = context.clone();
        // The call itself may panic before there is a future.
        AssertUnwindSafe(async move { agent.call(context, input).await }).catch_unwind()
    };
    let mut call = std::pin::pin!(call);
    let token = context.token();
    let answer = tokio::select! {
        biased;
        answer = &mut call => answer,
        () = stopped(context, hosted) => {
            match tokio::time::timeout(bounds.grace, call).await {
                Ok(answer) => answer,
                Err(_) => {
                    let text = format!("ignored its cancellation for {:?} and was dropped", bounds.grace);
                    tracing::warn!(agent = %hosted.id, task = context.key(), "the handler {text}");
                    let failure = Failure::new(FailureKind::Cancelled, format!("the handler {text}"));
                    return Attempted {
                        ended: Ended::failed(failure),
                        told: true,
                    };
                }
            }
        }
        limit = expired(bounds) => {
            token.cancel();
            if tokio::time::timeout(bounds.grace, call).await.is_err() {
                tracing::warn!(
                    agent = %hosted.id,
                    task = context.key(),
                    "the handler ignored its cancellation for {:?} and was dropped",
                    bounds.grace
                );
            }
            return judged(limit);
        }
    };
    Attempted {
        ended: ended(answer, bounds.max_payload),
        told: token.is_cancelled(),
    }
}

/// Waits until the attempt is told to stop, or its agent has been replaced and with it everything that it does.
async fn stopped(context: &TaskContext, hosted: &Hosted) {
    let token = context.token();
    tokio::select! {
        biased;
        () = token.cancelled() => {}
        () = hosted.standing.superseded() => token.cancel(),
    }
}

/// Waits for the earlier of timeout and deadline; for ever where there is none.
async fn expired(bounds: Bounds) -> Failure {
    // A limit beyond what the clock can tell is none.
    let timeout = bounds
        .timeout
        .and_then(|timeout| Some((Instant::now().checked_add(timeout)?, timeout)));
    match (timeout, bounds.deadline) {
        (Some((at, timeout)), deadline) if deadline.is_none_or(|deadline| at <= deadline) => {
            tokio::time::sleep_until(at).await;
            Failure::new(
                FailureKind::Timeout,
                format!("the attempt took longer than {timeout:?}"),
            )
        }
        (_, Some(deadline)) => {
            tokio::time::sleep_until(deadline).await;
            Failure::new(
                FailureKind::DeadlineExceeded,
                "the deadline passed while the attempt ran",
            )
        }
        _ => std::future::pending().await,
    }
}

fn ended(answer: Result<Result<Answer, AgentError>, Box<dyn Any + Send>>, max: usize) -> Ended {
    match answer {
        Ok(Ok(Answer::Output(output))) if output.len() > max => {
            Ended::failed(too_large("output", output.len(), max))
        }
        Ok(Ok(Answer::Output(output))) => Ended::Output(output),
        Ok(Ok(Answer::Plan(plan))) => Ended::Plan(plan),
        Ok(Err(error)) => Ended::Failed {
            failure: error.to_failure(),
            retry_after: error.delay(),
            before_effect: error.is_before_effect(),
        },
        Err(panic) => Ended::failed(Failure::new(
            FailureKind::Panic,
            format!("the agent panicked: {}", panic_text(&*panic)),
        )),
    }
}

fn too_large(what: &str, size: usize, limit: usize) -> Failure {
    Failure::new(
        FailureKind::TooLarge,
        format!(
            "the {what} has {size} bytes, {limit} are allowed; pass a reference to it instead, or \
             raise `max_payload`"
        ),
    )
}
