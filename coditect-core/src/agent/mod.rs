//! The trait that agent authors implement, and how functions become agents.

mod card;
mod erased;
mod error;
mod function;
mod performer;

use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::card::AgentCard;
pub(crate) use self::erased::{Answer, ErasedAgent, TypedAgent, decode_input, encode_output};
pub use self::error::AgentError;
pub use self::function::{FnAgent, Handler, agent};
pub use self::performer::Performer;

use crate::context::TaskContext;

/// Carries out tasks of one or more capabilities.
///
/// Input and output are plain serde types. An agent never meets the broker: it is handed its input
/// and a [`TaskContext`], and answers with its output or an [`AgentError`]. The same attempt may
/// reach it twice when a worker or a connection dies, so effects outside should be idempotent, keyed
/// by [`TaskContext::idempotency_key`], or wrapped in [`TaskContext::once`].
///
/// Most agents need no type of their own: [`agent`] makes one of an async function.
///
/// # Examples
///
/// ```
/// use coditect_core::prelude::*;
///
/// struct Shout;
///
/// impl Agent for Shout {
///     type Input = String;
///     type Output = String;
///
///     fn card(&self) -> AgentCard {
///         AgentCard::new("shout").with_concurrency(4)
///     }
///
///     async fn handle(&self, _: TaskContext, text: String) -> Result<String, AgentError> {
///         Ok(text.to_uppercase())
///     }
/// }
/// # let _ = Runtime::builder().agent(Shout);
/// ```
pub trait Agent: Send + Sync + 'static {
    /// What a task of this agent is given.
    type Input: DeserializeOwned + Send + 'static;
    /// What a task of this agent answers with.
    type Output: Serialize + Send + 'static;

    /// Describes the agent: its name, what it can do, and how much of it at once.
    fn card(&self) -> AgentCard;

    /// Carries out one attempt of a task.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the attempt's timeout, or the grace after a cancellation, has
    /// passed. What must not be left half done is to be finished, or undone, on
    /// [`TaskContext::cancelled`].
    fn handle(
        &self,
        context: TaskContext,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output, AgentError>> + Send;
}
