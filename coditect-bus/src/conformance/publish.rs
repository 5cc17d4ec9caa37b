//! R1–R6: publishing.

use std::time::SystemTime;

use super::*;
use crate::{ContentType, CorrelationId, ErrorKind, FanoutName, MessageId};

pub async fn r1_confirmed_is_delivered_until_settled(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    send(&*bus, "a").await;
    let mut consumer = consumer(&*bus).await;
    for _ in 0..5 {
        drop(next(&mut consumer).await);
    }
    assert_eq!(next_text(&mut consumer).await, "a");
    quiet(&mut consumer, A_WHILE).await;
}

pub async fn r2_unroutable_comes_back(backend: &dyn Backend) {
    let bus = backend.open().await;
    let nowhere = [
        to("nowhere"),
        topic("no.where"),
        Destination::Fanout(FanoutName::new("nowhere").unwrap()),
    ];
    for destination in nowhere {
        let envelope = Envelope::new("a");
        let id = envelope.id();
        let error = bus.publish(&destination, envelope).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoRoute);
        assert!(!error.error().outcome_unknown());
        assert_eq!(error.into_envelope().unwrap().id(), id);
    }
    let error = bus
        .subscribe(Subscription::queue(name("nowhere")))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRoute);
    assert!(error.to_string().contains("nowhere"), "{error}");
}

pub async fn r3_payload_over_the_limit_comes_back(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    let limit = bus.capabilities().max_payload;
    send(&*bus, "before").await;
    let error = bus
        .publish(&to("q"), Envelope::new(vec![7; limit + 1]))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains(&limit.to_string()), "{error}");
    assert_eq!(error.into_envelope().unwrap().payload().len(), limit + 1);
    bus.publish(&to("q"), Envelope::new(vec![7; limit]))
        .await
        .unwrap();
    let mut consumer = consumer(&*bus).await;
    assert_eq!(next_text(&mut consumer).await, "before");
    assert_eq!(next(&mut consumer).await.payload().len(), limit);
}

pub async fn r4_received_is_what_was_sent(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    // Whole seconds, as brokers keep them.
    let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let sent = Envelope::new(vec![0, 255, 1])
        .with_priority(Priority::P2)
        .with_header("tenant", "acme")
        .with_header("empty", "")
        .with_header("umlaut", "ü")
        .with_content_type(ContentType::new("image/x"))
        .with_correlation_id(CorrelationId::parse("any text"))
        .with_reply_to(name("answers"))
        .with_idempotency_key("once")
        .with_expires_at(expires)
        .with_delay(Duration::from_millis(1));
    bus.publish(&to("q"), sent.clone()).await.unwrap();
    let delivery = next(&mut consumer(&*bus).await).await;
    let got = delivery.envelope();
    assert_eq!((got.id(), got.payload()), (sent.id(), sent.payload()));
    assert_eq!(
        (got.priority(), got.headers()),
        (sent.priority(), sent.headers())
    );
    assert_eq!(got.content_type(), sent.content_type());
    assert_eq!(got.correlation_id(), sent.correlation_id());
    assert_eq!(
        (got.reply_to(), got.idempotency_key()),
        (sent.reply_to(), sent.idempotency_key())
    );
    assert_eq!((got.expires_at(), got.delay()), (Some(expires), None));
    assert_eq!(
        (delivery.destination(), delivery.queue()),
        (to("q"), &name("q"))
    );
    assert_eq!(delivery.redeliveries(), 0);
}

pub async fn r5_batch_gives_back_exactly_what_was_not_taken(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    let limit = bus.capabilities().max_payload;
    let batch: Vec<_> = [1, limit + 1, 2, limit + 1, 3]
        .map(|len| Envelope::new(vec![0; len]))
        .into();
    let ids: Vec<MessageId> = batch.iter().map(Envelope::id).collect();
    let error = bus.publish_batch(&to("q"), batch).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let returned: Vec<_> = error.into_envelopes().iter().map(Envelope::id).collect();
    assert_eq!(returned, [ids[1], ids[3]]);
    let mut consumer = consumer(&*bus).await;
    for id in [ids[0], ids[2], ids[4]] {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.envelope().id(), id);
        delivery.ack().await.unwrap();
    }
    bus.publish_batch(&to("q"), Vec::new()).await.unwrap();
    quiet(&mut consumer, A_WHILE).await;
}

pub async fn r6_order_is_kept_within_a_priority(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    for number in 0..60_u8 {
        let priority = Priority::ALL[usize::from(number % 3)];
        bus.publish(
            &to("q"),
            Envelope::new(vec![number]).with_priority(priority),
        )
        .await
        .unwrap();
    }
    let mut consumer = consumer(&*bus).await;
    let mut last = [None; 3];
    for _ in 0..60 {
        let delivery = next(&mut consumer).await;
        let (number, slot) = (
            delivery.payload()[0],
            &mut last[delivery.envelope().priority().index()],
        );
        assert!(slot.is_none_or(|before| before < number));
        *slot = Some(number);
        delivery.ack().await.unwrap();
    }
}
