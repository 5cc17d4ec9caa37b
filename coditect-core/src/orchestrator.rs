//! Agents whose answer is a plan.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;

use crate::agent::{AgentCard, AgentError, Answer, ErasedAgent, decode_input, encode_output};
use crate::context::TaskContext;
use crate::failure::Failure;
use crate::plan::Plan;

/// Decomposes a task into a plan.
///
/// An orchestrator is an agent whose answer is a graph of tasks: it is called by capability like any
/// other, at the top of a run or anywhere in it, and the caller gets what the plan answers with. Plans
/// may contain orchestrators again, within the [limits](crate::RunLimits) of the run.
///
/// # Examples
///
/// ```
/// use coditect_core::prelude::*;
///
/// const COUNT: Call<String, usize> = Call::new("count");
///
/// struct PerLine;
///
/// impl Orchestrator for PerLine {
///     type Task = String;
///     type Output = Vec<usize>;
///
///     fn card(&self) -> AgentCard {
///         AgentCard::new("count-lines")
///     }
///
///     async fn decompose(
///         &self,
///         _: TaskContext,
///         text: String,
///     ) -> Result<Plan<Vec<usize>>, AgentError> {
///         let mut plan = Plan::builder();
///         let counts: Vec<_> = text
///             .lines()
///             .enumerate()
///             .map(|(number, line)| plan.task(format!("line-{number}"), &COUNT, line.to_owned()))
///             .collect();
///         Ok(plan.output(counts)?)
///     }
/// }
/// # let _ = Runtime::builder().orchestrator(PerLine);
/// ```
pub trait Orchestrator: Send + Sync + 'static {
    /// What is to be decomposed.
    type Task: DeserializeOwned + Send + 'static;
    /// What the plan answers with.
    type Output: 'static;

    /// Describes the orchestrator as an agent.
    fn card(&self) -> AgentCard;

    /// Decomposes one task.
    ///
    /// # Cancel safety
    ///
    /// As [`Agent::handle`](crate::Agent::handle).
    fn decompose(
        &self,
        context: TaskContext,
        task: Self::Task,
    ) -> impl Future<Output = Result<Plan<Self::Output>, AgentError>> + Send;
}

/// Makes an orchestrator of an async function of a context and a task.
///
/// # Examples
///
/// ```
/// use coditect_core::prelude::*;
///
/// const SQUARE: Call<u64, u64> = Call::new("square");
///
/// async fn squares(_: TaskContext, upto: u64) -> Result<Plan<Vec<u64>>, AgentError> {
///     let mut plan = Plan::builder();
///     let squares: Vec<_> =
///         (0..upto).map(|x| plan.task(format!("square-{x}"), &SQUARE, x)).collect();
///     Ok(plan.output(squares)?)
/// }
/// # let _ = Runtime::builder().orchestrator(orchestrator("squares", squares));
/// ```
pub fn orchestrator<F, Fut, T, O, E>(
    capability: impl Into<String>,
    decompose: F,
) -> FnOrchestrator<F, (T, O)>
where
    F: Fn(TaskContext, T) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Plan<O>, E>> + Send + 'static,
    E: Into<AgentError>,
{
    FnOrchestrator {
        card: AgentCard::new(capability),
        decompose,
        types: PhantomData,
    }
}

/// An orchestrator made of a function by [`orchestrator`].
pub struct FnOrchestrator<F, Types> {
    card: AgentCard,
    decompose: F,
    types: PhantomData<fn() -> Types>,
}

impl<F, Types> fmt::Debug for FnOrchestrator<F, Types> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnOrchestrator")
            .field("card", &self.card)
            .finish_non_exhaustive()
    }
}

impl<F, Fut, T, O, E> Orchestrator for FnOrchestrator<F, (T, O)>
where
    F: Fn(TaskContext, T) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Plan<O>, E>> + Send + 'static,
    T: DeserializeOwned + Send + 'static,
    O: 'static,
    E: Into<AgentError>,
{
    type Task = T;
    type Output = O;

    fn card(&self) -> AgentCard {
        self.card.clone()
    }

    async fn decompose(&self, context: TaskContext, task: T) -> Result<Plan<O>, AgentError> {
        (self.decompose)(context, task).await.map_err(Into::into)
    }
}

/// Adapts an [`Orchestrator`] to what a worker holds.
#[derive(Debug)]
pub(crate) struct TypedOrchestrator<O>(pub(crate) O);

impl<O: Orchestrator> ErasedAgent for TypedOrchestrator<O> {
    fn card(&self) -> AgentCard {
        self.0.card()
    }

    fn check(&self, input: &[u8]) -> Result<(), Failure> {
        decode_input::<O::Task>(input).map(drop)
    }

    fn call(
        self: Arc<Self>,
        context: TaskContext,
        input: Bytes,
    ) -> BoxFuture<'static, Result<Answer, AgentError>> {
        Box::pin(async move {
            let task = decode_input(&input).map_err(AgentError::from_failure)?;
            let plan = self.0.decompose(context, task).await?;
            let plan = encode_output(&plan.into_spec()).map_err(AgentError::from_failure)?;
            Ok(Answer::Plan(plan))
        })
    }
}
