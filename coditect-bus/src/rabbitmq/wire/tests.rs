//! Both ways of the mapping, and what strangers may send.

use lapin::types::{FieldArray, LongString};
use proptest::prelude::*;
use std::time::Duration;

use super::*;

fn names() -> Names {
    Names::new("ns")
}

/// What a consumer would get of what was published.
fn carried(properties: BasicProperties, data: &[u8], exchange: &str, key: &str) -> Message {
    let mut message = Message::mock(1, exchange.into(), key.into(), false, data.to_vec());
    message.properties = properties;
    message
}

fn strange_value() -> impl Strategy<Value = AMQPValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(AMQPValue::Boolean),
        any::<i8>().prop_map(AMQPValue::ShortShortInt),
        any::<u32>().prop_map(AMQPValue::LongUInt),
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        any::<f64>().prop_map(AMQPValue::Double),
        any::<u64>().prop_map(AMQPValue::Timestamp),
        any::<Vec<u8>>().prop_map(|bytes| AMQPValue::LongString(LongString::from(bytes))),
        Just(AMQPValue::Void),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|values| AMQPValue::FieldArray(FieldArray::from(values))),
            prop::collection::btree_map(strange_name(), inner, 0..4)
                .prop_map(|table| AMQPValue::FieldTable(FieldTable::from(table))),
        ]
    })
}

fn strange_name() -> impl Strategy<Value = ShortString> {
    let known = [
        IDEMPOTENCY_KEY,
        EXPIRES_AT,
        REDELIVERIES,
        DESTINATION,
        FIRST_FAILED_AT,
        REASON,
        WORDS,
        DELIVERIES,
        DEAD_AT,
        "x-death",
        "x-delivery-count",
        "reason",
        "time",
        "queue",
        "exchange",
        "routing-keys",
        "coditect-bus-h-",
    ];
    prop_oneof![
        prop::sample::select(known.to_vec()).prop_map(ShortString::from),
        "[a-z]{0,6}".prop_map(ShortString::from),
    ]
}

fn text_or_nothing() -> impl Strategy<Value = Option<ShortString>> {
    prop::option::of("\\PC{0,20}").prop_map(|text| text.map(ShortString::from))
}

proptest! {
    #[test]
    fn an_envelope_comes_back_as_it_was_sent(
        payload in any::<Vec<u8>>(),
        headers in prop::collection::btree_map("(x-|CC|BCC|coditect-bus-|coditect-bus-h-|)[a-z]{0,8}", "\\PC{0,20}", 0..5),
        priority in 0..3_usize,
        correlation in prop::option::of("\\PC{1,40}"),
        key in prop::option::of("\\PC{0,40}"),
        expires in prop::option::of(0..4_000_000_000_000_000_u64),
        redeliveries in 0..u32::MAX,
        failed in prop::option::of(0..4_000_000_000_000_000_u64),
    ) {
        let micros = |at: u64| UNIX_EPOCH + Duration::from_micros(at);
        let mut sent = Envelope::new(payload)
            .with_priority(Priority::ALL[priority])
            .with_headers(headers.into_iter().collect())
            .with_content_type(ContentType::new("text/x"))
            .with_reply_to(QueueName::new("answers").unwrap());
        if let Some(text) = &correlation {
            sent = sent.with_correlation_id(CorrelationId::parse(text));
        }
        if let Some(key) = key {
            sent = sent.with_idempotency_key(key);
        }
        if let Some(at) = expires {
            sent = sent.with_expires_at(micros(at));
        }
        let destination = Some(Destination::Topic(Topic::new("a.b").unwrap()));
        let story = Story { redeliveries, destination, first_failed_at: failed.map(micros) };
        let written = properties(&sent, &story, None, true).unwrap();
        let message = carried(written, sent.payload(), "", "ns.q.p1.v1");
        let Incoming { envelope: got, story: told, fault } = incoming(message, sent.priority(), &names());
        prop_assert_eq!(fault, None);
        prop_assert_eq!((got.id(), got.payload(), got.priority()), (sent.id(), sent.payload(), sent.priority()));
        prop_assert_eq!((got.headers(), got.content_type()), (sent.headers(), sent.content_type()));
        prop_assert_eq!((got.correlation_id(), got.reply_to()), (sent.correlation_id(), sent.reply_to()));
        prop_assert_eq!((got.idempotency_key(), got.expires_at()), (sent.idempotency_key(), sent.expires_at()));
        prop_assert_eq!((told.redeliveries, told.destination, told.first_failed_at), (story.redeliveries, story.destination, story.first_failed_at));
    }

    #[test]
    fn whatever_a_stranger_sends_is_read(
        data in any::<Vec<u8>>(),
        table in prop::collection::btree_map(strange_name(), strange_value(), 0..8),
        id in text_or_nothing(),
        correlation in text_or_nothing(),
        reply_to in text_or_nothing(),
        content_type in text_or_nothing(),
        priority in any::<u8>(),
        timestamp in any::<u64>(),
    ) {
        let mut properties = BasicProperties::default()
            .with_headers(FieldTable::from(table))
            .with_priority(priority)
            .with_timestamp(timestamp);
        if let Some(id) = id { properties = properties.with_message_id(id); }
        if let Some(id) = correlation { properties = properties.with_correlation_id(id); }
        if let Some(queue) = reply_to { properties = properties.with_reply_to(queue); }
        if let Some(kind) = content_type { properties = properties.with_content_type(kind); }
        let names = names();
        let message = || carried(properties.clone(), &data, &names.topic[1], "no topic");
        let first = incoming(message(), Priority::P1, &names);
        let again = incoming(message(), Priority::P1, &names);
        prop_assert_eq!(first.envelope.id(), again.envelope.id());
        prop_assert_eq!(first.envelope.payload().as_ref(), &data[..]);
        let (letter, _) = dead(message(), &names, Some(3));
        prop_assert_eq!(letter.envelope.id(), first.envelope.id());
    }
}

#[test]
fn what_the_broker_set_aside_is_read_from_its_own_words() {
    let text = |text: &str| AMQPValue::LongString(text.into());
    for (word, reason, deliveries) in [
        ("expired", DeadLetterReason::Expired, 2),
        ("maxlen", DeadLetterReason::Overflow, 2),
        ("delivery_limit", DeadLetterReason::DeliveryLimit, 9),
        ("rejected", DeadLetterReason::Rejected("".into()), 2),
    ] {
        let mut event = FieldTable::default();
        event.insert("reason".into(), text(word));
        event.insert("time".into(), AMQPValue::Timestamp(1_000));
        event.insert("queue".into(), text("ns.q.p2.v1"));
        event.insert("exchange".into(), text("ns.topic.p2.v1"));
        event.insert(
            "routing-keys".into(),
            AMQPValue::FieldArray(vec![text("run.7")].into()),
        );
        let mut table = FieldTable::default();
        table.insert(
            "x-death".into(),
            AMQPValue::FieldArray(vec![AMQPValue::FieldTable(event)].into()),
        );
        table.insert(REDELIVERIES.into(), AMQPValue::LongLongInt(2));
        let properties = BasicProperties::default().with_headers(table);
        let (letter, death) = dead(
            carried(properties, b"x", "ns.dead.v1", "q"),
            &names(),
            Some(7),
        );
        assert_eq!(
            (death.reason, death.deliveries),
            (reason, deliveries),
            "{word}"
        );
        assert_eq!(death.at, UNIX_EPOCH + Duration::from_secs(1_000));
        assert_eq!(letter.envelope.priority(), Priority::P2);
        let topic = Destination::Topic(Topic::new("run.7").unwrap());
        assert_eq!(letter.story.destination, Some(topic));
    }
}

#[test]
fn a_dead_letter_of_ours_comes_back_with_its_reason() {
    let at = UNIX_EPOCH + Duration::from_micros(1_234_567);
    let death = Death {
        reason: DeadLetterReason::Rejected("no such file".into()),
        deliveries: 4,
        at,
    };
    let envelope = Envelope::new("x").with_priority(Priority::P0);
    let written = properties(&envelope, &Story::default(), Some(&death), false).unwrap();
    let (letter, read) = dead(carried(written, b"x", "", "ns.q.dead.v1"), &names(), None);
    assert_eq!(
        (read.reason, read.deliveries, read.at),
        (death.reason, 4, at)
    );
    assert_eq!(
        (letter.envelope.id(), letter.envelope.priority()),
        (envelope.id(), Priority::P0)
    );
}

#[test]
fn what_does_not_fit_into_a_message_is_refused() {
    let long = "x".repeat(256);
    for envelope in [
        Envelope::new("").with_header(long.clone(), ""),
        Envelope::new("").with_correlation_id(CorrelationId::parse(&long)),
        Envelope::new("").with_content_type(ContentType::new(long.clone())),
    ] {
        let error = properties(&envelope, &Story::default(), None, true).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Invalid);
    }
}

#[test]
fn an_expiry_is_told_to_the_broker_as_far_as_it_can_count() {
    let ttl = |at: SystemTime| {
        let envelope = Envelope::new("").with_expires_at(at);
        let written = properties(&envelope, &Story::default(), None, true).unwrap();
        written
            .expiration()
            .as_ref()
            .map(|text| text.as_str().parse::<u64>().unwrap())
    };
    let now = SystemTime::now();
    assert_eq!(ttl(now - Duration::from_secs(1)), Some(0));
    assert!(
        ttl(now + Duration::from_secs(60))
            .is_some_and(|millis| (59_000..=60_000).contains(&millis))
    );
    assert_eq!(ttl(now + Duration::from_secs(100 * 24 * 3_600)), None);
}
