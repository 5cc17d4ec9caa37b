//! Dead letters: what was set aside, why, and how to look at it and put it back.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::SystemTime;

use crate::{Destination, Envelope, MessageId, QueueName};

/// Says why a message was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeadLetterReason {
    /// A consumer refused it for good, with its own words.
    Rejected(Cow<'static, str>),
    /// It lost its worth before a consumer took it.
    Expired,
    /// The queue was full.
    Overflow,
    /// It was delivered as often as the queue allows without being settled.
    DeliveryLimit,
}

impl DeadLetterReason {
    /// Returns the reason's name, as metrics and the wire have it: `rejected`, `expired`, `overflow` or `delivery_limit`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rejected(_) => "rejected",
            Self::Expired => "expired",
            Self::Overflow => "overflow",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

impl fmt::Display for DeadLetterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(words) => write!(f, "rejected: {words}"),
            other => f.write_str(other.name()),
        }
    }
}

/// Holds a message that was set aside.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The message as it was.
    pub envelope: Envelope,
    /// The queue in which it waited.
    pub queue: QueueName,
    /// Where it was first published to.
    pub destination: Destination,
    /// Why it was set aside.
    pub reason: DeadLetterReason,
    /// How often it had been delivered.
    pub deliveries: u32,
    /// When it first came back or was refused.
    pub first_failed_at: SystemTime,
    /// When it was set aside.
    pub dead_lettered_at: SystemTime,
}

/// Chooses among the dead letters of a queue; all conditions must hold.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DeadLetterFilter {
    /// Only these messages, if any are named.
    pub ids: Vec<MessageId>,
    /// Only this reason, by [`DeadLetterReason::name`].
    pub reason: Option<&'static str>,
    /// Only what was set aside before this.
    pub before: Option<SystemTime>,
}

impl DeadLetterFilter {
    /// Chooses all.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Chooses one message.
    #[must_use]
    pub fn id(id: MessageId) -> Self {
        Self {
            ids: vec![id],
            ..Self::default()
        }
    }

    /// Narrows to one reason, whatever its words.
    #[must_use]
    pub fn with_reason(mut self, reason: &DeadLetterReason) -> Self {
        self.reason = Some(reason.name());
        self
    }

    /// Narrows to what was set aside before `at`.
    #[must_use]
    pub fn with_before(mut self, at: SystemTime) -> Self {
        self.before = Some(at);
        self
    }

    /// Says whether a dead letter is chosen.
    #[must_use]
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        (self.ids.is_empty() || self.ids.contains(&letter.envelope.id()))
            && self
                .reason
                .is_none_or(|reason| reason == letter.reason.name())
            && self
                .before
                .is_none_or(|before| letter.dead_lettered_at < before)
    }
}

/// Marks the place in a list of dead letters at which the next page begins.
///
/// Only the bus that gave it understands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetterCursor(pub u64);

/// Asks for one page of dead letters.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Where to begin; `None` is the oldest.
    pub from: Option<DeadLetterCursor>,
    /// How many at most.
    pub limit: NonZeroUsize,
}

impl Default for Page {
    fn default() -> Self {
        const LIMIT: NonZeroUsize = NonZeroUsize::new(100).unwrap();
        Self {
            from: None,
            limit: LIMIT,
        }
    }
}

/// Holds one page of dead letters, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterPage {
    /// The dead letters.
    pub letters: Vec<DeadLetter>,
    /// Where the next page begins, if there is more.
    pub next: Option<DeadLetterCursor>,
}
