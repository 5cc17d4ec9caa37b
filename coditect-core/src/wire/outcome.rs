//! What a worker tells the owner of a partition, and what an agent answers a requester.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coditect_bus::{ContentType, Envelope};
use coditect_dag::{Attempt, RunId, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::KIND;
use crate::agent::Performer;
use crate::error::Error;
use crate::failure::{Failure, FailureKind};
use crate::worker::Ended;

/// How one attempt of a task ended.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) run: RunId,
    pub(crate) task: TaskId,
    pub(crate) attempt: Attempt,
    /// Who had it, where that is known.
    pub(crate) by: Option<Arc<Performer>>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<Arc<Performer>>,
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
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        before_effect: bool,
    },
}

/// Several outcomes in one message.
#[derive(Deserialize)]
struct OutcomesBody {
    outcomes: Vec<Box<RawValue>>,
}

/// An outcome that cannot be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// What can be made of it: its attempt has failed, if it can be told which it was.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) error: Error,
}

impl Outcome {
    /// Says that a message has several outcomes.
    pub(crate) const SEVERAL: &'static str = "outcomes";

    /// Writes it as one of several, or alone.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>, Error> {
        let body = OutcomeBody {
            run: self.run,
            task: self.task,
            attempt: self.attempt,
            by: self.by.clone(),
            outcome: ReplyBody::of(&self.ended)?,
        };
        serde_json::to_vec(&body)
            .map_err(|error| Error::invalid("the outcome cannot be written").with_source(error))
    }

    pub(crate) fn to_envelope(&self) -> Result<Envelope, Error> {
        Ok(Envelope::new(self.to_json()?)
            .with_content_type(ContentType::JSON)
            .with_header(KIND, "outcome"))
    }

    /// Puts several that were written into one message.
    pub(crate) fn several<'a>(bodies: impl IntoIterator<Item = &'a [u8]>) -> Envelope {
        let mut body = b"{\"outcomes\":[".to_vec();
        for (index, one) in bodies.into_iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(one);
        }
        body.extend_from_slice(b"]}");
        Envelope::new(body)
            .with_content_type(ContentType::JSON)
            .with_header(KIND, Self::SEVERAL)
    }

    /// Reads a message of several outcomes, each by itself.
    pub(crate) fn read_several(
        envelope: &Envelope,
    ) -> Result<Vec<Result<Self, Box<Unreadable>>>, Error> {
        let body: OutcomesBody = envelope.decode()?;
        let read = |one: Box<RawValue>| {
            let body: Result<OutcomeBody, _> = serde_json::from_str(one.get());
            body.map(Self::from_body).map_err(|error| {
                let error =
                    Error::invalid("one of several outcomes cannot be read").with_source(error);
                let name = serde_json::from_str(one.get()).ok();
                let outcome = name.map(|name| Self::of_unreadable(name, &error));
                Box::new(Unreadable { outcome, error })
            })
        };
        Ok(body.outcomes.into_iter().map(read).collect())
    }

    pub(crate) fn read(envelope: &Envelope) -> Result<Self, Box<Unreadable>> {
        let body: Result<OutcomeBody, _> = envelope.decode();
        body.map(Self::from_body).map_err(|error| {
            let error = Error::from(error);
            let name = envelope.decode().ok();
            let outcome = name.map(|name| Self::of_unreadable(name, &error));
            Box::new(Unreadable { outcome, error })
        })
    }

    fn from_body(body: OutcomeBody) -> Self {
        Self {
            run: body.run,
            task: body.task,
            attempt: body.attempt,
            by: body.by,
            ended: body.outcome.into_ended(),
        }
    }

    fn of_unreadable(name: AttemptName, error: &Error) -> Self {
        let text = format!("the agent's outcome cannot be read: {error}");
        Self {
            run: name.run,
            task: name.task,
            attempt: name.attempt,
            by: None,
            ended: Ended::failed(Failure::new(FailureKind::Permanent, text)),
        }
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
                before_effect,
            } => Self::Failure {
                failure: failure.clone(),
                before_effect: *before_effect,
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
                before_effect,
            } => Ended::Failed {
                failure,
                before_effect,
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
