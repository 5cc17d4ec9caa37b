//! The same by hand, as one writes it with nothing but `lapin`: two connections, quorum queues, confirms, persistent messages.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer, PublisherConfirm,
};
use tokio::task::JoinSet;

use super::{SLOTS, at_rate, now};

pub(crate) const PAYLOAD: &[u8] = &[7; 256];
/// Publishes in flight of one publisher: as many as a coordinator has on the bus.
const IN_FLIGHT: usize = 256;
const QUEUES: [&str; 2] = ["plain.tasks", "plain.results"];

pub(crate) struct Plain {
    publishing: Connection,
    consuming: Connection,
}

impl Plain {
    pub(crate) async fn connect(url: &str) -> Self {
        let connect = || Connection::connect(url, ConnectionProperties::default());
        let plain = Self {
            publishing: connect().await.unwrap(),
            consuming: connect().await.unwrap(),
        };
        let channel = plain.consuming.create_channel().await.unwrap();
        for queue in QUEUES {
            let mut arguments = FieldTable::default();
            arguments.insert(
                "x-queue-type".into(),
                AMQPValue::LongString("quorum".into()),
            );
            let options = QueueDeclareOptions::durable();
            let declared = channel.queue_declare(queue.into(), options, arguments);
            declared.await.unwrap();
        }
        plain
    }

    pub(crate) async fn close(&self) {
        for connection in [&self.publishing, &self.consuming] {
            // It may be closed already, and is of no more use anyway.
            let _ = connection.close(200, "done".into()).await;
        }
    }

    async fn publisher(&self) -> Channel {
        let channel = self.publishing.create_channel().await.unwrap();
        let options = ConfirmSelectOptions::default();
        channel.confirm_select(options).await.unwrap();
        channel
    }

    async fn consumer(&self, queue: &str) -> (Channel, Consumer) {
        let channel = self.consuming.create_channel().await.unwrap();
        let prefetch = u16::try_from(SLOTS).unwrap();
        let options = BasicQosOptions::default();
        channel.basic_qos(prefetch, options).await.unwrap();
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer = channel
            .basic_consume(queue.into(), "".into(), options, arguments)
            .await
            .unwrap();
        (channel, consumer)
    }

    /// Publishes tasks, does them and takes their results, acknowledging one by one or so many at once.
    pub(crate) async fn work_queue(&self, count: usize, at_once: usize) {
        let (tasks_channel, tasks) = self.consumer(QUEUES[0]).await;
        let (results_channel, mut results) = self.consumer(QUEUES[1]).await;
        let (publisher, answerer) = (self.publisher().await, self.publisher().await);
        let publishing = tokio::spawn(publish_many(publisher, count));
        let working = match at_once {
            1 => tokio::spawn(one_by_one(tasks, answerer, count)),
            _ => tokio::spawn(in_groups(
                tasks_channel.clone(),
                tasks,
                answerer,
                count,
                at_once,
            )),
        };
        for number in 1..=count {
            let result = results.next().await.unwrap().unwrap();
            if number % at_once == 0 || number == count {
                ack(&results_channel, result.delivery_tag, at_once > 1).await;
            }
        }
        publishing.await.unwrap();
        working.await.unwrap();
        for channel in [tasks_channel, results_channel] {
            channel.close(200, "done".into()).await.unwrap();
        }
    }

    /// Publishes so many tasks a second, and says how long each was on its way, in microseconds.
    pub(crate) async fn paced(&self, per_second: u32, during: Duration) -> Vec<f64> {
        let (_channel, mut tasks) = self.consumer(QUEUES[0]).await;
        let publisher = Arc::new(self.publisher().await);
        let count = during.as_millis() as usize * per_second as usize / 1_000;
        let taking = tokio::spawn(async move {
            let mut took = Vec::with_capacity(count);
            while took.len() < count {
                let task = tasks.next().await.unwrap().unwrap();
                let at = u64::from_be_bytes(task.data[..8].try_into().unwrap());
                took.push(now().saturating_sub(at) as f64);
                task.ack(BasicAckOptions::default()).await.unwrap();
            }
            took
        });
        let mut publishing = JoinSet::new();
        at_rate(per_second, during, |_| {
            let publisher = Arc::clone(&publisher);
            publishing.spawn(async move {
                let mut payload = PAYLOAD.to_vec();
                payload[..8].copy_from_slice(&now().to_be_bytes());
                begin(&publisher, QUEUES[0], &payload).await.await.unwrap();
            });
        })
        .await;
        publishing.join_all().await;
        taking.await.unwrap()
    }
}

/// A worker that acknowledges each task when its result is confirmed, with many results in flight.
async fn one_by_one(mut tasks: Consumer, answerer: Channel, count: usize) {
    let mut working = FuturesUnordered::new();
    let mut taken = 0;
    while taken < count || !working.is_empty() {
        tokio::select! {
            Some(task) = tasks.next(), if taken < count => {
                let task = task.unwrap();
                taken += 1;
                let answerer = &answerer;
                working.push(async move {
                    begin(answerer, QUEUES[1], PAYLOAD).await.await.unwrap();
                    task.ack(BasicAckOptions::default()).await.unwrap();
                });
            }
            Some(()) = working.next() => {}
        }
    }
}

/// A worker that acknowledges a group of tasks when all of their results are confirmed.
async fn in_groups(
    channel: Channel,
    mut tasks: Consumer,
    answerer: Channel,
    count: usize,
    at_once: usize,
) {
    let mut left = count;
    while left > 0 {
        let mut confirms = Vec::new();
        let mut last = 0;
        for _ in 0..at_once.min(left) {
            last = tasks.next().await.unwrap().unwrap().delivery_tag;
            confirms.push(begin(&answerer, QUEUES[1], PAYLOAD).await);
        }
        left -= confirms.len();
        for confirm in confirms {
            confirm.await.unwrap();
        }
        ack(&channel, last, true).await;
    }
}

async fn ack(channel: &Channel, tag: u64, multiple: bool) {
    let options = BasicAckOptions { multiple };
    channel.basic_ack(tag, options).await.unwrap();
}

async fn publish_many(channel: Channel, count: usize) {
    let mut in_flight = FuturesUnordered::new();
    for _ in 0..count {
        if in_flight.len() == IN_FLIGHT {
            in_flight.next().await;
        }
        in_flight.push(async { begin(&channel, QUEUES[0], PAYLOAD).await.await.unwrap() });
    }
    while in_flight.next().await.is_some() {}
}

async fn begin(channel: &Channel, key: &str, payload: &[u8]) -> PublisherConfirm {
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    let properties = BasicProperties::default().with_delivery_mode(2);
    let published = channel.basic_publish("".into(), key.into(), options, payload, properties);
    published.await.unwrap()
}
