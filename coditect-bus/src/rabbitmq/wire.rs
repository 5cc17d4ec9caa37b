//! How an envelope lies in an AMQP message, both ways. Nothing that a stranger may send makes this panic.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use lapin::BasicProperties;
use lapin::message::Delivery as Message;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use uuid::Uuid;

use super::error;
use super::name::Names;
use crate::{
    ContentType, CorrelationId, DeadLetterReason, DeliveryParts, Destination, Envelope, Error,
    FanoutName, Headers, MessageId, Priority, QueueName, Topic,
};

mod read;
mod value;

#[cfg(test)]
mod tests;

pub(super) use read::{dead, incoming};

/// Headers of the bus itself begin with this.
const OWN: &str = "coditect-bus-";
/// A header whose name means something to the broker, or to this module, travels under this prefix.
const ESCAPE: &str = "coditect-bus-h-";

const IDEMPOTENCY_KEY: &str = "coditect-bus-idempotency-key";
const EXPIRES_AT: &str = "coditect-bus-expires-at";
const REDELIVERIES: &str = "coditect-bus-redeliveries";
const DESTINATION: &str = "coditect-bus-destination";
const FIRST_FAILED_AT: &str = "coditect-bus-first-failed-at";
const REASON: &str = "coditect-bus-dead-reason";
const WORDS: &str = "coditect-bus-dead-words";
const DELIVERIES: &str = "coditect-bus-dead-deliveries";
const DEAD_AT: &str = "coditect-bus-dead-at";

/// What the bus keeps about a message beside its envelope, when it publishes it again.
#[derive(Clone, Debug, Default)]
pub(super) struct Story {
    pub(super) redeliveries: u32,
    pub(super) destination: Option<Destination>,
    pub(super) first_failed_at: Option<SystemTime>,
}

/// Why, when and after how many deliveries a message is set aside.
#[derive(Clone, Debug)]
pub(super) struct Death {
    pub(super) reason: DeadLetterReason,
    pub(super) deliveries: u32,
    pub(super) at: SystemTime,
}

/// A message as it was received.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) envelope: Envelope,
    pub(super) story: Story,
    /// Why it cannot be delivered, if so.
    pub(super) fault: Option<Cow<'static, str>>,
}

impl Incoming {
    /// Makes what a delivery consists of, and says why it cannot be made, if so.
    pub(super) fn into_parts(self, tag: u64) -> (DeliveryParts, Option<Cow<'static, str>>) {
        let mut parts = DeliveryParts::new(self.envelope, tag);
        parts.redeliveries = self.story.redeliveries;
        parts.destination = self.story.destination;
        parts.first_failed_at = self.story.first_failed_at;
        (parts, self.fault)
    }
}

/// Writes the properties of a message. `ttl` says whether the broker shall see to its expiry.
pub(super) fn properties(
    envelope: &Envelope,
    story: &Story,
    death: Option<&Death>,
    ttl: bool,
) -> Result<BasicProperties, Error> {
    let short = |what, text: &str| ShortString::try_new(text).map_err(|_| error::too_long(what));
    let mut properties = BasicProperties::default()
        .with_message_id(envelope.id().to_string().into())
        .with_delivery_mode(2)
        .with_priority(2 - u8::try_from(envelope.priority().index()).unwrap_or(1))
        .with_content_type(short("content type", envelope.content_type().as_str())?);
    if let Some(id) = envelope.correlation_id() {
        properties = properties.with_correlation_id(short("correlation id", &id.to_string())?);
    }
    if let Some(queue) = envelope.reply_to() {
        properties = properties.with_reply_to(queue.as_str().into());
    }
    if ttl && let Some(expiration) = envelope.expires_at().and_then(expiration) {
        properties = properties.with_expiration(expiration.into());
    }
    let headers = headers(envelope, story, death)?;
    if !headers.inner().is_empty() {
        properties = properties.with_headers(headers);
    }
    Ok(properties)
}

/// The time to live in milliseconds; `None` if the broker could not count that far, so that consumers look at the header.
fn expiration(at: SystemTime) -> Option<String> {
    const LONGEST: u128 = u32::MAX as u128;
    let left = at.duration_since(SystemTime::now()).unwrap_or_default();
    let millis = left.as_nanos().div_ceil(1_000_000);
    (millis <= LONGEST).then(|| millis.to_string())
}

fn headers(envelope: &Envelope, story: &Story, death: Option<&Death>) -> Result<FieldTable, Error> {
    let mut table = FieldTable::default();
    for (name, value) in envelope.headers().iter() {
        let name = if is_reserved(name) {
            Cow::Owned(format!("{ESCAPE}{name}"))
        } else {
            Cow::Borrowed(name)
        };
        let name =
            ShortString::try_new(name.into_owned()).map_err(|_| error::too_long("header name"))?;
        table.insert(name, text(value));
    }
    let mut own = |name: &'static str, value: AMQPValue| {
        table.insert(name.into(), value);
    };
    if let Some(key) = envelope.idempotency_key() {
        own(IDEMPOTENCY_KEY, text(key));
    }
    if let Some(at) = envelope.expires_at() {
        own(EXPIRES_AT, AMQPValue::LongLongInt(micros(at)));
    }
    if story.redeliveries > 0 {
        own(
            REDELIVERIES,
            AMQPValue::LongLongInt(story.redeliveries.into()),
        );
    }
    if let Some(destination) = &story.destination {
        own(DESTINATION, text(&destination.to_string()));
    }
    if let Some(at) = story.first_failed_at {
        own(FIRST_FAILED_AT, AMQPValue::LongLongInt(micros(at)));
    }
    if let Some(death) = death {
        own(REASON, text(death.reason.name()));
        if let DeadLetterReason::Rejected(words) = &death.reason {
            own(WORDS, text(words));
        }
        own(DELIVERIES, AMQPValue::LongLongInt(death.deliveries.into()));
        own(DEAD_AT, AMQPValue::LongLongInt(micros(death.at)));
    }
    Ok(table)
}

/// Says whether a header of this name means something to the broker or to the bus.
fn is_reserved(name: &str) -> bool {
    name.starts_with(OWN) || name.starts_with("x-") || matches!(name, "CC" | "BCC")
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn micros(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
