//! What all handles, consumers and tasks of a bus share.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::config::RabbitMqBusBuilder;
use super::error;
use super::health::Pulse;
use super::lease::{Leases, Replacement, story_of};
use super::link::Link;
use super::publish::{Publisher, Refusal};
use super::topology::{Route, Topology};
use super::wire::{self, Story};
use crate::queue::QueueBounds;
use crate::{
    DeliveryParts, Destination, Envelope, Error, ErrorKind, Observer, OverflowPolicy, PublishError,
    QueueName,
};

#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: RabbitMqBusBuilder,
    pub(super) topology: Topology,
    pub(super) publisher: Publisher,
    pub(super) publishing: Arc<Link>,
    pub(super) consuming: Arc<Link>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) consumers: Mutex<Vec<Weak<Leases>>>,
    pub(super) pulse: Pulse,
    pub(super) closed: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) runtime: Handle,
}

impl Core {
    pub(super) fn check_open(&self) -> Result<(), Error> {
        if self.closed.is_cancelled() {
            Err(error::closed())
        } else {
            Ok(())
        }
    }

    /// Says that the bus is closed where that is the reason for an error.
    pub(super) fn explain(&self, error: Error) -> Error {
        if self.closed.is_cancelled() && error.kind() != ErrorKind::Closed {
            error::closed()
        } else {
            error
        }
    }

    /// Runs work that outlives the call, and that closing the bus waits for.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(work, &self.runtime);
    }

    /// Returns how often consumers may let a queue's message be delivered. Where this process did not declare the queue, a quorum queue
    /// counts for itself, and a classic one, which cannot, is taken to have the usual limit.
    pub(super) fn max_deliveries(&self, queue: &QueueName) -> Option<u32> {
        if let Some(known) = self.topology.known(queue) {
            return Some(known.spec.max_deliveries().get());
        }
        let usual = QueueBounds::default().max_deliveries.get();
        (!self.topology.counts_deliveries(queue)).then_some(usual)
    }

    // Publishing.

    pub(super) async fn publish(
        &self,
        to: &Destination,
        envelope: Envelope,
    ) -> Result<(), PublishError> {
        let (id, len) = (envelope.id(), envelope.payload().len());
        let result = match self.check(&envelope) {
            Ok(()) => self
                .send(to, &envelope)
                .await
                .map_err(|error| self.explain(error)),
            Err(error) => Err(error),
        };
        if let Some(observer) = &self.observer {
            match &result {
                Ok(()) => observer.published(to, id, len),
                Err(error) => observer.refused(to, error),
            }
        }
        result.map_err(|error| PublishError::new(error, envelope))
    }

    /// Publishes, and waits for room if the queue's policy says so.
    async fn send(&self, to: &Destination, envelope: &Envelope) -> Result<(), Error> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(10);
        loop {
            let Err(error) = self.send_once(to, envelope, &Story::default()).await else {
                return Ok(());
            };
            let patience = self
                .patience(to)
                .filter(|_| error.kind() == ErrorKind::Full);
            let left = patience.and_then(|patience| patience.checked_sub(start.elapsed()));
            let Some(left) = left.filter(|left| !left.is_zero()) else {
                return Err(error);
            };
            tokio::select! {
                () = sleep(pause.min(left)) => {}
                () = self.closed.cancelled() => return Err(error::closed()),
            }
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }

    fn patience(&self, to: &Destination) -> Option<Duration> {
        let Destination::Queue(name) = to else {
            return None;
        };
        match self.topology.known(name)?.spec.overflow() {
            OverflowPolicy::Wait(patience) => Some(patience),
            _ => None,
        }
    }

    pub(super) async fn send_once(
        &self,
        to: &Destination,
        envelope: &Envelope,
        story: &Story,
    ) -> Result<(), Error> {
        let mut is_second_try = false;
        loop {
            let delay = envelope.delay();
            let route = self.topology.route(to, envelope.priority(), delay).await?;
            let properties = wire::properties(envelope, story, None, delay.is_none())?;
            let deadline = self.publisher.deadline();
            let sent =
                self.publisher
                    .publish(route, envelope.payload().clone(), properties, deadline);
            match sent.await {
                Ok(()) => return Ok(()),
                // The queue for its delay may be gone, with a broker that lost its data.
                Err(Refusal::NoRoute) if delay.is_some() && !is_second_try => {
                    self.topology.forget_waits();
                    is_second_try = true;
                }
                Err(refusal) => return Err(Self::refused(to, refusal)),
            }
        }
    }

    fn refused(to: &Destination, refusal: Refusal) -> Error {
        match (refusal, to) {
            (Refusal::NoRoute, _) => error::unroutable(to),
            (Refusal::TooLarge { bytes, limit }, _) => error::too_large("payload", bytes, limit),
            (Refusal::Nacked, Destination::Queue(_)) => error::full(to),
            // Subscribers' queues never refuse, so something is wrong with one of them; the others may have the message.
            (Refusal::Nacked, _) => {
                Error::new(ErrorKind::Unavailable, "broker refused the message")
                    .with_outcome_unknown()
            }
            (Refusal::Failed(failure), _) => (*failure).into(),
        }
    }

    pub(super) async fn publish_batch(
        &self,
        to: &Destination,
        envelopes: Vec<Envelope>,
    ) -> Result<(), PublishError> {
        let mut outcomes: Vec<Option<Error>> = Vec::with_capacity(envelopes.len());
        let mut batch = Vec::with_capacity(envelopes.len());
        for envelope in &envelopes {
            let prepared = match self.check(envelope) {
                Ok(()) => self.prepare(to, envelope).await,
                Err(error) => Err(error),
            };
            outcomes.push(prepared.map(|message| batch.push(message)).err());
        }
        let mut results = self.publisher.publish_many(batch).await.into_iter();
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_none()) {
            // There is a result for each that was prepared.
            if let Some(Err(refusal)) = results.next() {
                *outcome = Some(self.explain(Self::refused(to, refusal)));
            }
        }
        let mut failed = None;
        let mut returned = Vec::new();
        for (envelope, outcome) in envelopes.into_iter().zip(outcomes) {
            let outcome = match outcome {
                // A full queue may want patience, which is the single publish's affair.
                Some(error) if error.kind() == ErrorKind::Full && self.patience(to).is_some() => {
                    self.send(to, &envelope)
                        .await
                        .err()
                        .map(|error| self.explain(error))
                }
                other => other,
            };
            if let Some(observer) = &self.observer {
                match &outcome {
                    None => observer.published(to, envelope.id(), envelope.payload().len()),
                    Some(error) => observer.refused(to, error),
                }
            }
            if let Some(error) = outcome {
                failed.get_or_insert(error);
                returned.push(envelope);
            }
        }
        match failed {
            None => Ok(()),
            Some(error) => Err(PublishError::of_batch(error, returned)),
        }
    }

    async fn prepare(
        &self,
        to: &Destination,
        envelope: &Envelope,
    ) -> Result<(Route, bytes::Bytes, lapin::BasicProperties), Error> {
        let delay = envelope.delay();
        let route = self.topology.route(to, envelope.priority(), delay).await?;
        let properties = wire::properties(envelope, &Story::default(), None, delay.is_none())?;
        Ok((route, envelope.payload().clone(), properties))
    }

    fn check(&self, envelope: &Envelope) -> Result<(), Error> {
        self.check_open()?;
        let (payload, limit) = (envelope.payload().len(), self.config.max_payload);
        if payload > limit {
            return Err(error::too_large("payload", payload, limit));
        }
        let (headers, limit) = (envelope.headers().byte_len(), self.config.max_headers);
        if headers > limit {
            return Err(error::too_large("headers", headers, limit));
        }
        Ok(())
    }

    // What takes the place of a delivery.

    pub(super) async fn put(
        &self,
        queue: &QueueName,
        parts: &DeliveryParts,
        replacement: &Replacement,
    ) -> Result<(), Error> {
        match replacement {
            Replacement::Again(delay) => {
                let story = story_of(parts, parts.redeliveries.saturating_add(1));
                let envelope = parts.envelope.clone().with_delay(*delay);
                self.send_once(&Destination::Queue(queue.clone()), &envelope, &story)
                    .await
            }
            Replacement::Unseen => {
                let story = Story {
                    redeliveries: parts.redeliveries,
                    destination: parts.destination.clone(),
                    first_failed_at: parts.first_failed_at,
                };
                self.send_once(&Destination::Queue(queue.clone()), &parts.envelope, &story)
                    .await
            }
            Replacement::Dead(death) => {
                let story = story_of(parts, parts.redeliveries);
                let properties = wire::properties(&parts.envelope, &story, Some(death), false)?;
                let route = Route {
                    exchange: String::new(),
                    key: self.topology.names.dead_of(queue),
                };
                let (payload, deadline) =
                    (parts.envelope.payload().clone(), self.publisher.deadline());
                let sent = self
                    .publisher
                    .publish(route, payload, properties, deadline)
                    .await;
                sent.map_err(|refusal| Self::refused(&Destination::Queue(queue.clone()), refusal))
            }
        }
    }

    pub(super) fn tell_replaced(
        &self,
        queue: &QueueName,
        parts: &DeliveryParts,
        replacement: &Replacement,
    ) {
        match replacement {
            Replacement::Again(delay) => {
                if let Some(observer) = &self.observer {
                    observer.requeued(queue, &parts.envelope, *delay);
                }
            }
            Replacement::Unseen => {}
            Replacement::Dead(death) => {
                tracing::debug!(%queue, id = %parts.envelope.id(), reason = death.reason.name(), "message dead-lettered");
                if let Some(observer) = &self.observer {
                    observer.dead_lettered(queue, &parts.envelope, &death.reason);
                }
            }
        }
    }

    // Consumers.

    pub(super) fn enlist(&self, leases: &Arc<Leases>) {
        let mut consumers = self.consumers.lock();
        consumers.retain(|known| known.strong_count() > 0);
        consumers.push(Arc::downgrade(leases));
    }

    pub(super) fn attached(&self) -> Vec<Arc<Leases>> {
        let consumers = self.consumers.lock();
        consumers
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|leases| !leases.has_ended())
            .collect()
    }

    /// Ends the consumers of a queue, or all.
    pub(super) fn end_consumers(&self, queue: Option<&QueueName>) {
        for leases in self.attached() {
            if queue.is_none_or(|queue| *queue == leases.queue) {
                leases.end();
            }
        }
    }
}
