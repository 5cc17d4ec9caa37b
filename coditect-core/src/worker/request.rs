//! Requests, which belong to no run: those that come over the bus, and the handler of any.

use std::sync::Arc;

use coditect_bus::Delivery;
use coditect_dag::{Attempt, TaskId};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::Worker;
use super::attempt::{Bounds, Ended, attempt};
use super::consume::settle;
use super::hosted::{Hosted, Slot};
use super::pass_on::pass_on;
use super::report::reply;
use crate::context::{ContextParts, RunScope, ScopeFields, TaskContext};
use crate::failure::{Failure, FailureKind};
use crate::wire;

/// Answers a request that was made outside of runs.
pub(super) async fn request(worker: Arc<Worker>, delivery: Delivery, slot: Slot) {
    let envelope = delivery.envelope();
    let Some(reply_to) = envelope.reply_to().cloned() else {
        return settle(delivery.reject("a request must say where to reply to")).await;
    };
    let addressed = wire::requirement_of(envelope)
        .and_then(|requirement| Ok((requirement, wire::agent_of(envelope)?)));
    let (requirement, agent) = match addressed {
        Ok(addressed) => addressed,
        Err(error) => return settle(delivery.reject(error.with_causes())).await,
    };
    let hosted = slot.hosted();
    let offers = requirement.as_ref().is_none_or(|it| {
        let by = hosted.performer(it);
        by.is_some_and(|by| !wire::request_avoids(envelope, &by))
    });
    if !offers || agent.is_some_and(|agent| agent != hosted.id) {
        return pass_on(&worker, delivery).await;
    }
    let correlation = envelope.correlation_id().cloned();
    let deadline = envelope.expires_at().map(Into::into);
    let input = envelope.payload().clone();
    let trace = wire::trace_of(envelope);
    // Fires with the loss of the delivery, when nobody waits for the answer any more, and with everything else when this process
    // ends.
    let token = delivery.lost().child_token();
    let Some(enrolled) = worker.running.request(envelope.id(), token) else {
        return settle(delivery.ack()).await;
    };
    let hosted = Arc::clone(slot.hosted());
    let mut ended = respond(
        &worker,
        &hosted,
        Question {
            input,
            trace,
            deadline,
            token: enrolled.token.clone(),
            slot,
        },
    )
    .await;
    if let (Ended::Failed { failure, .. }, Some(requirement)) = (&mut ended, requirement) {
        failure.by = hosted.performer(&requirement);
    }
    let bus = &*worker.services.ports.bus;
    if !reply(bus, reply_to, correlation, ended).await {
        tracing::debug!(agent = %hosted.id, "nobody waits for an answer any more");
    }
    settle(delivery.ack()).await;
}

/// A request, wherever it came from.
pub(super) struct Question {
    pub(super) input: bytes::Bytes,
    pub(super) trace: Option<coditect_telemetry::TraceContext>,
    pub(super) deadline: Option<coditect_dag::Timestamp>,
    pub(super) token: CancellationToken,
    pub(super) slot: Slot,
}

/// Runs the handler for a request.
pub(super) async fn respond(
    worker: &Worker,
    hosted: &Arc<Hosted>,
    mut question: Question,
) -> Ended {
    if hosted.card.effect().is_irreversible() {
        let text =
            "it is irreversible, and of a mere request nothing is kept: submit a run instead";
        return Ended::failed(Failure::new(FailureKind::Permanent, text));
    }
    let services = &worker.services;
    let bounds = Bounds {
        timeout: hosted.card.timeout(),
        deadline: question.deadline.map(|at| services.ports.clock.instant(at)),
        ..worker.bounds()
    };
    let span = tracing::info_span!("request", agent = %hosted.id);
    if let (false, Some(trace)) = (span.is_disabled(), &question.trace) {
        trace.attach(&span);
    }
    let (leave, meter) = question.slot.begin();
    let context = TaskContext::new(ContextParts {
        scope: RunScope::new(ScopeFields {
            run: None,
            tenant: Arc::clone(&worker.default_tenant),
            trace: question.trace,
            depth: 0,
            occasion: None,
        }),
        task: TaskId::new(0),
        attempt: Attempt::FIRST,
        times_opened: 0,
        key: hosted.id.as_str().into(),
        deadline: question.deadline,
        token: question.token,
        services: Arc::clone(services),
        siblings: None,
        slot: question.slot,
        counted: None,
        meter,
    });
    let attempted = attempt(hosted, &context, question.input, bounds, leave)
        .instrument(span)
        .await;
    drop(context.release_slot());
    attempted.ended
}
