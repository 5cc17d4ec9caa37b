//! What a bus tells whoever watches it.

use std::fmt;
use std::time::Duration;

use crate::{DeadLetterReason, Destination, Envelope, Error, QueueName};

/// Is told what happens on a bus; does nothing by default.
///
/// Calls come from the publishing and consuming tasks, outside of all locks; they must not block.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// A publish was confirmed.
    fn published(&self, _to: &Destination, _id: crate::MessageId, _payload_len: usize) {}
    /// A publish failed; the envelope went back to its publisher.
    fn refused(&self, _to: &Destination, _error: &Error) {}
    /// A consumer took a message; `redeliveries` counts its earlier deliveries.
    fn delivered(&self, _queue: &QueueName, _envelope: &Envelope, _redeliveries: u32) {}
    /// A delivery was acknowledged.
    fn acked(&self, _queue: &QueueName, _envelope: &Envelope) {}
    /// A message came back to its queue: dropped, lost, or nacked with this delay.
    fn requeued(&self, _queue: &QueueName, _envelope: &Envelope, _delay: Duration) {}
    /// A message was set aside.
    fn dead_lettered(&self, _queue: &QueueName, _envelope: &Envelope, _reason: &DeadLetterReason) {}
    /// The store of dead letters was full, and its oldest was discarded for good.
    fn dead_letter_discarded(&self, _queue: &QueueName, _envelope: &Envelope) {}
    /// A delivery was settled after it had been lost.
    fn lease_lost(&self, _queue: &QueueName, _envelope: &Envelope) {}
    /// An answer came after its question had been given up.
    fn late_reply(&self, _queue: &QueueName, _envelope: &Envelope) {}
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
