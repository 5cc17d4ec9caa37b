//! R7–R16: consuming.

use std::collections::HashSet;

use super::*;
use crate::{DeadLetterReason, ErrorKind, PriorityTurns};

pub async fn r7_each_message_is_with_one_consumer(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    let mut consumers = [
        consumer_of(&*bus, 8).await,
        consumer_of(&*bus, 8).await,
        consumer_of(&*bus, 8).await,
    ];
    bus.publish_batch(
        &to("q"),
        (0..24_u8).map(|n| Envelope::new(vec![n])).collect(),
    )
    .await
    .unwrap();
    let mut held = Vec::new();
    for consumer in &mut consumers {
        for _ in 0..8 {
            held.push(next(consumer).await);
        }
    }
    let distinct: HashSet<_> = held.iter().map(|delivery| delivery.payload()[0]).collect();
    assert_eq!(distinct.len(), 24);
}

pub async fn r8_prefetch_bounds_what_a_consumer_holds(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    for _ in 0..3 {
        send(&*bus, "a").await;
    }
    let mut consumer = consumer_of(&*bus, 2).await;
    let (first, _second) = (next(&mut consumer).await, next(&mut consumer).await);
    quiet(&mut consumer, A_WHILE).await;
    assert!(consumer.try_recv().is_none());
    // A wait that began at the limit goes on when there is room.
    let (third, acked) = tokio::join!(next(&mut consumer), async { first.ack().await });
    acked.unwrap();
    assert_eq!(text(&third), "a");
}

pub async fn r9_unacked_is_redelivered(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    send(&*bus, "a").await;
    let mut consumer = consumer(&*bus).await;
    for redeliveries in 0..4 {
        let delivery = next(&mut consumer).await;
        assert_eq!(
            (text(&delivery), delivery.redeliveries()),
            ("a", redeliveries)
        );
    }
    next(&mut consumer).await.ack().await.unwrap();
}

pub async fn r10_acked_is_never_redelivered(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    send(&*bus, "a").await;
    let mut first = consumer(&*bus).await;
    assert_eq!(next_text(&mut first).await, "a");
    drop(first);
    quiet(&mut consumer(&*bus).await, A_WHILE).await;
    assert_eq!(bus.stats(&name("q")).await.unwrap().ready(), 0);
    assert!(dead(&*bus, &name("q")).await.is_empty());
}

pub async fn r11_nacked_comes_again_after_its_delay(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    send(&*bus, "a").await;
    let mut consumer = consumer(&*bus).await;
    next(&mut consumer)
        .await
        .nack(Duration::ZERO)
        .await
        .unwrap();
    let again = next(&mut consumer).await;
    assert_eq!(again.redeliveries(), 1);
    let (delay, start) = (Duration::from_millis(500), Instant::now());
    again.nack(delay).await.unwrap();
    let again = next(&mut consumer).await;
    assert!(start.elapsed() >= delay, "came after {:?}", start.elapsed());
    assert_eq!((text(&again), again.redeliveries()), ("a", 2));
}

pub async fn r12_rejected_becomes_a_dead_letter(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    send(&*bus, "bad").await;
    send(&*bus, "good").await;
    let mut consumer = consumer(&*bus).await;
    next(&mut consumer)
        .await
        .reject("no such file")
        .await
        .unwrap();
    assert_eq!(next_text(&mut consumer).await, "good");
    quiet(&mut consumer, A_WHILE).await;
    let letters = dead_after(&*bus, &name("q"), 1).await;
    assert_eq!(
        letters[0].reason,
        DeadLetterReason::Rejected("no such file".into())
    );
    assert_eq!(
        (
            letters[0].envelope.payload().as_ref(),
            letters[0].deliveries
        ),
        ("bad".as_bytes(), 1)
    );
}

pub async fn r13_recv_is_cancel_safe(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    let (mut first, mut second) = (consumer(&*bus).await, consumer(&*bus).await);
    for round in 0..50_u8 {
        // The first consumer waits longest, so the message is meant for it; it goes before it has looked.
        let mut given_up = Box::pin(first.recv());
        assert!(futures::poll!(&mut given_up).is_pending());
        let mut waiting = Box::pin(next(&mut second));
        assert!(futures::poll!(&mut waiting).is_pending());
        bus.publish(&to("q"), Envelope::new(vec![round]))
            .await
            .unwrap();
        drop(given_up);
        drop(first);
        let delivery = waiting.await;
        assert_eq!(delivery.payload()[0], round);
        delivery.ack().await.unwrap();
        first = consumer(&*bus).await;
    }
}

pub async fn r14_deliveries_outlive_their_consumer(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    for text in ["acked", "dropped"] {
        send(&*bus, text).await;
    }
    let mut first = consumer(&*bus).await;
    let (acked, dropped) = (next(&mut first).await, next(&mut first).await);
    drop(first);
    let mut second = consumer(&*bus).await;
    quiet(&mut second, A_WHILE).await;
    acked.ack().await.unwrap();
    drop(dropped);
    assert_eq!(next_text(&mut second).await, "dropped");
    quiet(&mut second, A_WHILE).await;
}

pub async fn r15_lost_delivery_cannot_be_settled_and_comes_again(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    for text in ["a", "b"] {
        send(&*bus, text).await;
    }
    let mut consumer = consumer_of(&*bus, 2).await;
    let (watched, silent) = (next(&mut consumer).await, next(&mut consumer).await);
    let lost = watched.lost();
    assert!(!watched.is_lost() && !lost.is_cancelled());
    backend.sever().await;
    timeout(Duration::from_secs(20), lost.cancelled())
        .await
        .expect("the token fires");
    assert!(watched.is_lost() && silent.is_lost());
    assert!(silent.lost().is_cancelled());
    assert_eq!(
        watched.ack().await.unwrap_err().kind(),
        ErrorKind::LeaseLost
    );
    assert_eq!(
        silent.reject("too late").await.unwrap_err().kind(),
        ErrorKind::LeaseLost
    );
    let mut again: Vec<String> = Vec::new();
    for _ in 0..2 {
        let delivery = next(&mut consumer).await;
        assert!(delivery.redeliveries() >= 1);
        again.push(text(&delivery).to_owned());
        delivery.ack().await.unwrap();
    }
    again.sort();
    assert_eq!(again, ["a", "b"]);
    assert!(dead(&*bus, &name("q")).await.is_empty());
}

pub async fn r16_priorities_hold_and_do_not_starve(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    const ROUNDS: usize = 6;
    for priority in [Priority::P2, Priority::P1, Priority::P0] {
        let backlog = (0..ROUNDS * PriorityTurns::ROUND)
            .map(|_| envelope("x", priority))
            .collect();
        bus.publish_batch(&to("q"), backlog).await.unwrap();
    }
    const PREFETCH: usize = 1;
    let mut consumer = consumer_of(&*bus, PREFETCH).await;
    for _ in 0..ROUNDS - 1 {
        let mut served = [0_usize; 3];
        for _ in 0..PriorityTurns::ROUND {
            // How long a backend takes to bring the next is its own affair.
            backend.all_at_hand().await;
            let delivery = next(&mut consumer).await;
            served[delivery.envelope().priority().index()] += 1;
            delivery.ack().await.unwrap();
        }
        // What was taken ahead belongs to the turns before.
        for (got, due) in served.into_iter().zip([12, 3, 1]) {
            assert!(got.abs_diff(due) <= PREFETCH, "{served:?}");
        }
    }
}
