//! A task on its way to an agent, and a request, which is a task of no run.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coditect_bus::{ContentType, CorrelationId, Envelope, MessageId, Priority, QueueName};
use coditect_dag::{Attempt, RunId, TaskId, Timestamp};
use coditect_registry::{AgentId, Requirement};
use coditect_telemetry::TraceContext;
use uuid::Uuid;

use super::{
    AGENT, ATTEMPT, AVOID, DEADLINE, DEPTH, EFFECT, KEY, KIND, NOMINAL, OPENED, REQUIREMENT, RUN,
    SCHEDULE, TASK, TENANT, TIMEOUT, agent_of, optional, required, trace_of, with_trace,
};
use crate::agent::Performer;
use crate::effect::EffectClass;
use crate::error::Error;
use crate::run::Occasion;

/// A task as it is published to the queue of its capability.
#[derive(Clone, Debug)]
pub(crate) struct TaskMessage {
    pub(crate) run: RunId,
    pub(crate) task: TaskId,
    pub(crate) attempt: Attempt,
    /// How often a person has opened the task again.
    pub(crate) times_opened: u32,
    /// Where its outcome goes.
    pub(crate) outcomes: QueueName,
    pub(crate) key: Arc<str>,
    pub(crate) tenant: Arc<str>,
    pub(crate) requirement: Requirement,
    pub(crate) priority: Priority,
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) depth: u32,
    /// Whom it is not for.
    pub(crate) avoid: Option<String>,
    /// The only agent that it is for.
    pub(crate) agent: Option<AgentId>,
    pub(crate) occasion: Option<Occasion>,
    /// What the plan asks for, which its agent may be stricter than.
    pub(crate) effect: Option<EffectClass>,
    pub(crate) trace: Option<TraceContext>,
    pub(crate) input: Bytes,
}

/// The id that every publication of an attempt bears, so that a repeated one can be recognised.
pub(crate) fn message_id(run: RunId, task: TaskId, attempt: Attempt) -> MessageId {
    let mut name = [0_u8; 8];
    name[..4].copy_from_slice(&task.get().to_be_bytes());
    name[4..].copy_from_slice(&attempt.get().to_be_bytes());
    MessageId::from_uuid(Uuid::new_v5(&run.as_uuid(), &name))
}

impl TaskMessage {
    /// The value of the header `coditect-kind`.
    const KIND: &'static str = "task";
    /// The same for a task that its plan says is irreversible: whoever does not know of that rejects it.
    const IRREVERSIBLE: &'static str = "irreversible-task";

    /// Says whether an envelope says that it is a task.
    pub(crate) fn is_in(envelope: &Envelope) -> bool {
        matches!(envelope.header(KIND), Some(Self::KIND | Self::IRREVERSIBLE))
    }

    pub(crate) fn into_envelope(self) -> Envelope {
        let irreversible = self.effect.is_some_and(EffectClass::is_irreversible);
        let kind = if irreversible {
            Self::IRREVERSIBLE
        } else {
            Self::KIND
        };
        let mut envelope = Envelope::new(self.input)
            .with_id(message_id(self.run, self.task, self.attempt))
            .with_content_type(ContentType::JSON)
            .with_priority(self.priority)
            .with_idempotency_key(format!("{}/{}", self.run, self.task))
            .with_reply_to(self.outcomes)
            .with_header(KIND, kind)
            .with_header(RUN, self.run.to_string())
            .with_header(TASK, self.task.to_string())
            .with_header(ATTEMPT, self.attempt.to_string())
            .with_header(KEY, self.key.to_string())
            .with_header(TENANT, self.tenant.to_string())
            .with_header(REQUIREMENT, self.requirement.to_string())
            .with_header(DEPTH, self.depth.to_string());
        if self.times_opened > 0 {
            envelope = envelope.with_header(OPENED, self.times_opened.to_string());
        }
        if let Some(effect) = self.effect {
            envelope = envelope.with_header(EFFECT, effect.name());
        }
        // One beyond what a reader can count to is none.
        let timeout = self
            .timeout
            .map(|timeout| u64::try_from(timeout.as_millis()));
        if let Some(Ok(timeout)) = timeout {
            envelope = envelope.with_header(TIMEOUT, timeout.to_string());
        }
        if let Some(deadline) = self.deadline {
            envelope = envelope
                .with_header(DEADLINE, deadline.as_millis().to_string())
                .with_expires_at(deadline.into());
        }
        if let Some(avoid) = self.avoid {
            envelope = envelope.with_header(AVOID, avoid);
        }
        if let Some(agent) = self.agent {
            envelope = envelope.with_header(AGENT, agent.to_string());
        }
        if let Some(occasion) = self.occasion {
            envelope = envelope
                .with_header(SCHEDULE, occasion.schedule.to_string())
                .with_header(NOMINAL, occasion.nominal.as_millis().to_string());
        }
        with_trace(envelope, self.trace.as_ref())
    }

    /// Says whether somebody else is to do it.
    pub(crate) fn avoids(&self, by: &Performer) -> bool {
        if self.agent.as_ref().is_some_and(|agent| *agent != by.agent) {
            return true;
        }
        names(self.avoid.as_deref(), by)
    }

    /// Reads a task; what is wrong with it is the reason to reject it.
    pub(crate) fn read(envelope: &Envelope) -> Result<Self, Error> {
        let effect = match envelope.header(KIND) {
            Some(Self::IRREVERSIBLE) => Some(EffectClass::Irreversible),
            _ => optional(envelope, EFFECT)?,
        };
        Ok(Self {
            run: required(envelope, RUN)?,
            task: TaskId::new(required(envelope, TASK)?),
            attempt: Attempt::new(required(envelope, ATTEMPT)?),
            times_opened: optional(envelope, OPENED)?.unwrap_or(0),
            outcomes: envelope
                .reply_to()
                .cloned()
                .ok_or_else(|| Error::invalid("a task must say where its outcome goes"))?,
            key: required::<String>(envelope, KEY)?.into(),
            tenant: required::<String>(envelope, TENANT)?.into(),
            requirement: required(envelope, REQUIREMENT)?,
            priority: envelope.priority(),
            timeout: optional(envelope, TIMEOUT)?.map(Duration::from_millis),
            deadline: optional(envelope, DEADLINE)?.map(Timestamp::from_millis),
            depth: optional(envelope, DEPTH)?.unwrap_or(0),
            avoid: envelope.header(AVOID).map(str::to_owned),
            agent: agent_of(envelope)?,
            occasion: match optional::<String>(envelope, SCHEDULE)? {
                Some(schedule) => Some(Occasion {
                    schedule: schedule.into(),
                    nominal: Timestamp::from_millis(required(envelope, NOMINAL)?),
                }),
                None => None,
            },
            effect,
            trace: trace_of(envelope),
            input: envelope.payload().clone(),
        })
    }
}

/// Says in the place of an answer that an instance has not begun with a request and never will; the value of the header
/// `coditect-kind`.
const RETURNED: &str = "release";

/// Gives a request back that was routed to one instance.
pub(crate) fn returned(correlation: Option<CorrelationId>) -> Envelope {
    let returned = Envelope::new("{}")
        .with_content_type(ContentType::JSON)
        .with_header(KIND, RETURNED);
    match correlation {
        Some(correlation) => returned.with_correlation_id(correlation),
        None => returned,
    }
}

/// Says whether what came for an answer gives the request back.
pub(crate) fn is_returned(envelope: &Envelope) -> bool {
    envelope.header(KIND) == Some(RETURNED)
}

/// Says whether a request is for somebody else.
pub(crate) fn request_avoids(envelope: &Envelope, by: &Performer) -> bool {
    names(envelope.header(AVOID), by)
}

fn names(avoided: Option<&str>, by: &Performer) -> bool {
    avoided.is_some_and(|avoided| avoided.split(',').any(|one| one == by.to_string()))
}

/// A question outside of runs; whoever asks it adds where to reply to and until when.
pub(crate) fn request(
    input: Bytes,
    requirement: &Requirement,
    priority: Priority,
    trace: Option<&TraceContext>,
) -> Envelope {
    let envelope = Envelope::new(input)
        .with_content_type(ContentType::JSON)
        .with_priority(priority)
        .with_header(KIND, "request")
        .with_header(REQUIREMENT, requirement.to_string());
    with_trace(envelope, trace)
}
