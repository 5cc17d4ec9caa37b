//! Measures the RabbitMQ bus against hand-written `lapin` loops: same broker, queue kind, persistence, confirms, prefetch and payload,
//! in the same run and turn by turn.
//!
//! `cargo bench -p coditect-bus --features rabbitmq --bench rabbitmq` starts a private broker and prints medians and ratios. Nothing
//! here passes or fails.
#![allow(missing_docs, reason = "a program, not a library")]
#![allow(
    clippy::unwrap_used,
    reason = "a program that ends when something is wrong"
)]

mod plain;

use std::num::NonZeroUsize;
use std::time::Duration;

use coditect_bus::{
    Destination, Envelope, FanoutName, MessageBus, QueueKind, QueueName, QueueSpec, RabbitMqBus,
    Subscription,
};
use coditect_harness::{RabbitMq, Vhost};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

/// Messages of one sample.
const TASKS: usize = 4_000;
const REQUESTS: usize = 1_000;
const COPIES: usize = 1_000;
const SUBSCRIBERS: usize = 10;
const SAMPLES: usize = 3;
const PREFETCH: u16 = 64;
/// Publishes in flight of one publisher.
const IN_FLIGHT: usize = 256;
const PAYLOAD: &[u8] = &[7; 256];

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let broker = RabbitMq::start().await.unwrap();
    for kind in [QueueKind::Quorum, QueueKind::Classic] {
        println!("{kind:?} queues");
        let vhost = broker.vhost().await.unwrap();
        let plain = plain::Plain::connect(&vhost.url(), kind).await;
        let bus = connect(&vhost, kind).await;

        let (mut ours, mut single, mut batched) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..SAMPLES {
            single.push(plain.work_queue(TASKS, 1).await);
            ours.push(work_queue(&bus).await);
            batched.push(plain.work_queue(TASKS, 32).await);
        }
        let ours = rate(TASKS, median(ours));
        report(
            "work queue with results, tasks/s",
            ours,
            "lapin, acks one by one",
            rate(TASKS, median(single)),
        );
        report(
            "",
            ours,
            "lapin, acks 32 at once",
            rate(TASKS, median(batched)),
        );

        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..SAMPLES {
            theirs.extend(plain.request_reply(REQUESTS).await);
            ours.extend(request_reply(&bus).await);
        }
        for (name, share) in [
            ("request-reply p50, µs", 0.5),
            ("request-reply p99, µs", 0.99),
        ] {
            report(
                name,
                percentile(&mut ours, share),
                "lapin",
                percentile(&mut theirs, share),
            );
        }

        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..SAMPLES {
            theirs.push(plain.publish_subscribe(COPIES, SUBSCRIBERS).await);
            ours.push(publish_subscribe(&bus).await);
        }
        let copies = COPIES * SUBSCRIBERS;
        report(
            "publish-subscribe 1 to 10, copies/s",
            rate(copies, median(ours)),
            "lapin",
            rate(copies, median(theirs)),
        );
        bus.close().await.unwrap();
        plain.close().await;
    }
}

fn report(name: &str, ours: f64, other: &str, theirs: f64) {
    println!(
        "{name:36} {ours:>10.0}   {other:24} {theirs:>10.0}   ratio {:.2}",
        ours / theirs
    );
}

fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

fn median(mut samples: Vec<Duration>) -> Duration {
    samples.sort();
    samples[samples.len() / 2]
}

/// In microseconds.
fn percentile(samples: &mut [Duration], share: f64) -> f64 {
    samples.sort();
    samples[(samples.len() as f64 * share) as usize].as_secs_f64() * 1e6
}

async fn connect(vhost: &Vhost<'_>, kind: QueueKind) -> RabbitMqBus {
    let builder = RabbitMqBus::builder(vhost.url()).with_queue_kind(kind);
    let bus = builder.connect().await.unwrap();
    for name in ["tasks", "results", "questions"] {
        bus.declare(QueueSpec::new(queue(name))).await.unwrap();
    }
    bus
}

fn queue(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

fn from(name: &str) -> Subscription {
    Subscription::queue(queue(name)).with_prefetch(NonZeroUsize::new(PREFETCH.into()).unwrap())
}

/// Publishes so many messages, with many in flight.
async fn publish(bus: &RabbitMqBus, to: &Destination, count: usize) {
    let mut in_flight = FuturesUnordered::new();
    for _ in 0..count {
        if in_flight.len() == IN_FLIGHT {
            in_flight.next().await;
        }
        in_flight.push(async { bus.publish(to, Envelope::new(PAYLOAD)).await.unwrap() });
    }
    while in_flight.next().await.is_some() {}
}

/// A publisher, a worker that acknowledges a task when its result is confirmed, and a reader of the results.
async fn work_queue(bus: &RabbitMqBus) -> Duration {
    let mut tasks = bus.subscribe(from("tasks")).await.unwrap();
    let mut results = bus.subscribe(from("results")).await.unwrap();
    let start = Instant::now();
    let publisher = {
        let bus = bus.clone();
        tokio::spawn(async move { publish(&bus, &queue("tasks").into(), TASKS).await })
    };
    let worker = {
        let bus = bus.clone();
        tokio::spawn(async move {
            let to = Destination::from(queue("results"));
            let (mut taken, mut working) = (0, FuturesUnordered::new());
            while taken < TASKS || !working.is_empty() {
                tokio::select! {
                    task = tasks.recv(), if taken < TASKS => {
                        let task = task.unwrap();
                        taken += 1;
                        let (bus, to) = (&bus, &to);
                        working.push(async move {
                            bus.publish(to, Envelope::new(PAYLOAD)).await.unwrap();
                            task.ack().await.unwrap();
                        });
                    }
                    Some(()) = working.next() => {}
                }
            }
        })
    };
    let mut settling = FuturesUnordered::new();
    for _ in 0..TASKS {
        let result = results.recv().await.unwrap();
        settling.push(result.ack());
        while settling.len() >= usize::from(PREFETCH) {
            settling.next().await;
        }
    }
    while settling.next().await.is_some() {}
    publisher.await.unwrap();
    worker.await.unwrap();
    start.elapsed()
}

async fn request_reply(bus: &RabbitMqBus) -> Vec<Duration> {
    let mut questions = bus.subscribe(from("questions")).await.unwrap();
    let answers = queue("answers");
    bus.declare(QueueSpec::temporary(answers.clone()))
        .await
        .unwrap();
    let mut replies = bus.subscribe(from("answers")).await.unwrap();
    let responder = {
        let bus = bus.clone();
        tokio::spawn(async move {
            for _ in 0..REQUESTS {
                let question = questions.recv().await.unwrap();
                let to = question.envelope().reply_to().unwrap().clone().into();
                bus.publish(&to, Envelope::new(PAYLOAD)).await.unwrap();
                question.ack().await.unwrap();
            }
        })
    };
    let to = queue("questions").into();
    let mut took = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let start = Instant::now();
        let question = Envelope::new(PAYLOAD).with_reply_to(answers.clone());
        bus.publish(&to, question).await.unwrap();
        let reply = replies.recv().await.unwrap();
        took.push(start.elapsed());
        reply.ack().await.unwrap();
    }
    responder.await.unwrap();
    took
}

async fn publish_subscribe(bus: &RabbitMqBus) -> Duration {
    let news = FanoutName::new("news").unwrap();
    let mut subscribers = Vec::new();
    for _ in 0..SUBSCRIBERS {
        let prefetch = NonZeroUsize::new(PREFETCH.into()).unwrap();
        let subscription = Subscription::fanout(news.clone()).with_prefetch(prefetch);
        subscribers.push(bus.subscribe(subscription).await.unwrap());
    }
    let start = Instant::now();
    let readers: Vec<_> = subscribers
        .into_iter()
        .map(|mut subscriber| {
            tokio::spawn(async move {
                let mut settling = FuturesUnordered::new();
                for _ in 0..COPIES {
                    let copy = subscriber.recv().await.unwrap();
                    settling.push(copy.ack());
                    while settling.len() >= usize::from(PREFETCH) {
                        settling.next().await;
                    }
                }
                while settling.next().await.is_some() {}
            })
        })
        .collect();
    publish(bus, &Destination::Fanout(news), COPIES).await;
    for reader in readers {
        reader.await.unwrap();
    }
    let took = start.elapsed();
    // The temporary queues go with their consumers, which is not what is measured.
    tokio::time::sleep(Duration::from_millis(300)).await;
    took
}
