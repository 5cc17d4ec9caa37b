//! Async functions as agents.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;

use coditect_resilience::{AdaptivePolicy, BreakerPolicy};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Agent, AgentCard, AgentError};
use crate::context::TaskContext;
use crate::effect::EffectClass;

/// Makes an agent of an async function.
///
/// The function takes its input, or a [`TaskContext`] and its input, and answers with a `Result`
/// whose error turns into an [`AgentError`]. `capability` is what the agent offers, such as
/// `"summarize"` or, with a version, `"summarize@1.2.0"`; it is also the agent's name, unless it is given
/// [another](FnAgent::with_name).
///
/// # Examples
///
/// ```
/// use coditect_core::prelude::*;
///
/// async fn double(x: u64) -> Result<u64, AgentError> {
///     Ok(x * 2)
/// }
///
/// async fn patient(context: TaskContext, x: u64) -> Result<u64, AgentError> {
///     context.progress(0.5, "half way");
///     Ok(x)
/// }
/// # let _ = Runtime::builder()
/// #     .agent(agent("double", double))
/// #     .agent(agent("patient@2.1.0", patient).with_concurrency(8));
/// ```
pub fn agent<F, Args>(capability: impl Into<String>, handler: F) -> FnAgent<F, Args>
where
    F: Handler<Args>,
{
    FnAgent {
        card: AgentCard::new(capability),
        handler,
        arguments: PhantomData,
    }
}

/// An agent made of a function by [`agent`].
pub struct FnAgent<F, Args> {
    card: AgentCard,
    handler: F,
    arguments: PhantomData<fn() -> Args>,
}

impl<F, Args> FnAgent<F, Args> {
    /// Renames the agent, as [`AgentCard::with_name`] does.
    ///
    /// # Examples
    ///
    /// Two versions of a capability side by side:
    ///
    /// ```
    /// # use coditect_core::prelude::*;
    /// # async fn old(text: String) -> Result<String, AgentError> { Ok(text) }
    /// # async fn new(text: String) -> Result<String, AgentError> { Ok(text) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), coditect_core::Error> {
    /// let runtime = Runtime::builder()
    ///     .agent(agent("translate@1.4.0", old).with_name("translator-1"))
    ///     .agent(agent("translate@2.0.0", new).with_name("translator-2"))
    ///     .start()
    ///     .await?;
    /// # runtime.shutdown().await
    /// # }
    /// ```
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.card = self.card.with_name(name);
        self
    }

    /// Sets how many tasks the agent takes at once.
    #[must_use]
    pub fn with_concurrency(mut self, tasks: usize) -> Self {
        self.card = self.card.with_concurrency(tasks);
        self
    }

    /// Lets the runtime find out how many tasks the agent bears at once; see
    /// [`AgentCard::with_adaptive_concurrency`].
    #[must_use]
    pub fn with_adaptive_concurrency(mut self, policy: AdaptivePolicy) -> Self {
        self.card = self.card.with_adaptive_concurrency(policy);
        self
    }

    /// Lets one start of the agent work at a time; see [`AgentCard::with_exclusive`].
    #[must_use]
    pub fn with_exclusive(mut self) -> Self {
        self.card = self.card.with_exclusive();
        self
    }

    /// Declares what doing a task of the agent's a second time would do; see [`AgentCard::with_effect`].
    #[must_use]
    pub fn with_effect(mut self, class: EffectClass) -> Self {
        self.card = self.card.with_effect(class);
        self
    }

    /// Sets when the agent is given no more work for a while because it fails; see [`AgentCard::with_breaker`].
    #[must_use]
    pub fn with_breaker(mut self, policy: impl Into<Option<BreakerPolicy>>) -> Self {
        self.card = self.card.with_breaker(policy);
        self
    }

    /// Replaces the whole card.
    #[must_use]
    pub fn with_card(mut self, card: AgentCard) -> Self {
        self.card = card;
        self
    }
}

impl<F, Args> fmt::Debug for FnAgent<F, Args> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnAgent")
            .field("card", &self.card)
            .finish_non_exhaustive()
    }
}

impl<F, Args> Agent for FnAgent<F, Args>
where
    F: Handler<Args>,
    Args: 'static,
{
    type Input = F::Input;
    type Output = F::Output;

    fn card(&self) -> AgentCard {
        self.card.clone()
    }

    fn handle(
        &self,
        context: TaskContext,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output, AgentError>> + Send {
        self.handler.call(context, input)
    }
}

/// A function that [`agent`] takes; implemented for functions of an input, and of a context and an
/// input. `Args` only tells the two apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no function that an agent can be made of",
    label = "not an `async fn(Input) -> Result<Output, Error>`, with or without a `TaskContext` before the input",
    note = "the input must be owned and implement `DeserializeOwned + Send`, the output `Serialize + Send`",
    note = "the error must turn into an `AgentError`, as every `std::error::Error + Send + Sync` does; others by `.map_err(AgentError::from_boxed)`",
    note = "the function's future must be `Send`: nothing that is not, such as an `Rc`, may live across an `.await`"
)]
pub trait Handler<Args>: Send + Sync + 'static {
    /// The function's input.
    type Input: DeserializeOwned + Send + 'static;
    /// What the function answers with.
    type Output: Serialize + Send + 'static;

    /// Calls the function.
    fn call(
        &self,
        context: TaskContext,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output, AgentError>> + Send;
}

impl<F, Fut, I, O, E> Handler<(I,)> for F
where
    F: Fn(I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O, E>> + Send + 'static,
    I: DeserializeOwned + Send + 'static,
    O: Serialize + Send + 'static,
    E: Into<AgentError>,
{
    type Input = I;
    type Output = O;

    async fn call(&self, _: TaskContext, input: I) -> Result<O, AgentError> {
        self(input).await.map_err(Into::into)
    }
}

impl<F, Fut, I, O, E> Handler<(TaskContext, I)> for F
where
    F: Fn(TaskContext, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O, E>> + Send + 'static,
    I: DeserializeOwned + Send + 'static,
    O: Serialize + Send + 'static,
    E: Into<AgentError>,
{
    type Input = I;
    type Output = O;

    async fn call(&self, context: TaskContext, input: I) -> Result<O, AgentError> {
        self(context, input).await.map_err(Into::into)
    }
}
