//! R20–R26 and R34: queues, from their declaration to the end.

use super::*;
use crate::{DeadLetterReason, ErrorKind, OverflowPolicy};

pub async fn r20_declaring_again_is_harmless_and_otherwise_a_conflict(backend: &dyn Backend) {
    let spec = QueueSpec::new(name("q")).with_capacity(count(5));
    let bus = with_queue(backend, |spec| spec.with_capacity(count(5))).await;
    send(&*bus, "a").await;
    bus.declare(spec.clone()).await.unwrap();
    let others = [
        spec.clone().with_capacity(count(6)),
        spec.clone().with_overflow(OverflowPolicy::DropOldest),
        spec.clone().with_max_deliveries(limit(7)),
        QueueSpec::temporary(name("q")).with_capacity(count(5)),
    ];
    for other in others {
        let error = bus.declare(other).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("queue q"), "{error}");
    }
    bus.declare(spec).await.unwrap();
    assert_eq!(next_text(&mut consumer(&*bus).await).await, "a");
}

pub async fn r21_full_queue_rejects(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec.with_capacity(count(2))).await;
    let (mut taken, mut refused) = (Vec::new(), 0);
    // A broker may take a few more than it should.
    for number in 0..50_u8 {
        match bus.publish(&to("q"), Envelope::new(vec![number])).await {
            Ok(()) => taken.push(number),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Full);
                assert!(error.error().is_retryable());
                assert_eq!(error.into_envelope().unwrap().payload()[0], number);
                refused += 1;
            }
        }
    }
    assert!(taken.len() >= 2 && refused > 0);
    let mut consumer = consumer(&*bus).await;
    for number in taken {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.payload()[0], number);
        delivery.ack().await.unwrap();
    }
    quiet(&mut consumer, A_WHILE).await;
    send(&*bus, "again").await;
    assert_eq!(next_text(&mut consumer).await, "again");
}

pub async fn r22_full_queue_drops_the_oldest(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| {
        spec.with_capacity(count(2))
            .with_overflow(OverflowPolicy::DropOldest)
    })
    .await;
    for text in ["a", "b", "c"] {
        send(&*bus, text).await;
    }
    let letters = dead_after(&*bus, &name("q"), 1).await;
    assert_eq!(
        (letters[0].envelope.payload().as_ref(), &letters[0].reason),
        ("a".as_bytes(), &DeadLetterReason::Overflow)
    );
    let mut consumer = consumer(&*bus).await;
    assert_eq!(next_text(&mut consumer).await, "b");
    assert_eq!(next_text(&mut consumer).await, "c");
}

async fn full_waiting_queue(backend: &dyn Backend, patience: Duration) -> Arc<dyn MessageBus> {
    let bus = with_queue(backend, |spec| {
        spec.with_capacity(count(1))
            .with_overflow(OverflowPolicy::Wait(patience))
    })
    .await;
    send(&*bus, "first").await;
    bus
}

pub async fn r23_full_queue_waits_for_room(backend: &dyn Backend) {
    let bus = full_waiting_queue(backend, Duration::from_secs(20)).await;
    if !bus.capabilities().exact_capacity {
        return;
    }
    let destination = to("q");
    let mut publishes = Box::pin(bus.publish(&destination, Envelope::new("second")));
    assert!(
        timeout(A_WHILE, &mut publishes).await.is_err(),
        "the publish waits"
    );
    // Not before: a consumer that takes ahead makes room.
    let mut consumer = consumer(&*bus).await;
    assert_eq!(next_text(&mut consumer).await, "first");
    publishes.await.unwrap();
    assert_eq!(next_text(&mut consumer).await, "second");
}

pub async fn r23_full_queue_waits_no_longer_than_told(backend: &dyn Backend) {
    let patience = Duration::from_millis(400);
    let bus = full_waiting_queue(backend, patience).await;
    let start = Instant::now();
    let mut refusal = None;
    for _ in 0..50 {
        if let Err(error) = bus.publish(&to("q"), Envelope::new("more")).await {
            refusal = Some(error);
            break;
        }
    }
    let error = refusal.expect("the queue fills");
    assert!(start.elapsed() >= patience);
    assert_eq!(error.kind(), ErrorKind::Full);
    assert_eq!(
        error.into_envelope().unwrap().payload().as_ref(),
        "more".as_bytes()
    );
    assert_eq!(next_text(&mut consumer(&*bus).await).await, "first");
}

pub async fn r24_what_comes_back_is_taken_even_if_full(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec.with_capacity(count(1))).await;
    send(&*bus, "a").await;
    let mut consumer = consumer(&*bus).await;
    let held = next(&mut consumer).await;
    send(&*bus, "b").await;
    held.nack(Duration::ZERO).await.unwrap();
    let mut received = vec![
        next_text(&mut consumer).await,
        next_text(&mut consumer).await,
    ];
    received.sort();
    assert_eq!(received, ["a", "b"]);
}

pub async fn r25_deleted_queue_ends_its_consumers(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    for text in ["held", "waiting"] {
        send(&*bus, text).await;
    }
    let mut busy = consumer_of(&*bus, 1).await;
    let held = next(&mut busy).await;
    let lost = held.lost();
    assert!(bus.delete(&name("q")).await.unwrap());
    assert!(
        timeout(Duration::from_secs(20), busy.recv())
            .await
            .expect("it ends")
            .is_none()
    );
    timeout(Duration::from_secs(20), lost.cancelled())
        .await
        .expect("the token fires");
    assert_eq!(held.ack().await.unwrap_err().kind(), ErrorKind::LeaseLost);
    let error = bus.publish(&to("q"), Envelope::new("a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRoute);
    assert!(!bus.delete(&name("q")).await.unwrap());
    bus.declare(QueueSpec::new(name("q"))).await.unwrap();
    quiet(&mut consumer(&*bus).await, A_WHILE).await;
}

pub async fn r26_temporary_queue_vanishes_with_its_last_consumer(backend: &dyn Backend) {
    let bus = backend.open().await;
    bus.declare(QueueSpec::temporary(name("q"))).await.unwrap();
    send(&*bus, "a").await;
    let (mut first, second) = (consumer(&*bus).await, consumer(&*bus).await);
    let held = next(&mut first).await;
    drop(first);
    send(&*bus, "b").await;
    held.ack().await.unwrap();
    drop(second);
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Ok(()) = bus.publish(&to("q"), Envelope::new("c")).await {
        assert!(Instant::now() < deadline, "the queue is still there");
        sleep(Duration::from_millis(20)).await;
    }
    bus.declare(QueueSpec::new(name("q"))).await.unwrap();
    quiet(&mut consumer(&*bus).await, A_WHILE).await;
}

pub async fn r34_closed_bus_refuses_everything(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    send(&*bus, "a").await;
    let mut consumer = consumer(&*bus).await;
    let held = next(&mut consumer).await;
    let (lost, other) = (held.lost(), bus.handle());
    let (end, closed) = tokio::join!(
        timeout(Duration::from_secs(20), consumer.recv()),
        other.close()
    );
    closed.unwrap();
    assert!(end.expect("it ends").is_none());
    assert!(consumer.recv().await.is_none());
    timeout(Duration::from_secs(20), lost.cancelled())
        .await
        .expect("the token fires");
    assert_eq!(held.ack().await.unwrap_err().kind(), ErrorKind::LeaseLost);
    let error = bus.publish(&to("q"), Envelope::new("b")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(error.into_envelope().is_some());
    assert_eq!(
        bus.declare(QueueSpec::new(name("r")))
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::Closed
    );
    assert_eq!(
        bus.delete(&name("q")).await.unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert_eq!(
        bus.stats(&name("q")).await.unwrap_err().kind(),
        ErrorKind::Closed
    );
    let error = bus
        .subscribe(Subscription::topic(pattern("#")))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    bus.close().await.unwrap();
}
