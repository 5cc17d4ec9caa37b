//! Tasks and requests that come over the bus.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{Consumer, Delivery, ErrorKind, QueueName, QueueSpec, Subscription};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::breaker::Guard;
use super::hosted::{Hosted, Slot};
use super::offer::Offer;
use super::pass_on::give_up_waiting;
use super::request::request;
use super::stand_in::{stand_in, subscription};
use super::task::task;
use crate::error::Error;
use crate::wire::{self, TaskMessage};

/// How long a worker waits before it subscribes again to a queue that ended under it.
pub(super) const RESUBSCRIBE: Duration = Duration::from_millis(200);
/// How long what was delivered may wait for a slot: then another agent may have one for it, and where none has, it
/// comes back.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Subscribes an agent to the queue of one of its capabilities.
pub(super) async fn start(
    worker: &Arc<Worker>,
    hosted: &Arc<Hosted>,
    capability: usize,
) -> Result<(), Error> {
    let queue = wire::queue_of(&hosted.capabilities[capability])?;
    let bus = &worker.services.ports.bus;
    let now = worker.services.ports.clock.now();
    let before = bus.stats(&queue).await;
    let is_anew = before.is_err_and(|error| error.kind() == ErrorKind::NoRoute);
    bus.declare(QueueSpec::new(queue.clone())).await?;
    let consumer = bus.subscribe(subscription(&queue, hosted)).await?;
    if is_anew {
        worker.tell_anew(&queue, Some(now)).await;
    }
    let offer = Offer {
        hosted: Arc::clone(hosted),
        capability,
    };
    let stop = hosted.standing.taking().clone();
    let stands_in = stand_in(Arc::clone(worker), offer.clone(), queue.clone());
    worker.tracker.spawn(stands_in);
    let consumes = consume(Arc::clone(worker), offer, queue, consumer, stop);
    worker.tracker.spawn(consumes);
    Ok(())
}

/// Takes tasks and requests until it is told to stop.
///
/// While the agent's breaker holds calls back, no more is fetched than may probe it, so that the rest is there for others.
pub(super) async fn consume(
    worker: Arc<Worker>,
    offer: Offer,
    queue: QueueName,
    mut consumer: Consumer,
    stop: CancellationToken,
) {
    let Offer { hosted, capability } = offer;
    let guard = hosted.guard(capability);
    let (mut narrow, mut width) = (false, hosted.width());
    let mut room = room(&hosted, guard, narrow);
    let patience = match worker.services.ports.bus.capabilities().max_hold {
        Some(longest) => PATIENCE.min(longest / 4),
        None => PATIENCE,
    };
    loop {
        let wanted = (guard.is_tripped(), hosted.width());
        if wanted != (narrow, width) {
            match worker.fetch(&queue, &hosted, guard, wanted.0).await {
                // What waited in the former one goes back to the queue.
                Ok(other) => {
                    (consumer, (narrow, width)) = (other, wanted);
                    room = self::room(&hosted, guard, narrow);
                }
                Err(error) if error.kind() == ErrorKind::Closed => return,
                Err(error) => {
                    tracing::warn!(
                        %queue,
                        error = &error as &dyn std::error::Error,
                        "cannot subscribe for more or less; trying again"
                    );
                    let pause = tokio::time::sleep(RESUBSCRIBE);
                    if stop.run_until_cancelled(pause).await.is_none() {
                        return;
                    }
                }
            }
            continue;
        }
        // What waits in the consumer is chosen from when there is a slot, so that the most urgent gets it.
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = guard.turned(!narrow) => continue,
            () = hosted.widened(width) => continue,
            () = hosted.has_slot(capability) => {}
            () = tokio::time::sleep(patience) => {
                // All at once, before the first comes back.
                let waiting: Vec<_> = std::iter::from_fn(|| consumer.try_recv()).collect();
                for delivery in waiting {
                    give_up_waiting(&worker, delivery).await;
                }
                continue;
            }
        }
        let delivery = match consumer.try_recv() {
            Some(delivery) => Some(delivery),
            None => {
                let nothing_waits = async {
                    let _room = room.acquire().await;
                    let _idle = hosted.lull(capability).begin();
                    std::future::pending().await
                };
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = guard.turned(!narrow) => continue,
                    () = hosted.widened(width) => continue,
                    // What is taken now is for somebody who wants it.
                    () = hosted.standing.closed() => continue,
                    delivery = consumer.recv() => delivery,
                    never = nothing_waits => never,
                }
            }
        };
        let Some(delivery) = delivery else {
            let _idle = hosted.lull(capability).begin();
            let subscription = bounded(&queue, &hosted, guard, narrow);
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
            slot = hosted.work(capability) => slot,
            () = tokio::time::sleep(patience) => {
                give_up_waiting(&worker, delivery).await;
                continue;
            }
        };
        let worker = Arc::clone(&worker);
        let attempts = worker.attempts.clone();
        let settled = Arc::clone(&room).try_acquire_owned();
        attempts.spawn(async move {
            handle(worker, delivery, slot).await;
            drop(settled);
        });
    }
}

/// As many deliveries as the agent has slots and one, or no more than may probe it.
fn bounded(queue: &QueueName, hosted: &Hosted, guard: &Guard, narrow: bool) -> Subscription {
    let wide = subscription(queue, hosted);
    match probes(guard) {
        Some(probes) if narrow => wide.with_prefetch(probes),
        _ => wide,
    }
}

/// As many as it is delivered at once: while there is none, more may wait for what is being settled.
fn room(hosted: &Hosted, guard: &Guard, narrow: bool) -> Arc<Semaphore> {
    let room = match probes(guard) {
        Some(probes) if narrow => probes.get(),
        _ => hosted.width().saturating_add(1),
    };
    Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS)))
}

fn probes(guard: &Guard) -> Option<NonZeroUsize> {
    NonZeroUsize::new(guard.probes() as usize)
}

impl Worker {
    async fn fetch(
        &self,
        queue: &QueueName,
        hosted: &Hosted,
        guard: &Guard,
        narrow: bool,
    ) -> Result<Consumer, coditect_bus::Error> {
        let bus = &self.services.ports.bus;
        bus.subscribe(bounded(queue, hosted, guard, narrow)).await
    }
}

/// Subscribes again after the stream has ended; none if the worker stops or the bus is closed.
async fn resubscribe(
    worker: &Arc<Worker>,
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
            Ok(consumer) => {
                // Only the end of its queue ends a subscription.
                stop.run_until_cancelled(worker.tell_anew(queue, None))
                    .await?;
                return Some(consumer);
            }
            Err(error) if error.kind() == ErrorKind::Closed => return None,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%queue, error, "cannot subscribe; trying again");
            }
        }
    }
}

pub(super) async fn handle(worker: Arc<Worker>, delivery: Delivery, slot: Slot) {
    match delivery.envelope().header(wire::KIND) {
        _ if TaskMessage::is_in(delivery.envelope()) => task(worker, delivery, slot).await,
        Some("request") => request(worker, delivery, slot).await,
        other => {
            let reason = format!("an envelope of kind {other:?} does not belong into this queue");
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
