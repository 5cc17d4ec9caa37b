//! Child runs: a handler asks another agent, or has a plan carried out, and waits without a slot.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use coditect_dag::journal::RunState;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::TaskContext;
use crate::agent::AgentError;
use crate::error::Error;
use crate::failure::FailureKind;
use crate::plan::{Call, Plan};
use crate::run::{Deadline, Parent, RunHandle, SubmitOptions};

/// How many requests may be nested in each other, so that agents that call in circles come to an end.
const MAX_NESTED: u32 = 16;

/// Why a child is cancelled whose parent stops.
pub(crate) const LEFT: &str = "the task that asked was cancelled";

impl TaskContext {
    /// Has a plan carried out as a child run and waits for its result, giving up this task's slot meanwhile.
    ///
    /// A plan that this task *answers* with becomes part of its own run; a child run is a run of its own, whose result
    /// the handler can go on with. It is keyed by this task and `name`, as a [`request`](Self::request) is, and the same
    /// holds for it: a later attempt of this task meets the first one's child and its result, the child has no later
    /// deadline, and it is cancelled with this attempt or when this run ends without it.
    ///
    /// [`RunHandle::children`] lists the children of a run.
    ///
    /// # Examples
    ///
    /// ```
    /// # use coditect_core::prelude::*;
    /// const COUNT: Call<String, u64> = Call::new("count");
    ///
    /// async fn longest(context: TaskContext, lines: Vec<String>) -> Result<u64, AgentError> {
    ///     let mut plan = Plan::builder();
    ///     let counts: Vec<_> = lines
    ///         .into_iter()
    ///         .enumerate()
    ///         .map(|(number, line)| plan.task(number.to_string(), &COUNT, line))
    ///         .collect();
    ///     let counts = context.child("counts", plan.output::<Vec<u64>>(counts)?).await?;
    ///     Ok(counts.into_iter().max().unwrap_or(0))
    /// }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), coditect_core::Error> {
    /// # let count = async |text: String| Ok::<_, AgentError>(text.split_whitespace().count() as u64);
    /// # let runtime = Runtime::builder()
    /// #     .agent(agent("count", count))
    /// #     .agent(agent("longest", longest))
    /// #     .start()
    /// #     .await?;
    /// # let lines = vec!["to be".to_owned(), "or not to be".to_owned()];
    /// # assert_eq!(runtime.run(&call::<_, u64>("longest"), lines).await?, 4);
    /// # runtime.shutdown().await
    /// # }
    /// ```
    pub fn child<O>(&self, name: &str, plan: Plan<O>) -> ChildRequest<O> {
        ChildRequest {
            context: self.clone(),
            name: name.to_owned(),
            plan: Ok(plan),
        }
    }
}

/// A question to another agent, or a plan to be carried out, begun when it is awaited.
///
/// Made by [`TaskContext::request`] and [`TaskContext::child`].
#[must_use = "a request is made when it is awaited"]
pub struct ChildRequest<O> {
    context: TaskContext,
    name: String,
    plan: Result<Plan<O>, Error>,
}

impl<O> ChildRequest<O> {
    pub(super) fn new<I: Serialize>(
        context: TaskContext,
        name: &str,
        call: &Call<I, O>,
        input: &I,
    ) -> Self {
        Self {
            context,
            name: name.to_owned(),
            plan: Plan::of_call(call, input),
        }
    }
}

impl<O: DeserializeOwned + Send + 'static> ChildRequest<O> {
    async fn ask(self) -> Result<O, AgentError> {
        let context = &self.context;
        let parent = context.run_or_error("request")?;
        let scope = context.inner.scope.fields();
        if scope.depth >= MAX_NESTED {
            return Err(AgentError::of(
                FailureKind::Permanent,
                format!(
                    "{MAX_NESTED} requests are nested in each other; agents may be calling in circles"
                ),
            ));
        }
        let mut options = SubmitOptions {
            tenant: Some(Arc::clone(&scope.tenant)),
            deadline: context.inner.deadline.map(Deadline::At),
            depth: scope.depth + 1,
            parent: Some(Parent {
                run: parent,
                task: context.inner.task,
            }),
            trace: context.trace(),
            ..SubmitOptions::default()
        };
        let plan = self.plan.map_err(AgentError::from)?;
        let absence = context.inner.slot.leave();
        let (mut chance, mut round) = (0_u32, 0_u32);
        let answer = loop {
            let asked = match chance {
                0 => format!("{round}"),
                chance => format!("{round}.{chance}"),
            };
            let key = format!("{parent}/{}/{asked}/{}", context.inner.task, self.name);
            options.idempotency_key = Some(key);
            let submitter = &context.inner.services.submitter;
            let asked = submitter.submit_or_meet(plan.clone(), options.clone());
            let (handle, existed) = asked.await?;
            // Whoever opens a task again wants no failure again that was there before.
            let may_ask_anew = existed && chance < context.inner.times_opened;
            if may_ask_anew && has_failed(&handle).await? {
                (chance, round) = (chance + 1, 0);
                continue;
            }
            match wait(context, &handle).await {
                Ok(Some(answer)) => break Ok(answer),
                Ok(None) => round += 1,
                Err(error) => break Err(error),
            }
        };
        absence.come_back(&context.inner.token).await;
        answer
    }
}

/// Waits for the child, which ends with its parent's cancellation; none if it had ended with that of an
/// earlier attempt, so that this one has to ask anew.
async fn wait<O: DeserializeOwned + Send + 'static>(
    context: &TaskContext,
    handle: &RunHandle<O>,
) -> Result<Option<O>, AgentError> {
    tokio::select! {
        biased;
        answer = handle.result() => match answer {
            Err(error) if was_left(&error) && !context.is_cancelled() => Ok(None),
            answer => answer.map(Some).map_err(of_child),
        },
        () = context.cancelled() => {
            handle.cancel(LEFT).await?;
            Err(AgentError::of(FailureKind::Cancelled, "cancelled while waiting for another agent"))
        }
    }
}

async fn has_failed<O>(child: &RunHandle<O>) -> Result<bool, AgentError> {
    let state = child.state().await?;
    Ok(state.is_settled() && state != RunState::Succeeded)
}

/// Says whether an attempt that stopped took the child with it.
fn was_left(error: &Error) -> bool {
    error
        .failure()
        .is_some_and(|failure| failure.kind == FailureKind::Cancelled && failure.message == LEFT)
}

/// A child that was invalid, or failed for good, fails its parent for good.
fn of_child(error: Error) -> AgentError {
    let permanent = error.failure().is_some();
    let error = AgentError::from(error);
    if permanent {
        error.into_permanent()
    } else {
        error
    }
}

impl<O: DeserializeOwned + Send + 'static> IntoFuture for ChildRequest<O> {
    type Output = Result<O, AgentError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.ask())
    }
}

impl<O> fmt::Debug for ChildRequest<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildRequest")
            .field("name", &self.name)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}
