//! The port: what every message bus promises.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::{
    Consumer, DeadLetterFilter, DeadLetterPage, Destination, Envelope, Error, Observer, Page,
    PublishError, QueueName, QueueSpec, QueueStats, Silent, Subscription,
};

/// Says what a backend can do beyond the contract; the conformance suite checks both answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Durable queues and what they hold outlive the broker's process.
    pub persistent: bool,
    /// What comes back without a delay is the next of its priority to be delivered; otherwise it may come after others.
    pub requeue_at_front: bool,
    /// A queue never holds more than its capacity; otherwise a few more may slip in.
    pub exact_capacity: bool,
    /// All priorities of a queue share its capacity; otherwise each has as much.
    pub shared_capacity: bool,
    /// The largest payload in bytes.
    pub max_payload: usize,
    /// How long a delivery may be held, from its receipt; `None` is for ever.
    ///
    /// One held longer is taken back by the broker, and may take its neighbours along: their [`lost`](crate::Delivery::lost) tokens fire,
    /// and all of them come again. So work that may take longer is claimed: whoever holds it notes elsewhere, and durably, that it
    /// is theirs, acknowledges the delivery, and then works.
    pub max_hold: Option<Duration>,
}

impl Capabilities {
    /// Makes the capabilities of a backend that promises the contract and nothing more.
    #[must_use]
    pub const fn new(max_payload: usize) -> Self {
        Self {
            persistent: false,
            requeue_at_front: false,
            exact_capacity: false,
            shared_capacity: false,
            max_payload,
            max_hold: None,
        }
    }
}

/// Carries messages between agents: at least once, by priority, and never in silence.
///
/// A value is a handle: cheap to share as `Arc<dyn MessageBus>`. [`MessageBusExt`](crate::MessageBusExt) adds the typed patterns.
///
/// # Contract
///
/// Publishing
///
/// - **R1** A publish that returns `Ok` is confirmed: the message is delivered until it is acknowledged or becomes a dead letter.
/// - **R2** A message that no queue takes is an error of kind `NoRoute`, and comes back with it.
/// - **R3** A payload over [`Capabilities::max_payload`] is refused with `TooLarge`, and comes back.
/// - **R4** What is received is what was sent: payload, id, headers and all other fields, but for the delay.
/// - **R5** A batch is taken in its order; exactly those not taken come back.
/// - **R6** Messages of one publisher, queue and priority arrive in order, as long as none comes back to the queue.
///
/// Consuming
///
/// - **R7** Each message of a queue is with one of its consumers at a time.
/// - **R8** A consumer holds no more unsettled deliveries than its prefetch.
/// - **R9** A delivery dropped unsettled is delivered again, with its redelivery count one higher.
/// - **R10** An acknowledged message is never delivered again.
/// - **R11** A nacked message is delivered again, no sooner than after its delay.
/// - **R12** A rejected message becomes a dead letter with the reason given, and is not delivered.
/// - **R13** [`Consumer::recv`] is cancel safe.
/// - **R14** Deliveries outlive their consumer: they can be settled after it is dropped, and are not redelivered while they are held.
/// - **R15** Settling a lost delivery fails with `LeaseLost`; its [`lost`](crate::Delivery::lost) token has fired; the message is
///   delivered again, perhaps while the holder still has it.
/// - **R16** Priorities hold and do not starve: under backlog any 16 takes serve P0, P1, P2 as 12 : 3 : 1
///   (see [`PriorityTurns`](crate::PriorityTurns)); a backend that takes ahead may shift this by its prefetch.
///
/// Time
///
/// - **R17** An expired message is not delivered: it becomes a dead letter with reason `Expired`, when its turn comes at the latest.
/// - **R18** A delayed message is delivered no sooner than its delay.
/// - **R19** A message delivered as often as its queue allows becomes a dead letter with reason `DeliveryLimit`.
///
/// Queues
///
/// - **R20** Declaring a queue again is harmless; with other arguments it is an error of kind `Conflict` and changes nothing.
/// - **R21** A full queue with `Reject` refuses with `Full` and gives the envelope back; nothing that waits is harmed.
/// - **R22** A full queue with `DropOldest` dead-letters the oldest with reason `Overflow`.
/// - **R23** A full queue with `Wait` takes the message when there is room, and refuses with `Full` when the time is over.
/// - **R24** What comes back to a queue is taken even if it is full.
/// - **R25** A deleted queue ends its consumers and loses their deliveries; publishing to it is unroutable.
/// - **R26** A temporary queue vanishes with its last consumer.
///
/// Publish-subscribe
///
/// - **R27** Each group whose pattern matches gets one copy, and its members compete for it.
/// - **R28** Every group of a fanout gets one copy.
/// - **R29** A slow subscriber holds up neither publishers nor other subscribers; what exceeds its bound becomes its dead letters.
/// - **R30** A group collects while it has no members; a subscriber without a group gets only what is published while it is there.
///
/// Dead letters
///
/// - **R31** They are listed in pages, the oldest first, with reason, deliveries, times and original destination.
/// - **R32** A redriven one is delivered as new, without its expiry; one that its queue has no room for stays.
/// - **R33** Purged ones are gone, others stay.
///
/// End
///
/// - **R34** A closed bus ends its consumers, loses their deliveries, and refuses everything with `Closed`.
#[async_trait]
pub trait MessageBus: Send + Sync + 'static {
    /// Says what the backend can do beyond the contract.
    fn capabilities(&self) -> Capabilities;

    /// Returns another handle on the same bus.
    fn handle(&self) -> Arc<dyn MessageBus>;

    /// Returns who watches the bus.
    fn observer(&self) -> &dyn Observer {
        &Silent
    }

    /// Makes sure that a queue exists.
    ///
    /// # Errors
    ///
    /// `Conflict` if it exists with other arguments.
    ///
    /// # Cancel safety
    ///
    /// The queue may exist or not; declare it again.
    async fn declare(&self, spec: QueueSpec) -> Result<(), Error>;

    /// Deletes a queue with all it holds, dead letters included, and says whether it was there.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Closed`.
    ///
    /// # Cancel safety
    ///
    /// The queue may exist or not; delete it again.
    async fn delete(&self, queue: &QueueName) -> Result<bool, Error>;

    /// Publishes one message and waits for the broker's confirm.
    ///
    /// # Errors
    ///
    /// `NoRoute`, `Full`, `TooLarge`, `Unavailable` (perhaps with its outcome unknown) or `Closed`, with the envelope.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the message may have been published or not. Publish it again under the same id.
    async fn publish(&self, to: &Destination, envelope: Envelope) -> Result<(), PublishError>;

    /// Publishes many messages to one destination and waits until all are confirmed.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish), with those envelopes that were not confirmed.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: each message may have been published or not.
    async fn publish_batch(
        &self,
        to: &Destination,
        envelopes: Vec<Envelope>,
    ) -> Result<(), PublishError>;

    /// Begins to consume. A topic's or fanout's group is created if it is new.
    ///
    /// # Errors
    ///
    /// `NoRoute` if the queue does not exist; `Conflict` if the group exists with other bounds.
    ///
    /// # Cancel safety
    ///
    /// A new group may have been created; nothing is lost.
    async fn subscribe(&self, subscription: Subscription) -> Result<Consumer, Error>;

    /// Counts what a queue holds.
    ///
    /// # Errors
    ///
    /// `NoRoute` if the queue does not exist.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    async fn stats(&self, queue: &QueueName) -> Result<QueueStats, Error>;

    /// Lists dead letters of a queue, the oldest first.
    ///
    /// # Errors
    ///
    /// `NoRoute` if the queue does not exist.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    async fn dead_letters(
        &self,
        queue: &QueueName,
        filter: &DeadLetterFilter,
        page: Page,
    ) -> Result<DeadLetterPage, Error>;

    /// Puts dead letters back into their queue, the oldest first, and says how many.
    ///
    /// They are as new: their deliveries start again at none, and their expiry is lifted. It ends early when the queue is full.
    ///
    /// # Errors
    ///
    /// `NoRoute` if the queue does not exist.
    ///
    /// # Cancel safety
    ///
    /// Some may have been put back; none is lost.
    async fn redrive(&self, queue: &QueueName, filter: &DeadLetterFilter) -> Result<u64, Error>;

    /// Discards dead letters for good and says how many.
    ///
    /// # Errors
    ///
    /// `NoRoute` if the queue does not exist.
    ///
    /// # Cancel safety
    ///
    /// Some may have been discarded.
    async fn purge_dead_letters(
        &self,
        queue: &QueueName,
        filter: &DeadLetterFilter,
    ) -> Result<u64, Error>;

    /// Closes the bus for all its handles: consumers end, and unsettled deliveries are lost.
    ///
    /// Whoever wants work to end in peace drains first. Closing again does nothing.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the broker could not be told; the bus is closed all the same.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the bus is closed by the first poll.
    async fn close(&self) -> Result<(), Error>;
}
