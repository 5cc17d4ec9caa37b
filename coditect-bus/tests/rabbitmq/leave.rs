//! Consumers that end while others of the same connection go on.

use coditect_bus::{ErrorKind, MessageBus, QueueName, QueueSpec, RabbitMqBus, Subscription};
use futures::future::join_all;

use super::{bus_at, consumer, next, send, vhost};

/// Makes a queue, consumes it, and deletes it under its consumer.
async fn come_and_go(bus: &RabbitMqBus, name: &str) {
    let queue = QueueName::new(name).unwrap();
    bus.declare(QueueSpec::new(queue.clone())).await.unwrap();
    let subscription = Subscription::queue(queue.clone());
    let mut consumer = bus.subscribe(subscription).await.unwrap();
    assert!(bus.delete(&queue).await.unwrap());
    assert!(consumer.recv().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn queues_that_are_deleted_under_their_consumers_break_no_connection() {
    let Some(vhost) = vhost().await else { return };
    let bus = bus_at(vhost.url()).await;
    send(&bus, "a").await;
    let mut lasting = consumer(&bus, 1).await;
    let held = next(&mut lasting).await;
    for round in 0..25 {
        let names: Vec<_> = (0..4).map(|at| format!("gone-{round}-{at}")).collect();
        join_all(names.iter().map(|name| come_and_go(&bus, name))).await;
        assert!(!held.is_lost(), "the connection was lost in round {round}");
    }
    assert_eq!(bus.health().reconnects, 0);
    held.ack().await.unwrap();
    bus.close().await.unwrap();
    let closed = bus.stats(&super::queue()).await.unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Closed);
}
