//! What the broker takes back although the connection is well: deliveries that are held too long, and whole subscriptions.

use std::time::Duration;

use coditect_bus::{
    Envelope, ErrorKind, MessageBus, QueueKind, QueueName, QueueSpec, RabbitMqBus, Subscription,
};
use coditect_harness::{RabbitMq, not_tested, required};
use tokio::time::timeout;

use super::{PATIENCE, bus_of, consumer, next, send, to_queue, until, vhost};

/// Starts a broker that lets a delivery be held for a second, and looks every second.
async fn impatient_broker() -> Option<RabbitMq> {
    let broker = required(RabbitMq::private(&["consumer_timeout = 1000"])).await?;
    // It would look at its consumers once a minute.
    let often = "application:set_env(rabbit, channel_tick_interval, 1000).";
    broker.eval(often).await.unwrap();
    Some(broker)
}

async fn bus_with(broker: &RabbitMq, kind: QueueKind, consumer_timeout: Duration) -> RabbitMqBus {
    let builder = RabbitMqBus::builder(broker.url())
        .with_namespace(format!("{kind:?}").to_lowercase())
        .with_queue_kind(kind)
        .with_consumer_timeout(consumer_timeout);
    bus_of(builder.connect().await.unwrap()).await
}

#[tokio::test]
async fn a_delivery_held_too_long_is_lost_with_its_neighbours_and_all_come_again() {
    let Some(broker) = impatient_broker().await else {
        return;
    };
    for kind in [QueueKind::Quorum, QueueKind::Classic] {
        let bus = bus_with(&broker, kind, Duration::from_secs(60)).await;
        let other = QueueName::new("other").unwrap();
        bus.declare(QueueSpec::new(other.clone())).await.unwrap();
        let mut elsewhere = bus
            .subscribe(Subscription::queue(other.clone()))
            .await
            .unwrap();
        for text in ["slow", "neighbour"] {
            send(&bus, text).await;
        }
        let mut consumer = consumer(&bus, 2).await;
        let (slow, neighbour) = (next(&mut consumer).await, next(&mut consumer).await);
        let lost = [slow.lost(), neighbour.lost()];
        for lost in lost {
            let fired = timeout(PATIENCE, lost.cancelled()).await;
            fired.expect("the broker loses patience");
        }
        for delivery in [slow, neighbour] {
            assert_eq!(
                delivery.ack().await.unwrap_err().kind(),
                ErrorKind::LeaseLost
            );
        }
        for _ in 0..2 {
            let again = next(&mut consumer).await;
            assert!(again.redeliveries() >= 1);
            again.ack().await.unwrap();
        }
        // The rest of the bus noticed nothing.
        bus.publish(&other.into(), Envelope::new("x"))
            .await
            .unwrap();
        next(&mut elsewhere).await.ack().await.unwrap();
        assert_eq!(bus.health().reconnects, 0);
        bus.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_waits_behind_a_busy_handler_is_not_held_against_it() {
    let Some(broker) = impatient_broker().await else {
        return;
    };
    for kind in [QueueKind::Quorum, QueueKind::Classic] {
        let bus = bus_with(&broker, kind, Duration::from_secs(1)).await;
        for text in ["first", "second", "third"] {
            send(&bus, text).await;
        }
        let mut consumer = consumer(&bus, 3).await;
        let first = next(&mut consumer).await;
        let lost = first.lost();
        first.ack().await.unwrap();
        // Nobody takes the others, for longer than the broker would stand it.
        let fired = timeout(Duration::from_secs(5), lost.cancelled()).await;
        assert!(fired.is_err(), "the channel was closed");
        for _ in 0..2 {
            let delivery = next(&mut consumer).await;
            assert_eq!(delivery.redeliveries(), 0, "it was never handed out");
            delivery.ack().await.unwrap();
        }
        bus.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_subscription_that_the_broker_cancels_is_made_again() {
    let Some(vhost) = vhost().await else { return };
    if !vhost.broker().is_private() {
        return not_tested("a queue's process is killed on private servers only");
    }
    // The broker starts the process of a classic queue again when it dies, and cancels its consumers.
    let builder = RabbitMqBus::builder(vhost.url()).with_queue_kind(QueueKind::Classic);
    let bus = bus_of(builder.connect().await.unwrap()).await;
    send(&bus, "a").await;
    let mut consumer = consumer(&bus, 1).await;
    let held = next(&mut consumer).await;
    let lost = held.lost();
    let kill = format!(
        "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{}\">>, queue, <<\"{}\">>)), exit(amqqueue:get_pid(Q), kill).",
        vhost.name(),
        super::WORK
    );
    vhost.broker().eval(&kill).await.unwrap();
    let fired = timeout(PATIENCE, lost.cancelled()).await;
    fired.expect("the loss is told");
    assert_eq!(held.ack().await.unwrap_err().kind(), ErrorKind::LeaseLost);
    assert_eq!(bus.health().reconnects, 0, "it was not the connection");
    next(&mut consumer).await.ack().await.unwrap();
    until("publishing works", async || {
        bus.publish(&to_queue(), Envelope::new("b")).await.is_ok()
    })
    .await;
    next(&mut consumer).await.ack().await.unwrap();
    bus.close().await.unwrap();
}
