//! Reading messages: ours, those that the broker has set aside, and those of strangers.

use super::value::{instant, integer, saturated, string, text_of, timestamp};
use super::*;

/// Reads a message that lay in the queue of this priority.
pub(in crate::rabbitmq) fn incoming(
    message: Message,
    priority: Priority,
    names: &Names,
) -> Incoming {
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
pub(in crate::rabbitmq) fn dead(
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
