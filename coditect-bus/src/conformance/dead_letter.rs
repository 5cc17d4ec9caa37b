//! R31–R33: dead letters.

use std::time::SystemTime;

use super::*;
use crate::{DeadLetterCursor, DeadLetterReason, MessageId};

/// Rejects one message per reason and returns their ids.
async fn reject_all(bus: &dyn MessageBus, reasons: &[&'static str]) -> Vec<MessageId> {
    let mut ids = Vec::new();
    let mut consumer = consumer(bus).await;
    for reason in reasons {
        let envelope = Envelope::new(*reason).with_header("kept", "yes");
        ids.push(envelope.id());
        bus.publish(&to("q"), envelope).await.unwrap();
        next(&mut consumer).await.reject(*reason).await.unwrap();
        dead_after(bus, &name("q"), ids.len()).await;
    }
    ids
}

pub async fn r31_dead_letters_are_listed_in_pages(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    let before = SystemTime::now() - Duration::from_secs(2);
    let ids = reject_all(&*bus, &["a", "b", "c", "d", "e"]).await;
    let (mut from, mut seen, mut pages): (Option<DeadLetterCursor>, Vec<DeadLetter>, usize) =
        (None, Vec::new(), 0);
    loop {
        let page = Page {
            from,
            limit: count(2),
        };
        let page = bus
            .dead_letters(&name("q"), &DeadLetterFilter::all(), page)
            .await
            .unwrap();
        assert!(page.letters.len() <= 2);
        seen.extend(page.letters);
        pages += 1;
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(
        seen.iter()
            .map(|letter| letter.envelope.id())
            .collect::<Vec<_>>(),
        ids
    );
    for (letter, reason) in seen.iter().zip(["a", "b", "c", "d", "e"]) {
        assert_eq!(letter.reason, DeadLetterReason::Rejected(reason.into()));
        assert_eq!(
            (letter.deliveries, &letter.queue, &letter.destination),
            (1, &name("q"), &to("q"))
        );
        assert!(
            before < letter.first_failed_at && letter.first_failed_at <= letter.dead_lettered_at
        );
        assert_eq!(letter.envelope.header("kept"), Some("yes"));
    }
    let one = bus
        .dead_letters(&name("q"), &DeadLetterFilter::id(ids[3]), Page::default())
        .await
        .unwrap();
    assert_eq!(one.letters.len(), 1);
    let none = DeadLetterFilter::all().with_reason(&DeadLetterReason::Expired);
    assert!(
        bus.dead_letters(&name("q"), &none, Page::default())
            .await
            .unwrap()
            .letters
            .is_empty()
    );
    let none = DeadLetterFilter::all().with_before(before);
    assert!(
        bus.dead_letters(&name("q"), &none, Page::default())
            .await
            .unwrap()
            .letters
            .is_empty()
    );
}

pub async fn r32_redriven_is_as_new(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    let ids = reject_all(&*bus, &["a", "b", "c"]).await;
    let expired = Envelope::new("d").with_expires_at(SystemTime::now() - Duration::from_secs(1));
    bus.publish(&to("q"), expired).await.unwrap();
    let mut consumer = consumer(&*bus).await;
    quiet(&mut consumer, A_WHILE).await;
    dead_after(&*bus, &name("q"), 4).await;

    assert_eq!(
        bus.redrive(&name("q"), &DeadLetterFilter::id(ids[1]))
            .await
            .unwrap(),
        1
    );
    let delivery = next(&mut consumer).await;
    assert_eq!(
        (delivery.envelope().id(), delivery.redeliveries()),
        (ids[1], 0)
    );
    assert_eq!(
        (delivery.envelope().header("kept"), delivery.destination()),
        (Some("yes"), to("q"))
    );
    delivery.ack().await.unwrap();
    assert_eq!(
        bus.redrive(&name("q"), &DeadLetterFilter::id(ids[1]))
            .await
            .unwrap(),
        0
    );

    assert_eq!(
        bus.redrive(&name("q"), &DeadLetterFilter::all())
            .await
            .unwrap(),
        3
    );
    for expected in ["a", "c", "d"] {
        let delivery = next(&mut consumer).await;
        assert_eq!(
            (text(&delivery), delivery.envelope().expires_at()),
            (expected, None)
        );
        delivery.ack().await.unwrap();
    }
    assert!(dead(&*bus, &name("q")).await.is_empty());
}

pub async fn r32_redriving_stops_when_the_queue_is_full(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec.with_capacity(count(2))).await;
    reject_all(&*bus, &["a", "b", "c", "d", "e", "f", "g", "h"]).await;
    let redriven = bus
        .redrive(&name("q"), &DeadLetterFilter::all())
        .await
        .unwrap();
    assert!((2..8).contains(&redriven), "{redriven} were redriven");
    dead_after(&*bus, &name("q"), 8 - usize::try_from(redriven).unwrap()).await;
    let mut consumer = consumer(&*bus).await;
    for _ in 0..redriven {
        next_text(&mut consumer).await;
    }
    quiet(&mut consumer, A_WHILE).await;
}

pub async fn r33_purged_is_gone_and_others_stay(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    let ids = reject_all(&*bus, &["a", "b", "c"]).await;
    assert_eq!(
        bus.purge_dead_letters(&name("q"), &DeadLetterFilter::id(ids[1]))
            .await
            .unwrap(),
        1
    );
    let left: Vec<_> = dead_after(&*bus, &name("q"), 2)
        .await
        .iter()
        .map(|letter| letter.envelope.id())
        .collect();
    assert_eq!(left, [ids[0], ids[2]]);
    assert_eq!(
        bus.purge_dead_letters(&name("q"), &DeadLetterFilter::all())
            .await
            .unwrap(),
        2
    );
    assert!(dead(&*bus, &name("q")).await.is_empty());
    assert_eq!(
        bus.redrive(&name("q"), &DeadLetterFilter::all())
            .await
            .unwrap(),
        0
    );
}
