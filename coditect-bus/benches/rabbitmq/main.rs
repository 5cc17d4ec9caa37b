//! Measures the RabbitMQ bus against hand-written `lapin` loops: same broker, queue kind, persistence, confirms, prefetch and payload,
//! in the same run and turn by turn.
//!
//! `cargo bench -p coditect-bus --features rabbitmq --bench rabbitmq` starts a private broker and prints, for each job, the median of many
//! short rounds, their quartiles, and the median of the ratios of neighbouring rounds, which what else the machine does moves least.
//! Words after `--` choose jobs (`work`, `request`, `subscribe`, `memory`) and kinds of queue (`quorum`, `classic`). Nothing here passes or fails.
#![allow(missing_docs, reason = "a program, not a library")]
#![allow(
    clippy::unwrap_used,
    reason = "a program that ends when something is wrong"
)]

mod memory;
mod plain;
mod request;
mod rounds;

use std::num::NonZeroUsize;
use std::time::Duration;

use coditect_bus::{
    Destination, Envelope, FanoutName, MessageBus, QueueKind, QueueName, QueueSpec, RabbitMqBus,
    Subscription,
};
use coditect_harness::{RabbitMq, Vhost};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use rounds::Rounds;

/// Messages of one round.
const TASKS: usize = 2_000;
const REQUESTS: usize = 400;
const COPIES: usize = 500;
const SUBSCRIBERS: usize = 10;
const PREFETCH: u16 = 64;
/// Publishes in flight of one publisher.
const IN_FLIGHT: usize = 256;
const PAYLOAD: &[u8] = &[b'7'; 256];

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let chosen = Chosen::from_arguments();
    let broker = RabbitMq::start().await.unwrap();
    for (kind, name) in [
        (QueueKind::Quorum, "quorum"),
        (QueueKind::Classic, "classic"),
    ] {
        if !chosen.has(name, &["quorum", "classic"]) {
            continue;
        }
        println!("{name} queues");
        let vhost = broker.vhost().await.unwrap();
        let plain = plain::Plain::connect(&vhost.url(), kind).await;
        let bus = connect(&vhost, kind).await;
        let is_chosen = |job| chosen.has(job, &["work", "request", "subscribe", "memory"]);
        if is_chosen("work") {
            measure_work(&plain, &bus).await;
        }
        if is_chosen("request") {
            measure_requests(&plain, &bus).await;
        }
        if is_chosen("subscribe") {
            measure_copies(&plain, &bus).await;
        }
        if is_chosen("memory") {
            memory::measure(&bus).await;
        }
        bus.close().await.unwrap();
        plain.close().await;
    }
}

/// What the arguments ask for.
struct Chosen(Vec<String>);

impl Chosen {
    fn from_arguments() -> Self {
        let words = std::env::args().skip(1);
        Self(words.filter(|word| !word.starts_with('-')).collect())
    }

    /// Says whether one of `all` is asked for, by its name or because none of them is named.
    fn has(&self, name: &str, all: &[&str]) -> bool {
        let is_named = |name: &str| self.0.iter().any(|word| word == name);
        is_named(name) || !all.iter().any(|name| is_named(name))
    }
}

async fn measure_work(plain: &plain::Plain, bus: &RabbitMqBus) {
    const ROUNDS: usize = 9;
    let (mut ours, mut single, mut batched) =
        (Rounds::default(), Rounds::default(), Rounds::default());
    for _ in 0..ROUNDS {
        single.push(rate(TASKS, plain.work_queue(TASKS, 1).await));
        ours.push(rate(TASKS, work_queue(bus).await));
        batched.push(rate(TASKS, plain.work_queue(TASKS, 32).await));
    }
    rounds::report(
        "work queue with results, tasks/s",
        &ours,
        "lapin, acks one by one",
        &single,
    );
    rounds::report("", &ours, "lapin, acks 32 at once", &batched);
}

async fn measure_requests(plain: &plain::Plain, bus: &RabbitMqBus) {
    const ROUNDS: usize = 21;
    let theirs = plain.questions().await;
    let ours = request::Questions::start(bus).await;
    // The first rounds warm both up.
    for _ in 0..2 {
        theirs.ask(REQUESTS).await;
        ours.ask(REQUESTS).await;
    }
    let shares = [
        ("request-reply p50, µs", 0.5),
        ("request-reply p99, µs", 0.99),
    ];
    let mut rounds = shares.map(|_| (Rounds::default(), Rounds::default()));
    for number in 0..ROUNDS {
        // Each goes first as often as the other.
        let (mut our_times, mut their_times) = if number % 2 == 0 {
            let first = ours.ask(REQUESTS).await;
            (first, theirs.ask(REQUESTS).await)
        } else {
            let first = theirs.ask(REQUESTS).await;
            (ours.ask(REQUESTS).await, first)
        };
        for ((_, share), (ours, theirs)) in shares.iter().zip(&mut rounds) {
            ours.push(percentile(&mut our_times, *share));
            theirs.push(percentile(&mut their_times, *share));
        }
    }
    for ((name, _), (ours, theirs)) in shares.iter().zip(&rounds) {
        rounds::report(name, ours, "lapin", theirs);
    }
    ours.end().await;
    theirs.end().await;
}

async fn measure_copies(plain: &plain::Plain, bus: &RabbitMqBus) {
    const ROUNDS: usize = 9;
    let (mut ours, mut theirs) = (Rounds::default(), Rounds::default());
    let copies = COPIES * SUBSCRIBERS;
    for _ in 0..ROUNDS {
        theirs.push(rate(
            copies,
            plain.publish_subscribe(COPIES, SUBSCRIBERS).await,
        ));
        ours.push(rate(copies, publish_subscribe(bus).await));
    }
    rounds::report(
        "publish-subscribe 1 to 10, copies/s",
        &ours,
        "lapin",
        &theirs,
    );
}

fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// In microseconds.
fn percentile(samples: &mut [Duration], share: f64) -> f64 {
    samples.sort();
    samples[(samples.len() as f64 * share) as usize].as_secs_f64() * 1e6
}

async fn connect(vhost: &Vhost<'_>, kind: QueueKind) -> RabbitMqBus {
    let builder = RabbitMqBus::builder(vhost.url()).with_queue_kind(kind);
    let bus = builder.connect().await.unwrap();
    for name in ["tasks", "results"] {
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
