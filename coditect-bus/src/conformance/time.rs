//! R17–R19: expiry, delay, delivery limit.

use std::time::SystemTime;

use super::*;
use crate::DeadLetterReason;

pub async fn r17_expired_is_not_delivered(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    let soon = SystemTime::now() + Duration::from_millis(400);
    let past = SystemTime::now() - Duration::from_secs(1);
    let later = SystemTime::now() + Duration::from_secs(3_600);
    for (text, expiry) in [("past", past), ("soon", soon), ("later", later)] {
        bus.publish(&to("q"), Envelope::new(text).with_expires_at(expiry))
            .await
            .unwrap();
    }
    let mut consumer = consumer_of(&*bus, 1).await;
    // Whoever takes it in time may keep it; its expiry counts again when it comes back.
    let held = next(&mut consumer).await;
    assert_eq!(text(&held), "soon");
    sleep(Duration::from_millis(800)).await;
    held.nack(Duration::ZERO).await.unwrap();
    assert_eq!(next_text(&mut consumer).await, "later");
    quiet(&mut consumer, A_WHILE).await;
    let letters = dead_after(&*bus, &name("q"), 2).await;
    assert!(
        letters
            .iter()
            .all(|letter| letter.reason == DeadLetterReason::Expired),
        "{letters:?}"
    );
    assert_eq!((letters[0].deliveries, letters[1].deliveries), (0, 1));
}

pub async fn r17_expired_under_a_delay_is_not_delivered(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    let expiry = SystemTime::now() + Duration::from_millis(200);
    let envelope = Envelope::new("a")
        .with_delay(Duration::from_millis(400))
        .with_expires_at(expiry);
    bus.publish(&to("q"), envelope).await.unwrap();
    quiet(&mut consumer(&*bus).await, Duration::from_millis(900)).await;
    assert_eq!(
        dead_after(&*bus, &name("q"), 1).await[0].reason,
        DeadLetterReason::Expired
    );
}

pub async fn r18_delayed_is_not_delivered_early(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    let mut consumer = consumer(&*bus).await;
    let start = Instant::now();
    for (text, millis) in [("third", 900), ("second", 500), ("first", 0)] {
        let envelope = Envelope::new(text).with_delay(Duration::from_millis(millis));
        bus.publish(&to("q"), envelope).await.unwrap();
    }
    for (expected, millis) in [("first", 0), ("second", 500), ("third", 900)] {
        assert_eq!(next_text(&mut consumer).await, expected);
        let after = start.elapsed();
        assert!(
            after >= Duration::from_millis(millis),
            "{expected} came after {after:?}"
        );
    }
}

pub async fn r19_delivery_limit_sets_aside(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec.with_max_deliveries(limit(3))).await;
    send(&*bus, "poison").await;
    send(&*bus, "good").await;
    let mut consumer = consumer(&*bus).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let delivery = next(&mut consumer).await;
        seen.push(text(&delivery).to_owned());
        if text(&delivery) == "good" {
            delivery.ack().await.unwrap();
        }
    }
    seen.sort();
    assert_eq!(seen, ["good", "poison", "poison", "poison"]);
    quiet(&mut consumer, A_WHILE).await;
    let letters = dead_after(&*bus, &name("q"), 1).await;
    assert_eq!(
        (&letters[0].reason, letters[0].deliveries),
        (&DeadLetterReason::DeliveryLimit, 3)
    );
}
