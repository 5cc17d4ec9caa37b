//! Agents without their types, as the worker holds them.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Agent, AgentCard, AgentError};
use crate::context::TaskContext;
use crate::failure::{Failure, FailureKind};

/// What a handler came to: an output or a plan, both as JSON.
#[derive(Debug)]
pub(crate) enum Answer {
    Output(Bytes),
    Plan(Bytes),
}

/// An agent that takes and makes JSON.
pub(crate) trait ErasedAgent: Send + Sync {
    fn card(&self) -> AgentCard;

    /// Says whether `input` has the shape that the agent takes.
    fn check(&self, input: &[u8]) -> Result<(), Failure>;

    fn call(
        self: Arc<Self>,
        context: TaskContext,
        input: Bytes,
    ) -> BoxFuture<'static, Result<Answer, AgentError>>;
}

/// Adapts an [`Agent`].
#[derive(Debug)]
pub(crate) struct TypedAgent<A>(pub(crate) A);

impl<A: Agent> ErasedAgent for TypedAgent<A> {
    fn card(&self) -> AgentCard {
        self.0.card()
    }

    fn check(&self, input: &[u8]) -> Result<(), Failure> {
        decode_input::<A::Input>(input).map(drop)
    }

    fn call(
        self: Arc<Self>,
        context: TaskContext,
        input: Bytes,
    ) -> BoxFuture<'static, Result<Answer, AgentError>> {
        Box::pin(async move {
            let input = decode_input(&input).map_err(AgentError::from_failure)?;
            let output = self.0.handle(context, input).await?;
            let output = encode_output(&output).map_err(AgentError::from_failure)?;
            Ok(Answer::Output(output))
        })
    }
}

/// Reads an input, or says where it is not what the agent takes.
pub(crate) fn decode_input<I: DeserializeOwned>(input: &[u8]) -> Result<I, Failure> {
    serde_json::from_slice(input).map_err(|error| {
        Failure::new(
            FailureKind::InvalidInput,
            format!("the input is not what the agent takes: {error}"),
        )
    })
}

/// Writes an output as JSON.
pub(crate) fn encode_output<O: Serialize>(output: &O) -> Result<Bytes, Failure> {
    serde_json::to_vec(output)
        .map(Bytes::from)
        .map_err(|error| {
            Failure::new(
                FailureKind::Permanent,
                format!("the output cannot be written as JSON: {error}"),
            )
        })
}
