//! Message bus of CODITECT: envelopes, topics, queues, priorities, acknowledgement, dead letters.
//!
//! Agents give each other work through a [`MessageBus`]. What is published is confirmed; what is received is held under a lease until it
//! is settled; what cannot be handled is set aside with its reason. So a message is never lost in silence: it is delivered at least
//! once, or it comes back to its publisher, or it is a dead letter that can be looked at and redriven.
//!
//! # Sending
//!
//! An [`Envelope`] carries bytes, a [`Priority`], [`Headers`] and what else belongs to a message. It goes to a [`Destination`]: a queue,
//! a topic, or a fanout. A publish that fails gives the envelope back in its [`PublishError`], whose
//! [`kind`](PublishError::kind) says what to do: a full queue wants patience, a payload over the limit another place, an unroutable
//! message somebody to receive it.
//!
//! # Receiving
//!
//! A [`Subscription`] makes a [`Consumer`], which hands out [`Delivery`]s, never more unsettled ones than its prefetch. Each is settled by
//! [`ack`](Delivery::ack) (done), [`nack`](Delivery::nack) (again later) or [`reject`](Delivery::reject) (never again: dead-letter it);
//! one that is dropped goes back. Consumers of a queue compete. Subscribers of a topic or fanout belong to groups: each group gets a
//! copy, and its members compete for it.
//!
//! A delivery may be lost while it is held, when a broker's connection breaks: then its [`lost`](Delivery::lost) token fires,
//! settling it fails, and the message goes to another consumer. So what a handler does must bear repetition, or look at the
//! envelope's idempotency key.
//!
//! # When more comes than goes
//!
//! Every queue is bounded and states its [`OverflowPolicy`]: refuse, drop the oldest into the dead letters, or wait. Priorities hold
//! without starving: of any 16 takes under backlog 12 are P0, 3 are P1 and 1 is P2 ([`PriorityTurns`]). A slow subscriber fills
//! its own queue and nobody else's.
//!
//! # Patterns
//!
//! [`MessageBusExt`] adds the patterns, typed by serde: work queue ([`send`](MessageBusExt::send), [`consume`](MessageBusExt::consume)),
//! publish-subscribe ([`broadcast`](MessageBusExt::broadcast)), request-reply ([`requester`](MessageBusExt::requester),
//! [`serve`](MessageBusExt::serve)) and routing by capability ([`offer`](MessageBusExt::offer), [`route`](MessageBusExt::route)).
//!
//! ```
//! use std::num::NonZeroUsize;
//! use std::time::Duration;
//! use coditect_bus::{Destination, Error, MemoryBus, MessageBus, MessageBusExt, Subscription};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! let bus = MemoryBus::new();
//!
//! // Work queue: whoever offers the capability gets the work.
//! let thumbnails = bus.offer("thumbnail").await?;
//! bus.route("thumbnail", "cat.png").await?;
//! let mut worker = bus.consume::<String>(Subscription::queue(thumbnails)).await?;
//! let work = worker.recv().await.expect("the bus is open");
//! assert_eq!(work.ack().await?, "cat.png");
//!
//! // Publish-subscribe: everyone who listens gets a copy.
//! let mut listener = bus.consume::<u32>(Subscription::topic("run.*.done".parse()?)).await?;
//! bus.broadcast(&Destination::Topic("run.7.done".parse()?), &7).await?;
//! assert_eq!(listener.recv().await.expect("the bus is open").ack().await?, 7);
//!
//! // Request-reply: a question, and its answer before a deadline.
//! let shout = |text: String| async move { Ok::<_, Error>(text.to_uppercase()) };
//! let responder = bus.serve(bus.offer("shout").await?, NonZeroUsize::MIN, shout).await?;
//! let requester = bus.requester().await?;
//! let to = Destination::for_capability("shout")?;
//! let answer: String = requester.request(&to, "hello", Duration::from_secs(1)).await?;
//! assert_eq!(answer, "HELLO");
//! responder.stop().await;
//! bus.close().await
//! # }
//! ```
//!
//! # Backends
//!
//! [`MemoryBus`] needs nothing installed, and is the reference. The rules that every backend keeps are numbered at [`MessageBus`], and the
//! module `conformance` (feature `test-util`) tests them one by one, on any backend.

mod bus;
#[cfg(feature = "test-util")]
pub mod conformance;
mod consumer;
mod dead_letter;
mod delivery;
mod destination;
mod envelope;
mod error;
mod headers;
mod id;
mod memory;
mod name;
mod observer;
mod pattern;
mod priority;
mod queue;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
mod subscription;
mod topic;

pub use bus::{Capabilities, MessageBus};
pub use consumer::{Consumer, Receive};
pub use dead_letter::{
    DeadLetter, DeadLetterCursor, DeadLetterFilter, DeadLetterPage, DeadLetterReason, Page,
};
pub use delivery::{Delivery, DeliveryParts, Settle, Settlement, Settling};
pub use destination::Destination;
pub use envelope::{ContentType, Envelope};
pub use error::{Error, ErrorKind, PublishError};
pub use headers::Headers;
pub use id::{CorrelationId, MessageId};
pub use memory::{MemoryBus, MemoryBusBuilder};
pub use name::{FanoutName, GroupName, QueueName};
pub use observer::{Observer, Silent};
pub use pattern::{ERROR_HEADER, MessageBusExt, Received, Requester, Responder, TypedConsumer};
pub use priority::{Priority, PriorityTurns};
pub use queue::{OverflowPolicy, QueueLifetime, QueueSpec, QueueStats};
#[cfg(feature = "rabbitmq")]
pub use rabbitmq::{Health, QueueKind, RabbitMqBus, RabbitMqBusBuilder};
pub use subscription::{Source, Subscription};
pub use topic::{Topic, TopicPattern};
