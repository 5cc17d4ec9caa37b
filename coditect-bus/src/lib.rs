//! Message bus of CODITECT: envelopes, topics, queues, priorities, acknowledgement, dead letters.

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
pub use subscription::{Source, Subscription};
pub use topic::{Topic, TopicPattern};
