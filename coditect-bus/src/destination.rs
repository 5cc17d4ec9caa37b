//! Where a message goes.

use crate::{Error, FanoutName, QueueName, Topic};

/// Says where a message goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Destination {
    /// To one queue (direct exchange).
    Queue(QueueName),
    /// To every group whose pattern matches (topic exchange).
    Topic(Topic),
    /// To every group that listens (fanout exchange).
    Fanout(FanoutName),
}

impl Destination {
    /// Returns the queue to which work for a capability is routed.
    ///
    /// # Errors
    ///
    /// Those of [`QueueName::for_capability`].
    pub fn for_capability(capability: &str) -> Result<Self, Error> {
        QueueName::for_capability(capability).map(Self::Queue)
    }
}

impl From<QueueName> for Destination {
    fn from(name: QueueName) -> Self {
        Self::Queue(name)
    }
}

impl From<Topic> for Destination {
    fn from(topic: Topic) -> Self {
        Self::Topic(topic)
    }
}

impl From<FanoutName> for Destination {
    fn from(name: FanoutName) -> Self {
        Self::Fanout(name)
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Queue(name) => write!(f, "queue {name}"),
            Self::Topic(topic) => write!(f, "topic {topic}"),
            Self::Fanout(name) => write!(f, "fanout {name}"),
        }
    }
}
