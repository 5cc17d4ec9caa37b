//! Queues that are gone when the connection is back: with the broker's data, or expired.

use std::num::NonZeroUsize;
use std::time::Duration;

use coditect_bus::{
    Consumer, Destination, Envelope, ErrorKind, FanoutName, GroupName, MessageBus, MessageBusExt,
    QueueName, QueueSpec, RabbitMqBus, Subscription,
};
use coditect_harness::{Relay, Vhost};
use serde_json::json;
use tokio::time::timeout;

use super::{PATIENCE, WORK, bus_at, bus_of, consumer, next, queue, send, to_queue, until, vhost};

/// Does what a broker does that loses its data: connections break, and all is empty when they can be made again.
async fn lose_all(relay: &Relay, vhost: &Vhost<'_>) {
    let (broker, name) = (vhost.broker(), vhost.name());
    relay.refuse();
    vhost.delete().await.unwrap();
    let path = format!("/api/vhosts/{name}");
    broker.manage("PUT", &path, Some(&json!({}))).await.unwrap();
    let path = format!("/api/permissions/{name}/guest");
    let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
    broker.manage("PUT", &path, Some(&all)).await.unwrap();
    relay.resume();
}

async fn ends(consumer: &mut Consumer) {
    let end = timeout(PATIENCE, consumer.recv()).await;
    assert!(end.expect("it ends").is_none());
}

#[tokio::test]
async fn a_queue_that_was_lost_with_the_brokers_data_ends_its_consumers() {
    let Some(vhost) = vhost().await else { return };
    let relay = Relay::start(vhost.broker().place()).await.unwrap();
    let bus = bus_at(vhost.url_through(relay.addr())).await;
    send(&bus, "held").await;
    let mut consumer = consumer(&bus, 1).await;
    let held = next(&mut consumer).await;
    send(&bus, "waits").await;
    let news = FanoutName::new("news").unwrap();
    let group = Subscription::fanout(news).with_group(GroupName::new("mail").unwrap());
    let mut member = bus.subscribe(group).await.unwrap();
    lose_all(&relay, &vhost).await;
    ends(&mut consumer).await;
    ends(&mut member).await;
    assert!(held.is_lost());
    // Nothing pretends that the queue is still there.
    let refused = bus.publish(&to_queue(), Envelope::new("new")).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::NoRoute);
    bus.declare(QueueSpec::new(queue())).await.unwrap();
    send(&bus, "new").await;
    let mut again = super::consumer(&bus, 1).await;
    let delivery = next(&mut again).await;
    assert_eq!(delivery.payload().as_ref(), b"new");
    delivery.ack().await.unwrap();
    bus.close().await.unwrap();
}

#[tokio::test]
async fn a_queue_that_is_still_there_keeps_its_consumers() {
    let Some(vhost) = vhost().await else { return };
    let bus = bus_at(vhost.url()).await;
    let mut consumer = consumer(&bus, 1).await;
    for text in ["a", "b"] {
        bus.sever().await;
        send(&bus, text).await;
        next(&mut consumer).await.ack().await.unwrap();
    }
    assert_eq!(vhost.depth(WORK).await.unwrap(), 0);
    bus.close().await.unwrap();
}

async fn send_until_taken(bus: &impl MessageBus, to: &Destination) {
    until("it is published to the subscriber", async || {
        bus.publish(to, Envelope::new("x")).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_subscriber_without_a_group_goes_on_after_the_brokers_data_is_lost() {
    let Some(vhost) = vhost().await else { return };
    let relay = Relay::start(vhost.broker().place()).await.unwrap();
    let bus = bus_at(vhost.url_through(relay.addr())).await;
    let news = FanoutName::new("news").unwrap();
    let subscription = Subscription::fanout(news.clone());
    let mut subscriber = bus.subscribe(subscription).await.unwrap();
    bus.sever().await;
    let to = Destination::Fanout(news.clone());
    send_until_taken(&bus, &to).await;
    next(&mut subscriber).await.ack().await.unwrap();
    assert_eq!(subscriber.gaps(), 0, "its queue was there all the time");
    lose_all(&relay, &vhost).await;
    send_until_taken(&bus, &to).await;
    next(&mut subscriber).await.ack().await.unwrap();
    assert_eq!(subscriber.gaps(), 1);
    bus.close().await.unwrap();
}

#[tokio::test]
async fn a_temporary_queue_that_expired_ends_its_consumer() {
    let Some(vhost) = vhost().await else { return };
    let relay = Relay::start(vhost.broker().place()).await.unwrap();
    let bus = RabbitMqBus::builder(vhost.url_through(relay.addr()))
        .with_temporary_expiry(Duration::from_millis(500))
        .connect()
        .await
        .unwrap();
    let bus = bus_of(bus).await;
    let outcomes = QueueName::new("outcomes").unwrap();
    let spec = QueueSpec::temporary(outcomes.clone());
    bus.declare(spec).await.unwrap();
    let subscription = Subscription::queue(outcomes.clone());
    let mut temporary = bus.subscribe(subscription).await.unwrap();
    let mut lasting = consumer(&bus, 1).await;
    relay.refuse();
    until("the queue has expired", async || {
        let queues = vhost.queues().await.unwrap();
        !queues.iter().any(|name| name.contains(".outcomes.p"))
    })
    .await;
    relay.resume();
    ends(&mut temporary).await;
    until("the bus publishes again", async || {
        bus.publish(&to_queue(), Envelope::new("x")).await.is_ok()
    })
    .await;
    next(&mut lasting).await.ack().await.unwrap();
    bus.close().await.unwrap();
}

#[tokio::test]
async fn a_requester_whose_reply_queue_was_lost_says_so_and_asks_on() {
    let Some(vhost) = vhost().await else { return };
    let relay = Relay::start(vhost.broker().place()).await.unwrap();
    let bus = bus_at(vhost.url_through(relay.addr())).await;
    let questions = bus.offer("echo").await.unwrap();
    let to = Destination::for_capability("echo").unwrap();
    let requester = bus.requester().await.unwrap();
    let ask = async |patience| requester.request::<_, String>(&to, "hello", patience).await;
    // Nobody answers this one, and its asker does not wait for ever.
    let (unanswered, ()) = tokio::join!(ask(PATIENCE * 4), async {
        until("it is asked", async || {
            bus.stats(&questions).await.unwrap().ready() == 1
        })
        .await;
        lose_all(&relay, &vhost).await;
    });
    let error = unanswered.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.outcome_unknown(), "{error}");
    let echo = async |text: String| Ok::<_, coditect_bus::Error>(text);
    let mut responder = None;
    until("questions are answered again", async || {
        if responder.is_none() && bus.offer("echo").await.is_ok() {
            let serving = bus.serve(questions.clone(), NonZeroUsize::MIN, echo);
            responder = serving.await.ok();
        }
        ask(Duration::from_secs(2)).await.is_ok()
    })
    .await;
    bus.close().await.unwrap();
}
