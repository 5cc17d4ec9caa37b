//! Tasks and requests that come over the bus.

use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{Consumer, Delivery, QueueName, QueueSpec, Subscription};
use coditect_registry::Capability;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::Worker;
use super::attempt::{Bounds, attempt};
use super::hosted::{Hosted, Slot};
use super::local::attempt_span;
use super::pass_on::pass_on;
use super::report::{Told, publish_outcome};
use super::request::request;
use super::running::AttemptName;
use super::stand_in::{stand_in, subscription};
use crate::context::{ContextParts, RunScope, ScopeFields, TaskContext};
use crate::error::Error;
use crate::wire::{self, Outcome, Stop, TaskMessage};

/// How long a worker waits before it subscribes again to a queue that ended under it.
pub(super) const RESUBSCRIBE: Duration = Duration::from_millis(200);

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
    let name = AttemptName {
        owner: message.outcomes,
        attempt: Stop {
            run: message.run,
            task: message.task,
            attempt: message.attempt,
        },
    };
    if worker.running.is_stopped(&name) {
        return settle(delivery.ack()).await;
    }
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
    // A child fires with the loss of the delivery, and alone when somebody stops the attempt.
    let token = delivery.lost().child_token();
    let Some(enrolled) = worker.running.attempt(name.clone(), token) else {
        return settle(delivery.ack()).await;
    };
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
    let attempted = attempt(&hosted, &context, message.input, bounds)
        .instrument(span)
        .await;
    drop(context.release_slot());
    if delivery.is_lost() {
        // The task is being delivered again; what a handler says that was told to stop is no outcome.
        return;
    }
    let running = &worker.running;
    if attempted.was_given_up() && running.is_halted() && !running.is_stopped(&name) {
        // The end of this process is no failure of the task, which goes on elsewhere.
        return settle(delivery.nack(Duration::ZERO)).await;
    }
    let outcome = Outcome {
        run: message.run,
        task: message.task,
        attempt: message.attempt,
        ended: attempted.ended,
    };
    match publish_outcome(&*worker.services.ports.bus, &name.owner, outcome).await {
        Told::Confirmed => settle(delivery.ack()).await,
        Told::NotNow => settle(delivery.nack(RESUBSCRIBE)).await,
        Told::NobodyAsks => {
            let reason = format!(
                "nobody takes its outcome: the queue `{}` is gone",
                name.owner
            );
            settle(delivery.reject(reason)).await;
        }
    }
}

/// Settles a delivery; one that was lost meanwhile is delivered again, which is all there is to say.
pub(super) async fn settle(settling: coditect_bus::Settling) {
    if let Err(error) = settling.await {
        let error = &error as &dyn std::error::Error;
        tracing::debug!(error, "a delivery was lost before it was settled");
    }
}
