//! What a consumer asks for.

use std::num::{NonZeroU32, NonZeroUsize};

use uuid::Uuid;

use crate::queue::QueueBounds;
use crate::{Error, FanoutName, GroupName, MessageId, OverflowPolicy, QueueName, TopicPattern};

/// Says what a consumer wants to receive, and how much of it at once.
///
/// - From a **queue**, its consumers compete.
/// - From a **topic pattern** or a **fanout**, with a group: the group's members compete, and each group gets a copy. The
///   group's queue is durable: it collects while no member is there, until it is full or deleted.
/// - Without a group the subscriber gets a copy of its own, from now until it is dropped.
///
/// A group belongs to its pattern: the same group name under another pattern is another group.
#[derive(Clone, Debug)]
pub struct Subscription {
    pub(crate) source: Source,
    pub(crate) prefetch: NonZeroUsize,
    pub(crate) bounds: QueueBounds,
}

/// Says what a subscription reads from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Source {
    /// A declared queue.
    Queue(QueueName),
    /// What is published to matching topics.
    Topic(TopicPattern, Option<GroupName>),
    /// What is published to a fanout.
    Fanout(FanoutName, Option<GroupName>),
}

impl Source {
    /// Names the queue behind it: its own, that of a group, or, without one, of a single subscriber.
    ///
    /// Every backend names them alike, so that programs on different ones can be compared.
    pub(crate) fn queue_name(&self) -> Result<QueueName, Error> {
        let (kind, text, group) = match self {
            Self::Queue(name) => return Ok(name.clone()),
            Self::Topic(pattern, group) => ("topic", pattern.as_str(), group),
            Self::Fanout(name, group) => ("fanout", name.as_str(), group),
        };
        match group {
            None => QueueName::new(format!("{kind}:{}", MessageId::new())),
            Some(group) => group_queue(kind, text, group),
        }
    }
}

fn group_queue(kind: &str, text: &str, group: &GroupName) -> Result<QueueName, Error> {
    // A pattern may be long or hold what no name may; then a digest stands for it.
    QueueName::new(format!("{kind}:{group}:{text}")).or_else(|_| {
        let digest = Uuid::new_v5(
            &Uuid::NAMESPACE_OID,
            format!("{kind}\0{group}\0{text}").as_bytes(),
        );
        QueueName::new(format!("{kind}:{digest}"))
    })
}

const DEFAULT_PREFETCH: NonZeroUsize = NonZeroUsize::new(16).unwrap();
const DEFAULT_SUBSCRIBER_CAPACITY: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

impl Subscription {
    /// Consumes a declared queue, in competition with its other consumers.
    #[must_use]
    pub fn queue(name: QueueName) -> Self {
        Self::new(Source::Queue(name))
    }

    /// Consumes what is published to matching topics.
    #[must_use]
    pub fn topic(pattern: TopicPattern) -> Self {
        Self::new(Source::Topic(pattern, None))
    }

    /// Consumes what is published to a fanout.
    #[must_use]
    pub fn fanout(name: FanoutName) -> Self {
        Self::new(Source::Fanout(name, None))
    }

    /// Joins a group. A subscription to a queue has no use for one and ignores it.
    #[must_use]
    pub fn with_group(mut self, name: GroupName) -> Self {
        match &mut self.source {
            Source::Queue(_) => {}
            Source::Topic(_, group) | Source::Fanout(_, group) => *group = Some(name),
        }
        self
    }

    /// Sets how many deliveries the consumer may hold unsettled; 16 unless told otherwise.
    #[must_use]
    pub fn with_prefetch(mut self, prefetch: NonZeroUsize) -> Self {
        self.prefetch = prefetch;
        self
    }

    /// Sets how many messages may wait for this subscriber or its group; 10,000 unless told otherwise.
    ///
    /// This and the next two concern topics and fanouts only; a declared queue has its own. All members of a group give the same.
    #[must_use]
    pub fn with_capacity(mut self, capacity: NonZeroUsize) -> Self {
        self.bounds.capacity = capacity;
        self
    }

    /// Sets what happens when more wait; [`OverflowPolicy::DropOldest`] unless told otherwise.
    #[must_use]
    pub fn with_overflow(mut self, policy: OverflowPolicy) -> Self {
        self.bounds.overflow = policy;
        self
    }

    /// Sets how often a message is delivered before it is dead-lettered; 100 unless told otherwise.
    #[must_use]
    pub fn with_max_deliveries(mut self, max: NonZeroU32) -> Self {
        self.bounds.max_deliveries = max;
        self
    }

    /// Returns what the subscription reads from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Returns how many deliveries the consumer may hold unsettled.
    #[must_use]
    pub fn prefetch(&self) -> NonZeroUsize {
        self.prefetch
    }

    /// Returns how many messages may wait for this subscriber or its group.
    #[must_use]
    pub fn capacity(&self) -> NonZeroUsize {
        self.bounds.capacity
    }

    /// Returns what happens when more wait.
    #[must_use]
    pub fn overflow(&self) -> OverflowPolicy {
        self.bounds.overflow
    }

    /// Returns how often a message is delivered before it is dead-lettered.
    #[must_use]
    pub fn max_deliveries(&self) -> NonZeroU32 {
        self.bounds.max_deliveries
    }

    fn new(source: Source) -> Self {
        Self {
            source,
            prefetch: DEFAULT_PREFETCH,
            bounds: QueueBounds {
                capacity: DEFAULT_SUBSCRIBER_CAPACITY,
                overflow: OverflowPolicy::DropOldest,
                ..QueueBounds::default()
            },
        }
    }
}
