//! The four patterns, unchanged, and what else the bus does with topics and temporary queues on a broker.

use std::num::NonZeroUsize;
use std::time::Duration;

use coditect_bus::{
    Destination, Envelope, Error, FanoutName, MessageBus, MessageBusExt, QueueSpec, Subscription,
};
use coditect_harness::Relay;
use tokio::time::Instant;

use super::{bus_at, next, queue, until, vhost};

async fn shout(text: String) -> Result<String, Error> {
    Ok(text.to_uppercase())
}

#[tokio::test]
async fn all_four_patterns_work() {
    let Some(vhost) = vhost().await else { return };
    let bus = bus_at(vhost.url()).await;

    let thumbnails = bus.offer("thumbnail").await.unwrap();
    bus.route("thumbnail", "cat.png").await.unwrap();
    let mut worker = bus
        .consume::<String>(Subscription::queue(thumbnails))
        .await
        .unwrap();
    let work = worker.recv().await.unwrap();
    assert_eq!(work.ack().await.unwrap(), "cat.png");

    let pattern = "run.*.done".parse().unwrap();
    let mut listener = bus
        .consume::<u32>(Subscription::topic(pattern))
        .await
        .unwrap();
    let topic = Destination::Topic("run.7.done".parse().unwrap());
    assert!(bus.broadcast(&topic, &7).await.unwrap());
    assert_eq!(listener.recv().await.unwrap().ack().await.unwrap(), 7);

    let offered = bus.offer("shout").await.unwrap();
    let responder = bus.serve(offered, NonZeroUsize::MIN, shout).await.unwrap();
    let requester = bus.requester().await.unwrap();
    let to = Destination::for_capability("shout").unwrap();
    let answer: String = requester
        .request(&to, "hello", Duration::from_secs(10))
        .await
        .unwrap();
    assert_eq!(answer, "HELLO");
    responder.stop().await;
    bus.close().await.unwrap();
}

#[tokio::test]
async fn a_requester_outlives_its_connection() {
    let Some(vhost) = vhost().await else { return };
    let relay = Relay::start(vhost.broker().place()).await.unwrap();
    let bus = bus_at(vhost.url_through(relay.addr())).await;
    let offered = bus.offer("shout").await.unwrap();
    let _responder = bus.serve(offered, NonZeroUsize::MIN, shout).await.unwrap();
    let requester = bus.requester().await.unwrap();
    let to = Destination::for_capability("shout").unwrap();
    let ask = async || {
        requester
            .request::<_, String>(&to, "hello", Duration::from_secs(2))
            .await
    };
    assert_eq!(ask().await.unwrap(), "HELLO");
    for _ in 0..3 {
        relay.cut();
        until("answers come again", async || {
            ask().await.is_ok_and(|answer| answer == "HELLO")
        })
        .await;
    }
    bus.close().await.unwrap();
}

#[tokio::test]
async fn a_delay_is_spent_before_topics_and_fanouts_too() {
    let Some(vhost) = vhost().await else { return };
    let bus = bus_at(vhost.url()).await;
    let news = FanoutName::new("news").unwrap();
    let topic = Destination::Topic("run.1".parse().unwrap());
    let fanout = Destination::Fanout(news.clone());
    let mut by_topic = bus
        .subscribe(Subscription::topic("run.#".parse().unwrap()))
        .await
        .unwrap();
    let mut by_fanout = bus.subscribe(Subscription::fanout(news)).await.unwrap();
    let (start, delay) = (Instant::now(), Duration::from_millis(400));
    for to in [&topic, &fanout] {
        bus.publish(to, Envelope::new("x").with_delay(delay))
            .await
            .unwrap();
    }
    for (consumer, to) in [(&mut by_topic, topic), (&mut by_fanout, fanout)] {
        let delivery = next(consumer).await;
        assert!(start.elapsed() >= delay, "came after {:?}", start.elapsed());
        assert_eq!((delivery.destination(), delivery.redeliveries()), (to, 0));
        delivery.ack().await.unwrap();
    }
    bus.close().await.unwrap();
}

#[tokio::test]
async fn nothing_is_left_of_a_temporary_queue_and_of_a_deleted_one() {
    let Some(vhost) = vhost().await else { return };
    let bus = bus_at(vhost.url()).await;
    let temporary = coditect_bus::QueueName::new("temporary").unwrap();
    bus.declare(QueueSpec::temporary(temporary.clone()))
        .await
        .unwrap();
    for queue in [queue(), temporary.clone()] {
        let delayed = Envelope::new("x").with_delay(Duration::from_secs(60));
        bus.publish(&queue.into(), delayed).await.unwrap();
    }
    assert_eq!(bus.stats(&queue()).await.unwrap().delayed, 1);
    drop(bus.subscribe(Subscription::queue(temporary)).await.unwrap());
    assert!(bus.delete(&queue()).await.unwrap());
    until("the broker has none of their queues", async || {
        let queues = vhost.queues().await.unwrap();
        !queues.iter().any(|queue| queue.starts_with("coditect."))
    })
    .await;
    bus.close().await.unwrap();
}
