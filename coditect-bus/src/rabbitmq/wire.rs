//! How an envelope lies in an AMQP message, both ways. Nothing that a stranger may send makes this panic.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lapin::BasicProperties;
use lapin::message::Delivery as Message;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use uuid::Uuid;

use super::error;
use super::name::Names;
use crate::{
    ContentType, CorrelationId, DeadLetterReason, Destination, Envelope, Error, FanoutName,
    Headers, MessageId, Priority, QueueName, Topic,
};

#[cfg(test)]
mod tests;

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

/// Reads a message that lay in the queue of this priority.
pub(super) fn incoming(message: Message, priority: Priority, names: &Names) -> Incoming {
    let table = message.properties.headers().as_ref();
    let counted = integer(table, "x-delivery-count").map(saturated);
    let base = integer(table, REDELIVERIES).map_or(0, saturated);
    // A classic queue only says that there was a delivery before; one that we counted ourselves is among them.
    let redeliveries = match counted {
        Some(count) => base.saturating_add(count),
        None if message.redelivered => base.saturating_add(1),
        None => base,
    };
    let destination = string(table, DESTINATION)
        .and_then(|text| destination(&text))
        .or_else(|| {
            published_to(
                names,
                message.exchange.as_str(),
                message.routing_key.as_str(),
            )
        });
    let story = Story {
        redeliveries,
        destination,
        first_failed_at: integer(table, FIRST_FAILED_AT).map(instant),
    };
    let (envelope, fault) = envelope(message.data, &message.properties, priority);
    Incoming {
        envelope,
        story,
        fault,
    }
}

/// Reads a message that lay among the dead letters. `max_deliveries` is that of its queue.
pub(super) fn dead(
    message: Message,
    names: &Names,
    max_deliveries: Option<u32>,
) -> (Incoming, Death) {
    let table = message.properties.headers().as_ref();
    let event = last_death(table);
    let priority = event
        .and_then(|event| string(Some(event), "queue"))
        .and_then(|queue| {
            Priority::ALL
                .into_iter()
                .find(|p| queue.ends_with(&suffix(*p)))
        })
        .unwrap_or_else(|| priority_of(&message.properties));
    let base = integer(table, REDELIVERIES).map_or(0, saturated);
    let counted = integer(table, "x-delivery-count").map_or(0, saturated);
    let own = string(table, REASON);
    let reason_name = own
        .clone()
        .or_else(|| event.and_then(|event| string(Some(event), "reason")));
    let reason = match reason_name.as_deref() {
        Some("expired") => DeadLetterReason::Expired,
        Some("maxlen" | "overflow") => DeadLetterReason::Overflow,
        Some("delivery_limit") => DeadLetterReason::DeliveryLimit,
        Some("rejected") => {
            DeadLetterReason::Rejected(string(table, WORDS).unwrap_or_default().into())
        }
        _ => DeadLetterReason::Rejected("put among the dead letters by a stranger".into()),
    };
    let deliveries = match (integer(table, DELIVERIES), &reason) {
        (Some(deliveries), _) if own.is_some() => saturated(deliveries),
        (_, DeadLetterReason::DeliveryLimit) => {
            base.saturating_add(max_deliveries.unwrap_or(counted))
        }
        _ => base.saturating_add(counted),
    };
    let at = match (integer(table, DEAD_AT), event) {
        (Some(micros), _) if own.is_some() => instant(micros),
        (_, Some(event)) => timestamp(event, "time").unwrap_or(UNIX_EPOCH),
        _ => UNIX_EPOCH,
    };
    let destination = string(table, DESTINATION)
        .and_then(|text| destination(&text))
        .or_else(|| {
            let event = event?;
            let exchange = string(Some(event), "exchange")?;
            let AMQPValue::FieldArray(keys) = event.inner().get("routing-keys")? else {
                return None;
            };
            published_to(names, &exchange, &text_of(keys.as_slice().first()?)?)
        });
    let story = Story {
        redeliveries: base,
        destination,
        first_failed_at: integer(table, FIRST_FAILED_AT).map(instant),
    };
    let (envelope, fault) = envelope(message.data, &message.properties, priority);
    (
        Incoming {
            envelope,
            story,
            fault,
        },
        Death {
            reason,
            deliveries,
            at,
        },
    )
}

fn suffix(priority: Priority) -> String {
    format!(".p{}.v1", priority.index())
}

fn priority_of(properties: &BasicProperties) -> Priority {
    match properties.priority() {
        Some(0) => Priority::P2,
        Some(1) | None => Priority::P1,
        Some(_) => Priority::P0,
    }
}

fn envelope(
    data: Vec<u8>,
    properties: &BasicProperties,
    priority: Priority,
) -> (Envelope, Option<Cow<'static, str>>) {
    let table = properties.headers().as_ref();
    let id = message_id(&data, properties);
    let mut envelope = Envelope::new(data)
        .with_id(id)
        .with_priority(priority)
        .with_headers(user_headers(table));
    let content_type = properties.content_type().as_ref().map(ShortString::as_str);
    if let Some(content_type) = content_type.filter(|text| !text.is_empty()) {
        envelope = envelope.with_content_type(match content_type {
            "application/json" => ContentType::JSON,
            "application/octet-stream" => ContentType::OCTETS,
            other => ContentType::new(other.to_owned()),
        });
    }
    if let Some(id) = properties.correlation_id() {
        envelope = envelope.with_correlation_id(CorrelationId::parse(id.as_str()));
    }
    if let Some(key) = string(table, IDEMPOTENCY_KEY) {
        envelope = envelope.with_idempotency_key(key);
    }
    if let Some(at) = integer(table, EXPIRES_AT) {
        envelope = envelope.with_expires_at(instant(at));
    }
    let mut fault = None;
    if let Some(reply_to) = properties.reply_to() {
        match QueueName::new(reply_to.as_str()) {
            Ok(queue) => envelope = envelope.with_reply_to(queue),
            Err(error) => fault = Some(Cow::Owned(format!("reply-to cannot be answered: {error}"))),
        }
    }
    (envelope, fault)
}

/// Takes the id as it stands, or makes one that stays the same over redeliveries.
fn message_id(data: &[u8], properties: &BasicProperties) -> MessageId {
    match properties.message_id().as_ref().map(ShortString::as_str) {
        Some(text) if !text.is_empty() => text.parse().unwrap_or_else(|_| {
            MessageId::from_uuid(Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()))
        }),
        _ => {
            let sent = properties.timestamp().unwrap_or_default().to_be_bytes();
            let seed = [&sent[..], data].concat();
            MessageId::from_uuid(Uuid::new_v5(&Uuid::NAMESPACE_OID, &seed))
        }
    }
}

fn user_headers(table: Option<&FieldTable>) -> Headers {
    let entries = table.into_iter().flat_map(|table| table.inner());
    entries
        .filter_map(|(name, value)| {
            let name = match name.as_str().strip_prefix(ESCAPE) {
                Some(escaped) => escaped,
                None if is_reserved(name.as_str()) => return None,
                None => name.as_str(),
            };
            Some((name.to_owned(), text_of(value)?))
        })
        .collect()
}

/// Says whether a header of this name means something to the broker or to the bus.
fn is_reserved(name: &str) -> bool {
    name.starts_with(OWN) || name.starts_with("x-") || matches!(name, "CC" | "BCC")
}

fn published_to(names: &Names, exchange: &str, routing_key: &str) -> Option<Destination> {
    let is_in = |exchanges: &[String; 3]| exchanges.iter().any(|name| name == exchange);
    if is_in(&names.topic) {
        return Topic::new(routing_key).ok().map(Destination::Topic);
    }
    if is_in(&names.fanout) {
        return FanoutName::new(routing_key).ok().map(Destination::Fanout);
    }
    None
}

/// Reads what `Destination` writes.
fn destination(text: &str) -> Option<Destination> {
    let (kind, name) = text.split_once(' ')?;
    match kind {
        "queue" => QueueName::new(name).ok().map(Destination::Queue),
        "topic" => Topic::new(name).ok().map(Destination::Topic),
        "fanout" => FanoutName::new(name).ok().map(Destination::Fanout),
        _ => None,
    }
}

fn last_death(table: Option<&FieldTable>) -> Option<&FieldTable> {
    let AMQPValue::FieldArray(events) = table?.inner().get("x-death")? else {
        return None;
    };
    match events.as_slice().first()? {
        AMQPValue::FieldTable(event) => Some(event),
        _ => None,
    }
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// Reads a value of any simple type as text.
fn text_of(value: &AMQPValue) -> Option<String> {
    Some(match value {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        AMQPValue::ShortString(text) => text.to_string(),
        AMQPValue::ByteArray(bytes) => String::from_utf8_lossy(bytes.as_slice()).into_owned(),
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::Float(value) => value.to_string(),
        AMQPValue::Double(value) => value.to_string(),
        AMQPValue::Timestamp(value) => value.to_string(),
        AMQPValue::Void => String::new(),
        other => return integer_of(other).map(|value| value.to_string()),
    })
}

fn integer_of(value: &AMQPValue) -> Option<i64> {
    Some(match *value {
        AMQPValue::ShortShortInt(value) => value.into(),
        AMQPValue::ShortShortUInt(value) => value.into(),
        AMQPValue::ShortInt(value) => value.into(),
        AMQPValue::ShortUInt(value) => value.into(),
        AMQPValue::LongInt(value) => value.into(),
        AMQPValue::LongUInt(value) => value.into(),
        AMQPValue::LongLongInt(value) => value,
        _ => return None,
    })
}

fn string(table: Option<&FieldTable>, name: &str) -> Option<String> {
    text_of(table?.inner().get(name)?)
}

fn integer(table: Option<&FieldTable>, name: &str) -> Option<i64> {
    integer_of(table?.inner().get(name)?)
}

fn timestamp(table: &FieldTable, name: &str) -> Option<SystemTime> {
    match table.inner().get(name)? {
        AMQPValue::Timestamp(seconds) => UNIX_EPOCH.checked_add(Duration::from_secs(*seconds)),
        _ => None,
    }
}

fn saturated(value: i64) -> u32 {
    u32::try_from(value.max(0)).unwrap_or(u32::MAX)
}

fn micros(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn instant(micros: i64) -> SystemTime {
    let since = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}
