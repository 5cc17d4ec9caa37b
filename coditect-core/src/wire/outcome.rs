//! What a worker tells the owner of a partition, and what an agent answers a requester.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coditect_bus::{ContentType, Envelope};
use coditect_dag::{Attempt, RunId, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::KIND;
use crate::error::Error;
use crate::failure::{Failure, FailureKind};
use crate::worker::Ended;

/// How one attempt of a task ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) run: RunId,
    pub(crate) task: TaskId,
    pub(crate) attempt: Attempt,
    pub(crate) ended: Ended,
}

#[derive(Deserialize)]
struct AttemptName {
    run: RunId,
    task: TaskId,
    attempt: Attempt,
}

#[derive(Serialize, Deserialize)]
struct OutcomeBody {
    run: RunId,
    task: TaskId,
    attempt: Attempt,
    outcome: ReplyBody,
}

/// What a handler came to, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReplyBody {
    Output(Arc<RawValue>),
    Plan(Arc<RawValue>),
    Failure {
        failure: Failure,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
}

impl Outcome {
    pub(crate) fn to_envelope(&self) -> Result<Envelope, Error> {
        let body = OutcomeBody {
            run: self.run,
            task: self.task,
            attempt: self.attempt,
            outcome: ReplyBody::of(&self.ended)?,
        };
        Ok(Envelope::json(&body)?.with_header(KIND, "outcome"))
    }

    /// What can be made of an outcome that cannot be read: its attempt has failed, if it can be told which
    /// it was.
    pub(crate) fn unreadable(envelope: &Envelope, error: &Error) -> Option<Self> {
        let name: AttemptName = envelope.decode().ok()?;
        let text = format!("the agent's outcome cannot be read: {error}");
        Some(Self {
            run: name.run,
            task: name.task,
            attempt: name.attempt,
            ended: Ended::failed(Failure::new(FailureKind::Permanent, text)),
        })
    }

    pub(crate) fn read(envelope: &Envelope) -> Result<Self, Error> {
        let body: OutcomeBody = envelope.decode()?;
        Ok(Self {
            run: body.run,
            task: body.task,
            attempt: body.attempt,
            ended: body.outcome.into_ended(),
        })
    }
}

impl ReplyBody {
    pub(crate) fn of(ended: &Ended) -> Result<Self, Error> {
        Ok(match ended {
            Ended::Output(output) => Self::Output(raw(output)?),
            Ended::Plan(plan) => Self::Plan(raw(plan)?),
            Ended::Failed {
                failure,
                retry_after,
            } => Self::Failure {
                failure: failure.clone(),
                retry_after_ms: retry_after
                    .map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
            },
        })
    }

    pub(crate) fn into_ended(self) -> Ended {
        match self {
            Self::Output(output) => Ended::Output(bytes(&output)),
            Self::Plan(plan) => Ended::Plan(bytes(&plan)),
            Self::Failure {
                failure,
                retry_after_ms,
            } => Ended::Failed {
                failure,
                retry_after: retry_after_ms.map(Duration::from_millis),
            },
        }
    }

    pub(crate) fn to_envelope(&self) -> Result<Envelope, Error> {
        Ok(Envelope::json(self)?
            .with_content_type(ContentType::JSON)
            .with_header(KIND, "reply"))
    }
}

fn raw(json: &Bytes) -> Result<Arc<RawValue>, Error> {
    serde_json::from_slice::<Box<RawValue>>(json)
        .map(Arc::from)
        .map_err(|error| Error::invalid("an agent's answer is no JSON").with_source(error))
}

fn bytes(json: &RawValue) -> Bytes {
    Bytes::copy_from_slice(json.get().as_bytes())
}
