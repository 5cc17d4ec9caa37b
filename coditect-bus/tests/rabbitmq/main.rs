//! What happens to the RabbitMQ bus when the broker, the network or a stranger misbehaves: one test per pitfall.
#![allow(
    clippy::unwrap_used,
    reason = "this is test code: a failure is a panic"
)]

mod connect;
mod fault;
mod flow;
mod leave;
mod limit;
mod pattern;
mod priority;
mod process;
mod publish;
mod stranger;
mod takeback;
mod tls;
mod vanish;

use std::num::NonZeroUsize;
use std::time::Duration;

use coditect_bus::{
    Consumer, Delivery, Destination, Envelope, MessageBus, QueueName, QueueSpec, RabbitMqBus,
    Subscription,
};
use coditect_harness::{RabbitMq, Vhost, required};
use tokio::time::{Instant, sleep, timeout};

/// The broker's name of the queue `q` for messages of the usual priority.
const WORK: &str = "coditect.q.p1.v1";

const PATIENCE: Duration = Duration::from_secs(30);

fn queue() -> QueueName {
    QueueName::new("q").unwrap()
}

fn to_queue() -> Destination {
    queue().into()
}

async fn vhost() -> Option<Vhost<'static>> {
    let broker = required(RabbitMq::shared()).await?;
    Some(broker.vhost().await.unwrap())
}

/// Opens a bus with the queue `q`.
async fn bus_at(url: String) -> RabbitMqBus {
    let bus = RabbitMqBus::builder(url)
        .with_confirm_timeout(Duration::from_secs(5))
        .with_pulse(Duration::from_millis(200))
        .connect()
        .await
        .unwrap();
    bus_of(bus).await
}

async fn bus_of(bus: RabbitMqBus) -> RabbitMqBus {
    bus.declare(QueueSpec::new(queue())).await.unwrap();
    bus
}

async fn consumer(bus: &RabbitMqBus, prefetch: usize) -> Consumer {
    let prefetch = NonZeroUsize::new(prefetch).unwrap();
    let subscription = Subscription::queue(queue()).with_prefetch(prefetch);
    bus.subscribe(subscription).await.unwrap()
}

async fn next(consumer: &mut Consumer) -> Delivery {
    let delivery = timeout(PATIENCE, consumer.recv()).await;
    delivery
        .expect("a delivery comes")
        .expect("the subscription goes on")
}

async fn send(bus: &RabbitMqBus, text: &'static str) {
    bus.publish(&to_queue(), Envelope::new(text)).await.unwrap();
}

/// Waits for what comes about by itself.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
