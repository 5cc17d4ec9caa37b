//! Broken connections, blocked publishers, channels that the broker closes, queues that vanish.

use std::time::Duration;

use coditect_bus::{Envelope, ErrorKind, MessageBus, QueueSpec, RabbitMqBus};
use coditect_harness::{RabbitMq, Relay, required};
use tokio::time::{Instant, timeout};

use super::{PATIENCE, WORK, bus_at, consumer, next, queue, send, to_queue, until, vhost};

#[tokio::test]
async fn the_prefetch_holds_after_a_reconnect() {
    let Some(vhost) = vhost().await else { return };
    let relay = Relay::start(vhost.broker().place()).await.unwrap();
    let bus = bus_at(vhost.url_through(relay.addr())).await;
    let batch = (0..200).map(|_| Envelope::new("x")).collect();
    bus.publish_batch(&to_queue(), batch).await.unwrap();
    let mut consumer = consumer(&bus, 2).await;
    let held = next(&mut consumer).await;
    let lost = held.lost();
    relay.cut();
    timeout(PATIENCE, lost.cancelled()).await.unwrap();
    let again = next(&mut consumer).await;
    // Were there no prefetch, the broker would send all that it has.
    until("the window is full", async || {
        vhost.depth(WORK).await.unwrap() == 198
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(vhost.depth(WORK).await.unwrap(), 198);
    again.ack().await.unwrap();
    bus.close().await.unwrap();
}

#[tokio::test]
async fn a_cut_connection_is_told_to_the_holders_and_made_again() {
    let Some(vhost) = vhost().await else { return };
    let relay = Relay::start(vhost.broker().place()).await.unwrap();
    let bus = bus_at(vhost.url_through(relay.addr())).await;
    send(&bus, "a").await;
    let mut consumer = consumer(&bus, 1).await;
    let held = next(&mut consumer).await;
    let lost = held.lost();
    let start = Instant::now();
    relay.cut();
    timeout(PATIENCE, lost.cancelled()).await.unwrap();
    assert_eq!(held.ack().await.unwrap_err().kind(), ErrorKind::LeaseLost);
    let again = next(&mut consumer).await;
    assert!(again.redeliveries() >= 1);
    again.ack().await.unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "took {:?}",
        start.elapsed()
    );
    send(&bus, "b").await;
    next(&mut consumer).await.ack().await.unwrap();
    assert!(bus.health().reconnects >= 2);
    bus.close().await.unwrap();
}

#[tokio::test]
async fn a_confirm_that_never_comes_is_an_unknown_outcome_after_the_deadline() {
    let Some(vhost) = vhost().await else { return };
    let relay = Relay::start(vhost.broker().place()).await.unwrap();
    let bus = RabbitMqBus::builder(vhost.url_through(relay.addr()))
        .with_confirm_timeout(Duration::from_millis(500))
        .connect()
        .await
        .unwrap();
    bus.declare(QueueSpec::new(queue())).await.unwrap();
    send(&bus, "before").await;
    relay.stall();
    let start = Instant::now();
    let envelope = Envelope::new("stalled");
    let id = envelope.id();
    let error = bus.publish(&to_queue(), envelope).await.unwrap_err();
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "took {:?}",
        start.elapsed()
    );
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.error().outcome_unknown() && error.error().is_retryable());
    let envelope = error.into_envelope().unwrap();
    assert_eq!(envelope.id(), id);
    relay.resume();
    // Again under the same id, as its publisher should; the first one may have arrived, too.
    until("publishing works again", async || {
        bus.publish(&to_queue(), envelope.clone()).await.is_ok()
    })
    .await;
    bus.close().await.unwrap();
}

#[tokio::test]
async fn a_silent_network_is_noticed_by_the_heartbeat() {
    let Some(vhost) = vhost().await else { return };
    let relay = Relay::start(vhost.broker().place()).await.unwrap();
    let bus = RabbitMqBus::builder(vhost.url_through(relay.addr()))
        .with_heartbeat(Duration::from_secs(1))
        .connect()
        .await
        .unwrap();
    bus.declare(QueueSpec::new(queue())).await.unwrap();
    send(&bus, "a").await;
    let mut consumer = consumer(&bus, 1).await;
    let lost = next(&mut consumer).await.lost();
    relay.half_open();
    timeout(PATIENCE, lost.cancelled())
        .await
        .expect("the loss is noticed");
    relay.resume();
    next(&mut consumer).await.ack().await.unwrap();
    bus.close().await.unwrap();
}

#[tokio::test]
async fn a_queue_that_somebody_deletes_ends_its_consumers() {
    let Some(vhost) = vhost().await else { return };
    let bus = bus_at(vhost.url()).await;
    send(&bus, "a").await;
    let mut consumer = consumer(&bus, 1).await;
    let held = next(&mut consumer).await;
    for queue in vhost.queues().await.unwrap() {
        if queue.starts_with("coditect.q.") {
            vhost.delete_queue(&queue).await.unwrap();
        }
    }
    assert!(
        timeout(PATIENCE, consumer.recv())
            .await
            .expect("it ends")
            .is_none()
    );
    assert!(held.is_lost());
    let error = bus
        .publish(&to_queue(), Envelope::new("b"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRoute);
    bus.close().await.unwrap();
}

#[tokio::test]
async fn health_is_proven_by_a_message_and_not_by_an_open_connection() {
    let Some(vhost) = vhost().await else { return };
    let relay = Relay::start(vhost.broker().place()).await.unwrap();
    let bus = bus_at(vhost.url_through(relay.addr())).await;
    let _consumer = consumer(&bus, 1).await;
    until("the first pulse", async || bus.health().is_proven).await;
    // The connections stay open, and nothing comes through.
    relay.stall();
    until("the pulse is missed", async || !bus.health().is_proven).await;
    assert!(bus.health().last_pulse.is_some());
    relay.resume();
    until("the pulse is back", async || bus.health().is_proven).await;
    relay.refuse();
    until("the loss is seen", async || {
        !bus.health().can_consume && bus.health().subscribed == 0
    })
    .await;
    relay.resume();
    until("all is back", async || {
        bus.health().is_proven && bus.health().subscribed == 1
    })
    .await;
    bus.close().await.unwrap();
}

#[tokio::test]
async fn a_publisher_that_gives_up_leaves_no_confirm_behind() {
    let Some(vhost) = vhost().await else { return };
    let bus = RabbitMqBus::builder(vhost.url())
        .with_max_in_flight(std::num::NonZeroUsize::new(4).unwrap())
        .connect()
        .await
        .unwrap();
    bus.declare(QueueSpec::new(queue())).await.unwrap();
    for _ in 0..100 {
        let to = to_queue();
        let mut publish = Box::pin(bus.publish(&to, Envelope::new("x")));
        let _ = futures::poll!(&mut publish);
    }
    // If the places of those given up were lost, this would wait for ever.
    send(&bus, "last").await;
    bus.close().await.unwrap();
}

#[tokio::test]
async fn a_blocked_publisher_hears_why_while_consumers_go_on() {
    let Some(broker) = required(RabbitMq::private(&[])).await else {
        return;
    };
    let bus = RabbitMqBus::builder(broker.url())
        .with_confirm_timeout(Duration::from_secs(1))
        .connect()
        .await
        .unwrap();
    bus.declare(QueueSpec::new(queue())).await.unwrap();
    for text in ["a", "b"] {
        send(&bus, text).await;
    }
    let mut consumer = consumer(&bus, 1).await;
    broker.set_memory_alarm(true).await.unwrap();
    // The broker tells a publisher only when it publishes, and takes nothing from then on.
    until("the block is seen", async || {
        let _ = bus.publish(&to_queue(), Envelope::new("x")).await;
        bus.health().blocked.is_some()
    })
    .await;
    let error = bus
        .publish(&to_queue(), Envelope::new("y"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("blocks publishers"), "{error}");
    assert!(!error.error().outcome_unknown(), "it was never sent");
    for _ in 0..2 {
        next(&mut consumer).await.ack().await.unwrap();
    }
    assert!(!bus.health().is_proven);
    broker.set_memory_alarm(false).await.unwrap();
    until("publishing works again", async || {
        bus.publish(&to_queue(), Envelope::new("z")).await.is_ok()
    })
    .await;
    assert_eq!(bus.health().blocked, None);
    bus.close().await.unwrap();
}
