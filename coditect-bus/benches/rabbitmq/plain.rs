//! The same jobs by hand, as one writes them with nothing but `lapin`: two connections, confirms, persistent messages.

use std::sync::Arc;
use std::time::Duration;

use coditect_bus::QueueKind;
use futures::stream::{FuturesUnordered, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind,
    PublisherConfirm,
};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
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
                    confirms.push(begin(&answerer, "", "plain.results", properties()).await);
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

    /// Begins to answer questions, and returns what asks them.
    pub(crate) async fn questions(&self) -> Questions {
        let (_channel, mut questions) = self.consumer("plain.questions").await;
        let channel = self.consuming.create_channel().await.unwrap();
        let mut arguments = FieldTable::default();
        arguments.insert("x-expires".into(), AMQPValue::LongLongInt(60_000));
        let reply = channel
            .queue_declare("".into(), QueueDeclareOptions::durable(), arguments)
            .await
            .unwrap();
        let reply_to = reply.name().clone();
        let (reply_channel, replies) = self.consumer(reply_to.as_str()).await;
        let (publisher, answerer) = (self.publisher().await, self.publisher().await);
        let responder = tokio::spawn(async move {
            let _channel = _channel;
            while let Some(question) = questions.next().await {
                let question = question.unwrap();
                let to = question.properties.reply_to().clone().unwrap();
                let id = question.properties.correlation_id().clone().unwrap();
                let properties = properties().with_correlation_id(id);
                send(&answerer, "", to.as_str(), properties).await;
                question.ack(BasicAckOptions::default()).await.unwrap();
            }
        });
        let asker = Asker {
            publisher,
            reply_to,
            _channel: reply_channel,
            replies,
            asked: 0,
        };
        Questions {
            asker: Arc::new(Mutex::new(asker)),
            responder,
        }
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

/// A responder, and who asks it.
pub(crate) struct Questions {
    asker: Arc<Mutex<Asker>>,
    responder: JoinHandle<()>,
}

struct Asker {
    publisher: Channel,
    reply_to: ShortString,
    _channel: Channel,
    replies: Consumer,
    asked: usize,
}

impl Questions {
    /// Asks so many questions, one after the other, and returns how long each took.
    pub(crate) async fn ask(&self, count: usize) -> Vec<Duration> {
        let asker = Arc::clone(&self.asker);
        let asking = tokio::spawn(async move {
            let mut asker = asker.lock().await;
            let mut took = Vec::with_capacity(count);
            for _ in 0..count {
                let start = Instant::now();
                let reply = asker.ask().await;
                took.push(start.elapsed());
                reply.ack(BasicAckOptions::default()).await.unwrap();
            }
            took
        });
        asking.await.unwrap()
    }

    pub(crate) async fn end(self) {
        self.responder.abort();
    }
}

impl Asker {
    async fn ask(&mut self) -> Delivery {
        self.asked += 1;
        let id = ShortString::from(self.asked.to_string());
        let properties = properties()
            .with_reply_to(self.reply_to.clone())
            .with_correlation_id(id.clone());
        send(&self.publisher, "", "plain.questions", properties).await;
        let reply = self.replies.next().await.unwrap().unwrap();
        assert_eq!(reply.properties.correlation_id().as_ref(), Some(&id));
        reply
    }
}

fn properties() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2)
}

async fn begin(
    channel: &Channel,
    exchange: &str,
    key: &str,
    properties: BasicProperties,
) -> PublisherConfirm {
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    channel
        .basic_publish(exchange.into(), key.into(), options, PAYLOAD, properties)
        .await
        .unwrap()
}

/// Publishes a message and waits for its confirm.
async fn send(channel: &Channel, exchange: &str, key: &str, properties: BasicProperties) {
    let confirm = begin(channel, exchange, key, properties).await;
    assert!(confirm.await.unwrap().take_message().is_none());
}

async fn publish(channel: &Channel, exchange: &str, key: &str) {
    send(channel, exchange, key, properties()).await;
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
