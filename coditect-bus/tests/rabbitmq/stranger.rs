//! Messages of strangers: each becomes a delivery, or a dead letter that says why.

use coditect_bus::{
    CorrelationId, DeadLetterFilter, DeadLetterReason, Destination, MessageBus, Page, Priority,
    QueueName,
};
use serde_json::{Value, json};

use super::{WORK, bus_at, consumer, next, queue, until, vhost};

#[tokio::test]
async fn a_bare_message_is_delivered_under_a_lasting_id() {
    let Some(vhost) = vhost().await else { return };
    let bus = bus_at(vhost.url()).await;
    vhost.publish(WORK, json!({}), &[0, 255, 7]).await.unwrap();
    let mut consumer = consumer(&bus, 1).await;
    let first = next(&mut consumer).await;
    let id = first.envelope().id();
    assert_eq!(first.payload().as_ref(), [0, 255, 7]);
    assert_eq!(first.envelope().priority(), Priority::P1);
    assert_eq!(first.destination(), Destination::Queue(queue()));
    drop(first);
    let again = next(&mut consumer).await;
    assert_eq!((again.envelope().id(), again.redeliveries()), (id, 1));
    again.ack().await.unwrap();
    bus.close().await.unwrap();
}

#[tokio::test]
async fn headers_of_every_type_are_read_as_text_and_nonsense_is_survived() {
    let Some(vhost) = vhost().await else { return };
    let bus = bus_at(vhost.url()).await;
    let properties = json!({
        "message_id": "no uuid at all",
        "correlation_id": "42",
        "reply_to": "answers",
        "content_type": "",
        "priority": 200,
        "headers": {
            "text": "a", "number": 7, "flag": true, "fraction": 1.5, "nested": { "a": [1] }, "list": [1, 2],
            "coditect-bus-expires-at": "soon", "coditect-bus-redeliveries": -3, "coditect-bus-destination": "moon",
            "coditect-bus-first-failed-at": 9_223_372_036_854_775_807_i64, "x-death": "not a list",
        },
    });
    vhost.publish(WORK, properties, b"x").await.unwrap();
    let delivery = next(&mut consumer(&bus, 1).await).await;
    let envelope = delivery.envelope();
    assert_eq!(
        [
            envelope.header("text"),
            envelope.header("number"),
            envelope.header("flag"),
            envelope.header("fraction")
        ],
        [Some("a"), Some("7"), Some("true"), Some("1.5")]
    );
    assert_eq!((envelope.headers().len(), delivery.redeliveries()), (4, 0));
    assert_eq!(envelope.correlation_id(), Some(&CorrelationId::parse("42")));
    assert_eq!(
        envelope.reply_to(),
        Some(&QueueName::new("answers").unwrap())
    );
    assert_eq!(
        (envelope.expires_at(), delivery.destination()),
        (None, Destination::Queue(queue()))
    );
    // It can be put back and set aside like any other.
    delivery.reject("enough").await.unwrap();
    until("it is dead", async || {
        bus.stats(&queue()).await.unwrap().dead_letters == 1
    })
    .await;
    bus.close().await.unwrap();
}

#[tokio::test]
async fn a_question_that_cannot_be_answered_is_a_dead_letter_with_the_reason() {
    let Some(vhost) = vhost().await else { return };
    let bus = bus_at(vhost.url()).await;
    vhost
        .publish(WORK, json!({ "reply_to": "two words" }), b"bad")
        .await
        .unwrap();
    vhost.publish(WORK, json!({}), b"good").await.unwrap();
    let mut consumer = consumer(&bus, 1).await;
    let delivery = next(&mut consumer).await;
    assert_eq!(delivery.payload().as_ref(), b"good");
    delivery.ack().await.unwrap();
    until("it is dead", async || {
        bus.stats(&queue()).await.unwrap().dead_letters == 1
    })
    .await;
    let page = bus
        .dead_letters(&queue(), &DeadLetterFilter::all(), Page::default())
        .await
        .unwrap();
    let letter = &page.letters[0];
    assert_eq!(
        (letter.envelope.payload().as_ref(), letter.deliveries),
        (&b"bad"[..], 0)
    );
    let DeadLetterReason::Rejected(words) = &letter.reason else {
        panic!("{:?}", letter.reason)
    };
    assert!(
        words.contains("reply-to") && words.contains("two words"),
        "{words}"
    );
    bus.close().await.unwrap();
}

#[tokio::test]
async fn what_a_stranger_puts_among_the_dead_letters_is_listed_and_redriven() {
    let Some(vhost) = vhost().await else { return };
    let bus = bus_at(vhost.url()).await;
    let properties: Value =
        json!({ "headers": { "coditect-bus-dead-reason": "boredom", "x-death": [1] } });
    vhost
        .publish("coditect.q.dead.v1", properties, b"x")
        .await
        .unwrap();
    let page = bus
        .dead_letters(&queue(), &DeadLetterFilter::all(), Page::default())
        .await
        .unwrap();
    assert!(
        matches!(&page.letters[0].reason, DeadLetterReason::Rejected(words) if words.contains("stranger"))
    );
    assert_eq!(
        bus.redrive(&queue(), &DeadLetterFilter::all())
            .await
            .unwrap(),
        1
    );
    let delivery = next(&mut consumer(&bus, 1).await).await;
    assert_eq!(
        (delivery.payload().as_ref(), delivery.redeliveries()),
        (&b"x"[..], 0)
    );
    delivery.ack().await.unwrap();
    bus.close().await.unwrap();
}
