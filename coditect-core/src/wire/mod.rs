//! What crosses the bus: names, headers and bodies, as `docs/wire.md` describes them.

mod absence;
mod control;
mod grant;
mod holding;
mod outcome;
mod probe;
mod task;
#[cfg(test)]
mod tests;

use coditect_bus::{Envelope, FanoutName, QueueName, Topic};
use coditect_dag::RunId;
use coditect_dag::journal::Partition;
use coditect_registry::{
    AgentId, AgentRecord, Capability, CapabilityName, Incarnation, Requirement,
};
use coditect_telemetry::TraceContext;
use semver::Version;

pub(crate) use self::absence::{Absence, Handler, Word};
pub(crate) use self::control::{Anew, AttemptId, Control, Notice, Unwanted};
pub(crate) use self::grant::Grant;
pub(crate) use self::holding::{Echo, Holding, Said};
pub(crate) use self::outcome::{Outcome, ReplyBody, Unreadable};
pub(crate) use self::probe::{PROBE, alive, probe};
pub(crate) use self::task::{
    TaskMessage, is_returned, message_id, request, request_avoids, returned,
};

use crate::error::Error;

/// Says what an envelope is: `task`, `request`, `outcome`, `reply`, `control`, `progress`, `probe`.
pub(crate) const KIND: &str = "coditect-kind";
pub(crate) const RUN: &str = "coditect-run";
pub(crate) const TASK: &str = "coditect-task";
pub(crate) const ATTEMPT: &str = "coditect-attempt";
pub(crate) const KEY: &str = "coditect-key";
pub(crate) const TENANT: &str = "coditect-tenant";
pub(crate) const REQUIREMENT: &str = "coditect-requirement";
pub(crate) const TIMEOUT: &str = "coditect-timeout-ms";
pub(crate) const DEADLINE: &str = "coditect-deadline-ms";
pub(crate) const DEPTH: &str = "coditect-depth";
/// The id of the message, or the attempt, that was set aside and that this one follows.
pub(crate) const REDRIVEN_FROM: &str = "coditect-redriven-from";
/// How often a person has opened a task again.
pub(crate) const OPENED: &str = "coditect-opened";
/// Whom a task is not for, as `agent/capability@version`, separated by commas.
pub(crate) const AVOID: &str = "coditect-avoid";
/// The only agent that a task or a request is for, where that is not any that offers what is required.
pub(crate) const AGENT: &str = "coditect-agent";
pub(crate) const SCHEDULE: &str = "coditect-schedule";
pub(crate) const NOMINAL: &str = "coditect-nominal-ms";
/// What carrying the task out a second time would do, where its plan says so.
pub(crate) const EFFECT: &str = "coditect-effect";
/// How often something was passed on to a consumer of another version.
pub(crate) const ROUNDS: &str = "coditect-rounds";

/// The queue in which tasks wait for agents that offer a version of a capability.
///
/// Versions that are compatible by the rules of semantic versioning share a queue.
pub(crate) fn capability_queue(
    name: &CapabilityName,
    version: &Version,
) -> Result<QueueName, Error> {
    let line = match (version.major, version.minor, version.patch) {
        (0, 0, patch) => format!("0.0.{patch}"),
        (0, minor, _) => format!("0.{minor}"),
        (major, _, _) => major.to_string(),
    };
    Ok(QueueName::for_capability(&format!("{name}.v{line}"))?)
}

/// The queue where an agent that meets a requirement will look first, as far as that can be told
/// while none is known.
pub(crate) fn expected_queue(requirement: &Requirement) -> Result<QueueName, Error> {
    let lowest = requirement.versions.comparators.first().map(|comparator| {
        let (minor, patch) = (comparator.minor.unwrap_or(0), comparator.patch.unwrap_or(0));
        Version::new(comparator.major, minor, patch)
    });
    capability_queue(&requirement.name, &lowest.unwrap_or(Version::new(1, 0, 0)))
}

pub(crate) fn queue_of(capability: &Capability) -> Result<QueueName, Error> {
    capability_queue(&capability.name, &capability.version)
}

/// The queue of one instance of an agent.
pub(crate) fn own_queue(agent: &AgentId, incarnation: Incarnation) -> Result<QueueName, Error> {
    Ok(QueueName::new(format!("agent.{agent}.{incarnation}"))?)
}

/// The queue of one instance, if its record says that it has one.
pub(crate) fn own_queue_of(record: &AgentRecord) -> Option<QueueName> {
    let queue = own_queue(record.agent(), record.incarnation()).ok()?;
    let endpoint = record.endpoint.as_deref()?;
    (endpoint == queue.as_str()).then_some(queue)
}

/// The queue of what workers tell the owner of a partition; `journal` names one that only one process
/// sees, whose partitions are nobody else's.
pub(crate) fn outcome_queue(
    journal: Option<&str>,
    partition: Partition,
) -> Result<QueueName, Error> {
    let partition = partition.get();
    Ok(QueueName::new(match journal {
        None => format!("outcome.{partition}"),
        Some(journal) => format!("outcome.{journal}.{partition}"),
    })?)
}

/// Where a worker listens for what its claims are answered.
pub(crate) fn grant_queue(incarnation: Incarnation) -> Result<QueueName, Error> {
    Ok(QueueName::new(format!("reply.{incarnation}"))?)
}

/// Where every worker listens for what is to be stopped.
pub(crate) fn control_fanout() -> Result<FanoutName, Error> {
    Ok(FanoutName::new("control")?)
}

/// Where the progress of a run's tasks is told.
pub(crate) fn progress_topic(run: RunId) -> Result<Topic, Error> {
    Ok(format!("progress.{run}").parse()?)
}

/// Reads what a request requires, where it says so.
pub(crate) fn requirement_of(envelope: &Envelope) -> Result<Option<Requirement>, Error> {
    optional(envelope, REQUIREMENT)
}

/// Reads which agent alone something is for; none where it is for any.
pub(crate) fn agent_of(envelope: &Envelope) -> Result<Option<AgentId>, Error> {
    optional(envelope, AGENT)
}

/// Reads the trace context of an envelope.
pub(crate) fn trace_of(envelope: &Envelope) -> Option<TraceContext> {
    TraceContext::extract(|name| envelope.header(name))
}

/// Writes a trace context into an envelope.
pub(crate) fn with_trace(mut envelope: Envelope, trace: Option<&TraceContext>) -> Envelope {
    if let Some(trace) = trace {
        let headers = envelope.headers_mut();
        trace.inject(|name, value| {
            headers.insert(name.to_owned(), value);
        });
    }
    envelope
}

/// Reads a header that must be there.
fn required<T: std::str::FromStr>(envelope: &Envelope, name: &str) -> Result<T, Error> {
    let text = envelope
        .header(name)
        .ok_or_else(|| Error::invalid(format!("the envelope has no header `{name}`")))?;
    text.parse()
        .map_err(|_| Error::invalid(format!("the envelope's header `{name}` cannot be read")))
}

/// Reads a header that may be missing.
fn optional<T: std::str::FromStr>(envelope: &Envelope, name: &str) -> Result<Option<T>, Error> {
    match envelope.header(name) {
        None => Ok(None),
        Some(_) => required(envelope, name).map(Some),
    }
}
