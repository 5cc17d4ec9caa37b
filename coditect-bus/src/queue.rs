//! What a queue is declared with, and what it says about itself.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use crate::{Priority, QueueName};

/// Says what happens to a message that finds the queue full.
///
/// A publisher is only told of, or held up by, the queue it names. In a queue fed by a topic or fanout, [`Reject`](Self::Reject)
/// and [`Wait`](Self::Wait) dead-letter the newcomer with [`Overflow`](crate::DeadLetterReason::Overflow), so that a slow
/// subscriber holds up nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverflowPolicy {
    /// The publish fails with [`ErrorKind::Full`](crate::ErrorKind::Full) and gives the envelope back.
    #[default]
    Reject,
    /// The oldest message of the least urgent priority, the newcomer's included, is dead-lettered with
    /// [`Overflow`](crate::DeadLetterReason::Overflow).
    DropOldest,
    /// The publish waits for room at most this long, then fails as with [`Reject`](Self::Reject).
    Wait(Duration),
}

/// Says how long a queue lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueLifetime {
    /// Until it is deleted; on a persistent backend it outlives the broker's restart, with its messages.
    #[default]
    Durable,
    /// Until its last consumer is dropped; what it holds then goes with it.
    Temporary,
}

/// Declares a queue: its name, bounds and policies.
///
/// ```
/// use std::num::NonZeroUsize;
/// use coditect_bus::{OverflowPolicy, QueueName, QueueSpec};
///
/// # fn main() -> Result<(), coditect_bus::Error> {
/// let spec = QueueSpec::new(QueueName::new("thumbnails")?)
///     .with_capacity(NonZeroUsize::new(1_000).expect("1000 is not zero"))
///     .with_overflow(OverflowPolicy::DropOldest);
/// # let _ = spec;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSpec {
    /// The queue's name.
    pub(crate) name: QueueName,
    pub(crate) bounds: QueueBounds,
    pub(crate) lifetime: QueueLifetime,
}

/// The part of a specification that a group's queue has too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueBounds {
    pub(crate) capacity: NonZeroUsize,
    pub(crate) overflow: OverflowPolicy,
    pub(crate) max_deliveries: NonZeroU32,
}

impl Default for QueueBounds {
    fn default() -> Self {
        const CAPACITY: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();
        const MAX_DELIVERIES: NonZeroU32 = NonZeroU32::new(100).unwrap();
        Self {
            capacity: CAPACITY,
            overflow: OverflowPolicy::default(),
            max_deliveries: MAX_DELIVERIES,
        }
    }
}

impl QueueSpec {
    /// Declares a durable queue of 100,000 messages, with [`OverflowPolicy::Reject`] and at most 100 deliveries a message.
    #[must_use]
    pub fn new(name: QueueName) -> Self {
        Self {
            name,
            bounds: QueueBounds::default(),
            lifetime: QueueLifetime::default(),
        }
    }

    /// Declares a queue that vanishes with its last consumer.
    #[must_use]
    pub fn temporary(name: QueueName) -> Self {
        Self {
            lifetime: QueueLifetime::Temporary,
            ..Self::new(name)
        }
    }

    /// Sets how many messages may wait, delayed ones included and unacknowledged ones not.
    ///
    /// See [`Capabilities`](crate::Capabilities) for how exactly a backend keeps to it.
    #[must_use]
    pub fn with_capacity(mut self, capacity: NonZeroUsize) -> Self {
        self.bounds.capacity = capacity;
        self
    }

    /// Sets what happens to a message that finds the queue full.
    #[must_use]
    pub fn with_overflow(mut self, policy: OverflowPolicy) -> Self {
        self.bounds.overflow = policy;
        self
    }

    /// Sets how often a message is delivered before it is dead-lettered: a backstop against messages that kill their consumers.
    ///
    /// A lost connection counts against all its unacknowledged deliveries, so keep it high and count attempts elsewhere.
    #[must_use]
    pub fn with_max_deliveries(mut self, max: NonZeroU32) -> Self {
        self.bounds.max_deliveries = max;
        self
    }

    /// Returns the queue's name.
    #[must_use]
    pub fn name(&self) -> &QueueName {
        &self.name
    }

    /// Returns how many messages may wait.
    #[must_use]
    pub fn capacity(&self) -> NonZeroUsize {
        self.bounds.capacity
    }

    /// Returns what happens to a message that finds the queue full.
    #[must_use]
    pub fn overflow(&self) -> OverflowPolicy {
        self.bounds.overflow
    }

    /// Returns how often a message is delivered before it is dead-lettered.
    #[must_use]
    pub fn max_deliveries(&self) -> NonZeroU32 {
        self.bounds.max_deliveries
    }

    /// Returns how long the queue lives.
    #[must_use]
    pub fn lifetime(&self) -> QueueLifetime {
        self.lifetime
    }
}

/// Counts what a queue holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStats {
    /// Messages that a consumer could take now, by [`Priority::index`].
    pub ready_by_priority: [usize; 3],
    /// Messages that wait for their delay to pass.
    pub delayed: usize,
    /// Messages delivered and not yet settled.
    pub unacked: usize,
    /// Messages set aside.
    pub dead_letters: usize,
    /// Consumers attached.
    pub consumers: usize,
}

impl QueueStats {
    /// Returns the messages that a consumer could take now.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.ready_by_priority.iter().sum()
    }

    /// Returns the messages of one priority that a consumer could take now.
    #[must_use]
    pub fn ready_of(&self, priority: Priority) -> usize {
        self.ready_by_priority[priority.index()]
    }
}
