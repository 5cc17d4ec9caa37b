//! Identities of messages: 128 bits, ordered by time, cheap to make.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, ErrorKind};

/// Identifies one message, across all of its redeliveries.
///
/// The value is a UUID of version 7 (RFC 9562), so ids made later sort later, to the millisecond. A publisher that does
/// not know whether a publish arrived publishes again under the same id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(Uuid);

impl MessageId {
    /// Makes a fresh id without asking the operating system for randomness.
    ///
    /// Each thread draws from its own generator, seeded once from the process's random state.
    #[allow(
        clippy::new_without_default,
        reason = "a default that differs on every call would surprise"
    )]
    #[must_use]
    pub fn new() -> Self {
        let millis = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            });
        let (high, low) = (next_random(), next_random());
        Self(Uuid::from_u64_pair(
            (millis << 16) | 0x7000 | (high & 0x0fff),
            0x8000_0000_0000_0000 | (low >> 2),
        ))
    }

    /// Takes over an id that was made elsewhere.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Returns the id as a UUID.
    #[must_use]
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for MessageId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Uuid::from_str(text).map(Self).map_err(|source| {
            Error::new(ErrorKind::Invalid, "message id is not a uuid").with_source(source)
        })
    }
}

/// Pairs an answer with its question.
///
/// Questions asked through this crate use their [`MessageId`]; those of other programs may be any text of at most 255
/// bytes, which a responder gives back as it came.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CorrelationId(Correlation);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Correlation {
    Id(MessageId),
    Text(Arc<str>),
}

impl CorrelationId {
    /// Reads a correlation id as it stands on the wire.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        // Only the canonical form is folded, so that what comes back is always what was sent.
        match Uuid::from_str(text) {
            Ok(uuid) if uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text => {
                Self(Correlation::Id(MessageId(uuid)))
            }
            _ => Self(Correlation::Text(text.into())),
        }
    }

    /// Returns the message id of the question, if this correlation id is one.
    #[must_use]
    pub fn as_message_id(&self) -> Option<MessageId> {
        match self.0 {
            Correlation::Id(id) => Some(id),
            Correlation::Text(_) => None,
        }
    }
}

impl From<MessageId> for CorrelationId {
    fn from(id: MessageId) -> Self {
        Self(Correlation::Id(id))
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Correlation::Id(id) => id.fmt(f),
            Correlation::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(std::thread::current().id()));
}

/// Draws from the thread's SplitMix64 stream (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
fn next_random() -> u64 {
    STATE.with(|state| {
        let seed = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(seed);
        let mut z = seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_version_seven_uuids_of_the_rfc_variant() {
        let uuid = MessageId::new().as_uuid();
        assert_eq!(uuid.get_version_num(), 7);
        assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
    }

    #[test]
    fn ids_of_many_threads_never_repeat() {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                std::thread::spawn(|| (0..20_000).map(|_| MessageId::new()).collect::<Vec<_>>())
            })
            .collect();
        let ids: Vec<_> = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }

    #[test]
    fn a_correlation_id_comes_back_as_it_was_sent() {
        let id = MessageId::new();
        assert_eq!(
            CorrelationId::parse(&id.to_string()).as_message_id(),
            Some(id)
        );
        for text in [
            "",
            "42",
            "0190AAAA-0000-7000-8000-000000000001",
            "0190aaaa000070008000000000000001",
        ] {
            assert_eq!(CorrelationId::parse(text).to_string(), text);
        }
    }
}
