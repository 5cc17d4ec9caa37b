//! Tasks and requests that come over the bus.

use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{Consumer, Delivery, Destination, QueueName, QueueSpec, Subscription};
use coditect_dag::{Attempt, TaskId};
use coditect_registry::Capability;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::attempt::{Bounds, Ended, attempt};
use super::hosted::{Hosted, Slot};
use super::local::attempt_span;
use super::report::{publish_outcome, reply};
use super::stand_in::{stand_in, subscription};
use super::{Enrolled, Worker};
use crate::context::{ContextParts, RunScope, ScopeFields, TaskContext};
use crate::error::Error;
use crate::wire::{self, Control, Outcome, Stop, TaskMessage};

/// How long a worker waits before it subscribes again to a queue that ended under it.
const RESUBSCRIBE: Duration = Duration::from_millis(200);
/// When a task comes back to a queue for which this agent's version was not right.
const OTHER_VERSION: Duration = Duration::from_millis(50);

/// Subscribes an agent to the queue of one of its capabilities.
pub(super) async fn start(
    worker: &Arc<Worker>,
    hosted: &Arc<Hosted>,
    capability: &Capability,
) -> Result<(), Error> {
    let queue = wire::queue_of(capability)?;
    worker
        .services
        .ports
        .bus
        .declare(QueueSpec::new(queue.clone()))
        .await?;
    let subscription = subscription(&queue, hosted);
    let consumer = worker.services.ports.bus.subscribe(subscription).await?;
    let (worker, hosted) = (Arc::clone(worker), Arc::clone(hosted));
    let tracker = worker.tracker.clone();
    let stop = worker.stop.clone();
    tracker.spawn(stand_in(
        Arc::clone(&worker),
        Arc::clone(&hosted),
        queue.clone(),
    ));
    tracker.spawn(async move { consume(worker, hosted, queue, consumer, stop).await });
    Ok(())
}

/// Takes tasks and requests until it is told to stop.
pub(super) async fn consume(
    worker: Arc<Worker>,
    hosted: Arc<Hosted>,
    queue: QueueName,
    mut consumer: Consumer,
    stop: CancellationToken,
) {
    loop {
        let delivery = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            delivery = consumer.recv() => delivery,
        };
        let Some(delivery) = delivery else {
            let subscription = subscription(&queue, &hosted);
            match resubscribe(&worker, &queue, subscription, &stop).await {
                Some(again) => consumer = again,
                None => return,
            }
            continue;
        };
        // What waits here goes back to the queue when it stops.
        let slot = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            slot = hosted.slot() => slot,
        };
        let worker = Arc::clone(&worker);
        let attempts = worker.attempts.clone();
        attempts.spawn(async move { handle(worker, delivery, slot).await });
    }
}

/// Subscribes again after the stream has ended; none if the worker stops or the bus is closed.
async fn resubscribe(
    worker: &Worker,
    queue: &QueueName,
    subscription: Subscription,
    stop: &CancellationToken,
) -> Option<Consumer> {
    tracing::warn!(%queue, "the subscription ended; subscribing again");
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(RESUBSCRIBE) => {}
        }
        let bus = &worker.services.ports.bus;
        let declared = bus.declare(QueueSpec::new(queue.clone())).await;
        let subscribed = match declared {
            Ok(()) => bus.subscribe(subscription.clone()).await,
            Err(error) => Err(error),
        };
        match subscribed {
            Ok(consumer) => return Some(consumer),
            Err(error) if error.kind() == coditect_bus::ErrorKind::Closed => return None,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%queue, error, "cannot subscribe; trying again");
            }
        }
    }
}

async fn handle(worker: Arc<Worker>, delivery: Delivery, slot: Slot) {
    match delivery.envelope().header(wire::KIND) {
        Some("task") => task(worker, delivery, slot).await,
        Some("request") => request(worker, delivery, slot).await,
        other => {
            let reason = format!("an envelope of kind {other:?} does not belong into this queue");
            settle(delivery.reject(reason)).await;
        }
    }
}

async fn task(worker: Arc<Worker>, delivery: Delivery, slot: Slot) {
    let message = match TaskMessage::read(delivery.envelope()) {
        Ok(message) => message,
        Err(error) => {
            tracing::warn!(queue = %delivery.queue(), %error, "an unreadable task was set aside");
            return settle(delivery.reject(error.to_string())).await;
        }
    };
    if !slot.hosted().offers(&message.requirement) {
        return pass_on(&worker, delivery).await;
    }
    let clock = &worker.services.ports.clock;
    if message
        .deadline
        .is_some_and(|deadline| deadline <= clock.now())
    {
        // The owner's own timer has ended the task, or is about to.
        return settle(delivery.ack()).await;
    }
    let hosted = Arc::clone(slot.hosted());
    let name = Stop {
        run: message.run,
        task: message.task,
        attempt: message.attempt,
    };
    let enrolled: Enrolled = worker.enrol(name, &delivery);
    let span = attempt_span(&hosted.id, message.run, &message.key, message.attempt);
    if let (false, Some(trace)) = (span.is_disabled(), &message.trace) {
        trace.attach(&span);
    }
    let bounds = Bounds {
        timeout: message.timeout.or(hosted.card.timeout()),
        deadline: message.deadline.map(|at| clock.instant(at)),
        ..worker.bounds()
    };
    let context = TaskContext::new(ContextParts {
        scope: RunScope::new(ScopeFields {
            run: Some(message.run),
            tenant: message.tenant,
            trace: message.trace,
            depth: message.depth,
        }),
        task: message.task,
        attempt: message.attempt,
        key: message.key,
        deadline: message.deadline,
        token: enrolled.token.clone(),
        services: Arc::clone(&worker.services),
        siblings: None,
        slot,
    });
    let ended = attempt(&hosted, &context, message.input, bounds)
        .instrument(span)
        .await;
    drop(context.release_slot());
    if delivery.is_lost() {
        // The task is being delivered again; what a handler says that was told to stop is no outcome.
        return;
    }
    let outcome = Outcome {
        run: name.run,
        task: name.task,
        attempt: name.attempt,
        ended,
    };
    if publish_outcome(&*worker.services.ports.bus, message.partition, outcome).await {
        settle(delivery.ack()).await;
    } else {
        settle(delivery.nack(RESUBSCRIBE)).await;
    }
}

/// Leaves a task to a consumer of another version.
///
/// It is published anew, under its own id: every giving back counts as a delivery, and a task that only
/// busy agents can do would soon be set aside.
async fn pass_on(worker: &Worker, delivery: Delivery) {
    let to = Destination::Queue(delivery.queue().clone());
    // Spread by their ids, tasks come back one by one and not all to the consumer that is first in line.
    let spread = delivery.envelope().id().as_uuid().as_u128() % OTHER_VERSION.as_millis();
    let spread = Duration::from_millis(u64::try_from(spread).unwrap_or_default());
    let again = delivery.envelope().clone();
    let again = again.with_delay(OTHER_VERSION + spread);
    match worker.services.ports.bus.publish(&to, again).await {
        Ok(()) => settle(delivery.ack()).await,
        Err(_) => settle(delivery.nack(OTHER_VERSION)).await,
    }
}

/// Answers a request that was made outside of runs.
async fn request(worker: Arc<Worker>, delivery: Delivery, slot: Slot) {
    let envelope = delivery.envelope();
    let Some(reply_to) = envelope.reply_to().cloned() else {
        return settle(delivery.reject("a request must say where to reply to")).await;
    };
    let correlation = envelope.correlation_id().cloned();
    let deadline = envelope.expires_at().map(Into::into);
    let input = envelope.payload().clone();
    let trace = wire::trace_of(envelope);
    let tenant = envelope.header(wire::TENANT).unwrap_or("default").into();
    let token = delivery.lost().child_token();
    let hosted = Arc::clone(slot.hosted());
    let ended = respond(
        &worker,
        &hosted,
        Question {
            input,
            tenant,
            trace,
            deadline,
            token,
            slot,
        },
    )
    .await;
    let bus = &*worker.services.ports.bus;
    if !reply(bus, reply_to, correlation, ended).await {
        tracing::debug!(agent = %hosted.id, "nobody waits for an answer any more");
    }
    settle(delivery.ack()).await;
}

/// A request, wherever it came from.
pub(super) struct Question {
    pub(super) input: bytes::Bytes,
    pub(super) tenant: Arc<str>,
    pub(super) trace: Option<coditect_telemetry::TraceContext>,
    pub(super) deadline: Option<coditect_dag::Timestamp>,
    pub(super) token: CancellationToken,
    pub(super) slot: Slot,
}

/// Runs the handler for a request.
pub(super) async fn respond(worker: &Worker, hosted: &Arc<Hosted>, question: Question) -> Ended {
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
    let context = TaskContext::new(ContextParts {
        scope: RunScope::new(ScopeFields {
            run: None,
            tenant: question.tenant,
            trace: question.trace,
            depth: 0,
        }),
        task: TaskId::new(0),
        attempt: Attempt::FIRST,
        key: hosted.id.as_str().into(),
        deadline: question.deadline,
        token: question.token,
        services: Arc::clone(services),
        siblings: None,
        slot: question.slot,
    });
    let ended = attempt(hosted, &context, question.input, bounds)
        .instrument(span)
        .await;
    drop(context.release_slot());
    ended
}

/// Listens for what coordinators want stopped.
pub(super) async fn start_control(worker: &Arc<Worker>) -> Result<(), Error> {
    let fanout = wire::control_fanout()?;
    let bus = Arc::clone(&worker.services.ports.bus);
    let mut consumer = bus.subscribe(Subscription::fanout(fanout.clone())).await?;
    let listener = Arc::clone(worker);
    worker.tracker.spawn(async move {
        loop {
            let delivery = tokio::select! {
                biased;
                () = listener.stop.cancelled() => return,
                delivery = consumer.recv() => delivery,
            };
            let Some(delivery) = delivery else {
                let subscription = Subscription::fanout(fanout.clone());
                tokio::time::sleep(RESUBSCRIBE).await;
                match bus.subscribe(subscription).await {
                    Ok(again) => consumer = again,
                    Err(error) if error.kind() == coditect_bus::ErrorKind::Closed => return,
                    Err(_) => {}
                }
                continue;
            };
            match Control::read(delivery.envelope()) {
                Ok(control) => listener.obey(&control),
                Err(error) => tracing::warn!(%error, "an unreadable control message was dropped"),
            }
            settle(delivery.ack()).await;
        }
    });
    Ok(())
}

/// Settles a delivery; one that was lost meanwhile is delivered again, which is all there is to say.
async fn settle(settling: coditect_bus::Settling) {
    if let Err(error) = settling.await {
        let error = &error as &dyn std::error::Error;
        tracing::debug!(error, "a delivery was lost before it was settled");
    }
}
