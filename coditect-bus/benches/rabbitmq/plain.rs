//! The same jobs by hand, as one writes them with nothing but `lapin`: two connections, confirms, persistent messages.

use std::time::Duration;

use coditect_bus::QueueKind;
use futures::stream::{FuturesUnordered, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use tokio::time::Instant;

use super::{IN_FLIGHT, PAYLOAD, PREFETCH};

pub(crate) struct Plain {
    publishing: Connection,
    consuming: Connection,
}

impl Plain {
    pub(crate) async fn connect(url: &str, kind: QueueKind) -> Self {
        let connect = || Connection::connect(url, ConnectionProperties::default());
        let plain = Self {
            publishing: connect().await.unwrap(),
            consuming: connect().await.unwrap(),
        };
        let channel = plain.consuming.create_channel().await.unwrap();
        for queue in ["plain.tasks", "plain.results", "plain.questions"] {
            let mut arguments = FieldTable::default();
            let kind = if kind == QueueKind::Quorum {
                "quorum"
            } else {
                "classic"
            };
            arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
            channel
                .queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments)
                .await
                .unwrap();
        }
        let options = ExchangeDeclareOptions {
            durable: true,
            ..Default::default()
        };
        let exchange = channel.exchange_declare(
            "plain.news".into(),
            ExchangeKind::Fanout,
            options,
            FieldTable::default(),
        );
        exchange.await.unwrap();
        plain
    }

    pub(crate) async fn close(&self) {
        for connection in [&self.publishing, &self.consuming] {
            let _ = connection.close(200, "done".into()).await;
        }
    }

    async fn publisher(&self) -> Channel {
        let channel = self.publishing.create_channel().await.unwrap();
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .unwrap();
        channel
    }

    async fn consumer(&self, queue: &str) -> (Channel, Consumer) {
        let channel = self.consuming.create_channel().await.unwrap();
        channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await
            .unwrap();
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer = channel
            .basic_consume(queue.into(), "".into(), options, arguments)
            .await
            .unwrap();
        (channel, consumer)
    }

    /// Acknowledges tasks and results one by one, or so many at once.
    pub(crate) async fn work_queue(&self, count: usize, at_once: usize) -> Duration {
        let (tasks_channel, mut tasks) = self.consumer("plain.tasks").await;
        let (results_channel, mut results) = self.consumer("plain.results").await;
        let (publisher, answerer) = (self.publisher().await, self.publisher().await);
        let start = Instant::now();
        let publishing =
            tokio::spawn(async move { publish_many(&publisher, "", "plain.tasks", count).await });
        let working = tokio::spawn(async move {
            if at_once == 1 {
                // One result in flight and one acknowledgement per task would measure waiting, so a window of them it is here, too.
                let mut working = FuturesUnordered::new();
                let mut taken = 0;
                while taken < count || !working.is_empty() {
                    tokio::select! {
                        Some(task) = tasks.next(), if taken < count => {
                            let task = task.unwrap();
                            taken += 1;
                            let answerer = &answerer;
                            working.push(async move {
                                publish(answerer, "", "plain.results").await;
                                task.ack(BasicAckOptions::default()).await.unwrap();
                            });
                        }
                        Some(()) = working.next() => {}
                    }
                }
                return;
            }
            let mut left = count;
            while left > 0 {
                let mut confirms = Vec::new();
                let mut last = 0;
                for _ in 0..at_once.min(left) {
                    last = tasks.next().await.unwrap().unwrap().delivery_tag;
                    confirms.push(begin(&answerer, "", "plain.results").await);
                }
                left -= confirms.len();
                for confirm in confirms {
                    confirm.await.unwrap();
                }
                tasks_channel
                    .basic_ack(last, BasicAckOptions { multiple: true })
                    .await
                    .unwrap();
            }
        });
        for number in 1..=count {
            let result = results.next().await.unwrap().unwrap();
            if at_once == 1 {
                result.ack(BasicAckOptions::default()).await.unwrap();
            } else if number % at_once == 0 || number == count {
                let options = BasicAckOptions { multiple: true };
                results_channel
                    .basic_ack(result.delivery_tag, options)
                    .await
                    .unwrap();
            }
        }
        publishing.await.unwrap();
        working.await.unwrap();
        start.elapsed()
    }

    pub(crate) async fn request_reply(&self, count: usize) -> Vec<Duration> {
        let (_channel, mut questions) = self.consumer("plain.questions").await;
        let channel = self.consuming.create_channel().await.unwrap();
        let mut arguments = FieldTable::default();
        arguments.insert("x-expires".into(), AMQPValue::LongLongInt(60_000));
        let reply = channel
            .queue_declare("".into(), QueueDeclareOptions::durable(), arguments)
            .await
            .unwrap();
        let reply_to = reply.name().clone();
        let (_reply_channel, mut replies) = self.consumer(reply_to.as_str()).await;
        let (asker, answerer) = (self.publisher().await, self.publisher().await);
        let responder = tokio::spawn(async move {
            for _ in 0..count {
                let question = questions.next().await.unwrap().unwrap();
                let to = question.properties.reply_to().clone().unwrap();
                publish(&answerer, "", to.as_str()).await;
                question.ack(BasicAckOptions::default()).await.unwrap();
            }
        });
        let mut took = Vec::with_capacity(count);
        for _ in 0..count {
            let start = Instant::now();
            let properties = properties().with_reply_to(reply_to.clone());
            let options = BasicPublishOptions {
                mandatory: true,
                ..Default::default()
            };
            let sent = asker.basic_publish(
                "".into(),
                "plain.questions".into(),
                options,
                PAYLOAD,
                properties,
            );
            sent.await.unwrap().await.unwrap();
            let reply = replies.next().await.unwrap().unwrap();
            took.push(start.elapsed());
            reply.ack(BasicAckOptions::default()).await.unwrap();
        }
        responder.await.unwrap();
        took
    }

    pub(crate) async fn publish_subscribe(&self, count: usize, subscribers: usize) -> Duration {
        let channel = self.consuming.create_channel().await.unwrap();
        let mut readers = Vec::new();
        for _ in 0..subscribers {
            let mut arguments = FieldTable::default();
            arguments.insert("x-expires".into(), AMQPValue::LongLongInt(60_000));
            let queue = channel
                .queue_declare("".into(), QueueDeclareOptions::durable(), arguments)
                .await
                .unwrap();
            let name = queue.name().clone();
            let options = QueueBindOptions::default();
            channel
                .queue_bind(
                    name.clone(),
                    "plain.news".into(),
                    "".into(),
                    options,
                    FieldTable::default(),
                )
                .await
                .unwrap();
            readers.push((name.clone(), self.consumer(name.as_str()).await));
        }
        let publisher = self.publisher().await;
        let start = Instant::now();
        let mut names = Vec::new();
        let mut reading = Vec::new();
        for (name, (_channel, mut reader)) in readers {
            names.push(name);
            reading.push(tokio::spawn(async move {
                let _channel = _channel;
                for _ in 0..count {
                    let message = reader.next().await.unwrap().unwrap();
                    message.ack(BasicAckOptions::default()).await.unwrap();
                }
            }));
        }
        publish_many(&publisher, "plain.news", "", count).await;
        for reader in reading {
            reader.await.unwrap();
        }
        let took = start.elapsed();
        for name in names {
            channel
                .queue_delete(name, Default::default())
                .await
                .unwrap();
        }
        took
    }
}

fn properties() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2)
}

async fn begin(channel: &Channel, exchange: &str, key: &str) -> lapin::PublisherConfirm {
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    channel
        .basic_publish(exchange.into(), key.into(), options, PAYLOAD, properties())
        .await
        .unwrap()
}

async fn publish(channel: &Channel, exchange: &str, key: &str) {
    assert!(
        begin(channel, exchange, key)
            .await
            .await
            .unwrap()
            .take_message()
            .is_none()
    );
}

async fn publish_many(channel: &Channel, exchange: &str, key: &str, count: usize) {
    let mut in_flight = FuturesUnordered::new();
    for _ in 0..count {
        if in_flight.len() == IN_FLIGHT {
            in_flight.next().await;
        }
        in_flight.push(publish(channel, exchange, key));
    }
    while in_flight.next().await.is_some() {}
}
