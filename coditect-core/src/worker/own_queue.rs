//! The queue of one instance: tasks and requests that were routed to it, and probes.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{
    Consumer, Delivery, Destination, ErrorKind, QueueName, QueueSpec, Subscription,
};
use tokio::time::{Instant, sleep_until, timeout};

use super::Worker;
use super::breaker::Refused;
use super::consume::{PATIENCE, RESUBSCRIBE, handle, settle};
use super::hosted::{Hosted, Slot};
use crate::error::Error;
use crate::wire::{self, AttemptId, Said, TaskMessage};

/// How many deliveries are held beyond twice what an owner may send, so that a probe gets through to a busy agent.
const SPARE: usize = 64;
/// How long the answer to a probe may take to be sent; whoever asked has long given up.
const LATE: Duration = Duration::from_secs(1);

/// Subscribes an agent to a queue that is its own.
pub(super) async fn start(worker: &Arc<Worker>, hosted: &Arc<Hosted>) -> Result<(), Error> {
    let queue = wire::own_queue(&hosted.id, worker.incarnation)?;
    let consumer = subscribe(worker, hosted, &queue).await?;
    hosted.set_own_queue(queue.clone());
    let own = OwnQueue {
        worker: Arc::clone(worker),
        hosted: Arc::clone(hosted),
        queue,
        waiting: VecDeque::new(),
    };
    worker.tracker.spawn(own.consume(consumer));
    Ok(())
}

async fn subscribe(
    worker: &Worker,
    hosted: &Hosted,
    queue: &QueueName,
) -> Result<Consumer, coditect_bus::Error> {
    let bus = &worker.services.ports.bus;
    bus.declare(QueueSpec::temporary(queue.clone())).await?;
    let room = hosted.card.concurrency().saturating_mul(2);
    let prefetch = NonZeroUsize::MIN.saturating_add(room.saturating_add(SPARE));
    let subscription = Subscription::queue(queue.clone()).with_prefetch(prefetch);
    bus.subscribe(subscription).await
}

struct OwnQueue {
    worker: Arc<Worker>,
    hosted: Arc<Hosted>,
    queue: QueueName,
    /// Tasks and requests that wait for a slot, and since when.
    waiting: VecDeque<(Instant, Delivery)>,
}

impl OwnQueue {
    /// Takes what comes until everything has ended: whoever takes no more work gives tasks back and answers probes.
    async fn consume(mut self, mut consumer: Consumer) {
        let mut taking = true;
        loop {
            let oldest = self.waiting.front().map(|(since, _)| *since + PATIENCE);
            tokio::select! {
                biased;
                () = self.worker.attempts_ended() => return,
                () = self.hosted.standing.taking().cancelled(), if taking => {
                    taking = false;
                    for (_, delivery) in std::mem::take(&mut self.waiting) {
                        give_back(&self.worker, delivery).await;
                    }
                }
                slot = self.hosted.slot(), if !self.waiting.is_empty() => {
                    if let Some(delivery) = self.next() {
                        self.begin(delivery, slot).await;
                    }
                }
                delivery = consumer.recv() => match delivery {
                    Some(probe) if is_probe(&probe) => answer(&self.worker, probe).await,
                    Some(delivery) if taking && self.is_let_through(&delivery) => {
                        self.waiting.push_back((Instant::now(), delivery));
                    }
                    Some(delivery) => give_back(&self.worker, delivery).await,
                    None => match self.resubscribe().await {
                        Some(again) => consumer = again,
                        None => return,
                    },
                },
                () = reached(oldest) => {
                    if let Some((_, delivery)) = self.waiting.pop_front() {
                        give_back(&self.worker, delivery).await;
                    }
                }
            }
        }
    }

    /// The most urgent of those that wait, and of these the first.
    fn next(&mut self) -> Option<Delivery> {
        let urgency = |(_, delivery): &(Instant, Delivery)| delivery.envelope().priority().index();
        let waiting = self.waiting.iter().map(urgency).enumerate();
        let (index, _) = waiting.min_by_key(|(_, urgency)| *urgency)?;
        self.waiting.remove(index).map(|(_, delivery)| delivery)
    }

    /// Begins with a task, unless calls of its capability are held back now: then it goes elsewhere.
    async fn begin(&self, delivery: Delivery, mut slot: Slot) {
        let capability = self.capability_of(&delivery);
        let leave = capability.map(|capability| self.hosted.guard(capability).leave());
        match leave {
            Some(Err(Refused)) => give_back(&self.worker, delivery).await,
            Some(Ok(leave)) => {
                slot.put_leave(leave);
                self.spawn(delivery, slot);
            }
            // Not for this agent, or not readable, which the handler says.
            None => self.spawn(delivery, slot),
        }
    }

    fn spawn(&self, delivery: Delivery, slot: Slot) {
        let worker = Arc::clone(&self.worker);
        let attempts = worker.attempts.clone();
        attempts.spawn(async move { handle(worker, delivery, slot).await });
    }

    fn is_let_through(&self, delivery: &Delivery) -> bool {
        let capability = self.capability_of(delivery);
        capability.is_none_or(|capability| self.hosted.guard(capability).admits())
    }

    fn capability_of(&self, delivery: &Delivery) -> Option<usize> {
        let requirement = wire::requirement_of(delivery.envelope()).ok().flatten()?;
        self.hosted.capability_for(&requirement)
    }

    async fn resubscribe(&self) -> Option<Consumer> {
        loop {
            tokio::select! {
                biased;
                () = self.worker.attempts_ended() => return None,
                () = tokio::time::sleep(RESUBSCRIBE) => {}
            }
            match subscribe(&self.worker, &self.hosted, &self.queue).await {
                Ok(consumer) => {
                    self.worker.tell_anew(&self.queue, None).await;
                    return Some(consumer);
                }
                Err(error) if error.kind() == ErrorKind::Closed => return None,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(queue = %self.queue, error, "cannot subscribe; trying again");
                }
            }
        }
    }
}

fn is_probe(delivery: &Delivery) -> bool {
    delivery.envelope().header(wire::KIND) == Some(wire::PROBE)
}

/// Answers a probe. A busy agent is alive, so that no slot is needed.
async fn answer(worker: &Worker, probe: Delivery) {
    let envelope = probe.envelope();
    if let Some(to) = envelope.reply_to().cloned() {
        let correlation = envelope.correlation_id().cloned();
        let to = Destination::Queue(to);
        let sent = worker
            .services
            .ports
            .bus
            .publish(&to, wire::alive(correlation));
        // An answer that cannot be sent is none, which is what the asker finds.
        let _ = timeout(LATE, sent).await;
    }
    settle(probe.ack()).await;
}

/// Tells who asked for what was routed here that it goes elsewhere, and lets it go.
async fn give_back(worker: &Worker, delivery: Delivery) {
    if delivery.envelope().header(wire::KIND) == Some("request") {
        return return_request(worker, delivery).await;
    }
    let Ok(message) = TaskMessage::read(delivery.envelope()) else {
        let reason = "only tasks, requests and probes belong into the queue of one instance";
        return settle(delivery.reject(reason)).await;
    };
    let attempt = AttemptId {
        run: message.run,
        task: message.task,
        attempt: message.attempt,
    };
    if worker.release(&message.outcomes, attempt).await {
        settle(delivery.ack()).await;
    } else {
        settle(delivery.nack(RESUBSCRIBE)).await;
    }
}

async fn return_request(worker: &Worker, delivery: Delivery) {
    let envelope = delivery.envelope();
    let Some(asker) = envelope.reply_to().cloned() else {
        return settle(delivery.reject("a request must say where to reply to")).await;
    };
    let returned = wire::returned(envelope.correlation_id().cloned());
    let bus = &worker.services.ports.bus;
    match bus.publish(&Destination::Queue(asker), returned).await {
        Ok(()) => settle(delivery.ack()).await,
        // Nobody waits for it any more.
        Err(error) if error.kind() == ErrorKind::NoRoute => settle(delivery.ack()).await,
        Err(_) => settle(delivery.nack(RESUBSCRIBE)).await,
    }
}

impl Worker {
    /// Tells the owner of an attempt that it is not held here; says whether the bus has taken that.
    pub(super) async fn release(&self, owner: &QueueName, attempt: AttemptId) -> bool {
        let Ok(release) = self.holding(vec![attempt]).to_envelope(Said::Release) else {
            return false;
        };
        let to = Destination::Queue(owner.clone());
        self.services.ports.bus.publish(&to, release).await.is_ok()
    }
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
