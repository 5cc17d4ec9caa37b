//! A message bus behind a guard.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coditect_bus::{
    Capabilities, Consumer, DeadLetterFilter, DeadLetterPage, Destination, Envelope, Error,
    MessageBus, Observer, Page, PublishError, QueueName, QueueSpec, QueueStats, Subscription,
};
use coditect_resilience::{Breaker, Breakers, KeyedSlots, Randomness, Slots};

use super::circuit::{Circuit, Endpoint, Last};
use super::policy::GuardPolicy;
use super::refusal::PortError;
use super::set::Reporter;

/// For how many destinations there are breakers and slots of their own; more share slots, and the idlest is forgotten.
const DESTINATIONS: usize = 8_192;

/// A message bus whose calls are guarded: publishes to each queue by themselves, all else together.
///
/// A publish is never given up, as what was not confirmed must come back to its publisher: how long it may take is for the
/// bus to say. Nor are subscriptions, and what goes over many dead letters. Deliveries are not touched by it.
#[derive(Clone)]
pub struct GuardedBus {
    bus: Arc<dyn MessageBus>,
    /// All but publishes.
    circuit: Circuit,
    /// Of publishes.
    last: Last,
    destinations: Breakers,
    slots: KeyedSlots,
    time_limit: Duration,
}

impl GuardedBus {
    /// Puts a guard before a bus.
    #[must_use]
    pub fn new(bus: Arc<dyn MessageBus>, policy: GuardPolicy) -> Self {
        Self::with_randomness(bus, policy, coditect_resilience::SplitMix::new())
    }

    pub(super) fn with_randomness(
        bus: Arc<dyn MessageBus>,
        policy: GuardPolicy,
        randomness: impl Randomness,
    ) -> Self {
        let randomness = Arc::new(randomness);
        let shared = Arc::clone(&randomness);
        let breaker = Breaker::new(policy.breaker)
            .with_name("bus")
            .with_observer(Arc::new(Reporter("message bus")))
            .with_randomness(move || shared.next_unit());
        let destinations = Breakers::new(policy.breaker, DESTINATIONS)
            .expect("there is room for some")
            .with_observer(Arc::new(Reporter("destination on the message bus")))
            .with_randomness(move || randomness.next_unit());
        Self {
            bus,
            circuit: Circuit::new("the message bus", breaker, Slots::new(policy.bulkhead)),
            last: Last::default(),
            destinations,
            slots: KeyedSlots::new(policy.bulkhead, DESTINATIONS),
            time_limit: policy.time_limit,
        }
    }

    /// Returns the breaker of all calls but publishes.
    #[must_use]
    pub fn breaker(&self) -> &Breaker {
        &self.circuit.breaker
    }

    /// Returns the breaker of publishes to a destination: a queue's own, or that of all topics, or of all fanouts.
    #[must_use]
    pub fn breaker_of(&self, to: &Destination) -> Breaker {
        self.destinations.breaker(endpoint(to))
    }

    /// Returns the breakers of destinations that are not simply closed, named like the queues.
    #[must_use]
    pub fn tripped(&self) -> Vec<Breaker> {
        self.destinations.tripped()
    }

    fn of(&self, to: &Destination) -> Circuit {
        let key = endpoint(to);
        Circuit {
            endpoint: Endpoint::Destination(to.clone()),
            breaker: self.destinations.breaker(key),
            slots: self.slots.slots(key),
            last: Arc::clone(&self.last),
        }
    }
}

/// What stands for a destination: there are many topics, and one exchange for all of them.
fn endpoint(to: &Destination) -> &str {
    match to {
        Destination::Queue(queue) => queue.as_str(),
        Destination::Topic(_) => "(topics)",
        Destination::Fanout(_) => "(fanouts)",
    }
}

#[async_trait]
impl MessageBus for GuardedBus {
    fn capabilities(&self) -> Capabilities {
        self.bus.capabilities()
    }

    fn handle(&self) -> Arc<dyn MessageBus> {
        let bus = self.bus.handle();
        Arc::new(Self {
            bus,
            ..self.clone()
        })
    }

    fn observer(&self) -> &dyn Observer {
        self.bus.observer()
    }

    async fn declare(&self, spec: QueueSpec) -> Result<(), Error> {
        let call = self.bus.declare(spec);
        self.circuit.call(Some(self.time_limit), call).await
    }

    async fn delete(&self, queue: &QueueName) -> Result<bool, Error> {
        let call = self.bus.delete(queue);
        self.circuit.call(Some(self.time_limit), call).await
    }

    async fn publish(&self, to: &Destination, envelope: Envelope) -> Result<(), PublishError> {
        let circuit = self.of(to);
        let pass = match circuit.enter().await {
            Ok(pass) => pass,
            Err(refusal) => return Err(PublishError::new(Error::refused(refusal), envelope)),
        };
        let result = self.bus.publish(to, envelope).await;
        pass.settle(result.as_ref().err().map(PublishError::error));
        result
    }

    async fn publish_batch(
        &self,
        to: &Destination,
        envelopes: Vec<Envelope>,
    ) -> Result<(), PublishError> {
        if envelopes.is_empty() {
            return self.bus.publish_batch(to, envelopes).await;
        }
        let circuit = self.of(to);
        let pass = match circuit.enter().await {
            Ok(pass) => pass,
            Err(refusal) => return Err(PublishError::of_batch(Error::refused(refusal), envelopes)),
        };
        let result = self.bus.publish_batch(to, envelopes).await;
        pass.settle(result.as_ref().err().map(PublishError::error));
        result
    }

    async fn subscribe(&self, subscription: Subscription) -> Result<Consumer, Error> {
        let call = self.bus.subscribe(subscription);
        self.circuit.call(None, call).await
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, Error> {
        let call = self.bus.stats(queue);
        self.circuit.call(Some(self.time_limit), call).await
    }

    async fn dead_letters(
        &self,
        queue: &QueueName,
        filter: &DeadLetterFilter,
        page: Page,
    ) -> Result<DeadLetterPage, Error> {
        let call = self.bus.dead_letters(queue, filter, page);
        self.circuit.call(None, call).await
    }

    async fn redrive(&self, queue: &QueueName, filter: &DeadLetterFilter) -> Result<u64, Error> {
        let call = self.bus.redrive(queue, filter);
        self.circuit.call(None, call).await
    }

    async fn purge_dead_letters(
        &self,
        queue: &QueueName,
        filter: &DeadLetterFilter,
    ) -> Result<u64, Error> {
        let call = self.bus.purge_dead_letters(queue, filter);
        self.circuit.call(None, call).await
    }

    async fn close(&self) -> Result<(), Error> {
        self.bus.close().await
    }
}

impl fmt::Debug for GuardedBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedBus")
            .field("breaker", &self.circuit.breaker)
            .field("destinations", &self.destinations)
            .finish_non_exhaustive()
    }
}
