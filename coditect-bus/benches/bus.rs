//! Measures the memory bus against hand-written `tokio::sync` channels, in the same run.
//!
//! `cargo bench -p coditect-bus` prints medians and ratios. Nothing here passes or fails.
#![allow(missing_docs, reason = "a program, not a library")]

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{
    Consumer, Destination, Envelope, MemoryBus, MessageBus, MessageBusExt, MessageId, QueueName,
    QueueSpec, Subscription,
};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

const MESSAGES: u32 = 200_000;
const REQUESTS: usize = 50_000;
const SAMPLES: usize = 7;
const PAYLOAD: &[u8] = &[7; 256];

fn main() {
    let current = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    let two = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts");
    let id = median(|| {
        let start = Instant::now();
        for _ in 0..MESSAGES {
            std::hint::black_box(MessageId::new());
        }
        start.elapsed() / MESSAGES
    });
    println!("message id                                    {id:>9.1?}");

    compare(
        "publish, recv, ack in one task",
        &current,
        one_task(&current),
        tokio_one_task(&current),
    );
    for (name, runtime) in [("current thread", &current), ("two threads", &two)] {
        let bus = work_queue(runtime);
        compare(
            &format!("work queue, 1 to 1, {name}"),
            runtime,
            bus,
            tokio_work_queue(runtime),
        );
    }
    for (name, runtime) in [("current thread", &current), ("two threads", &two)] {
        let (p50, p99) = request_reply(runtime);
        let (plain, plain99) = tokio_request_reply(runtime);
        let name = format!("typed request-reply p50, {name}");
        compare(&name, runtime, p50, plain);
        println!("{:45} {p99:>9.1?}   tokio {plain99:>9.1?}", "  p99");
    }
}

fn compare(name: &str, _: &Runtime, bus: Duration, plain: Duration) {
    let ratio = bus.as_secs_f64() / plain.as_secs_f64();
    println!("{name:45} {bus:>9.1?}   tokio {plain:>9.1?}   ratio {ratio:.1}");
}

fn median(mut sample: impl FnMut() -> Duration) -> Duration {
    let mut samples: Vec<_> = (0..SAMPLES).map(|_| sample()).collect();
    samples.sort();
    samples[SAMPLES / 2]
}

fn queue() -> QueueName {
    QueueName::new("bench").expect("a good name")
}

async fn bus_and_consumer() -> (Arc<dyn MessageBus>, Destination, Consumer) {
    let bus = MemoryBus::new().handle();
    let capacity = NonZeroUsize::new(MESSAGES as usize).expect("not zero");
    bus.declare(QueueSpec::new(queue()).with_capacity(capacity))
        .await
        .expect("a new queue");
    let prefetch = NonZeroUsize::new(64).expect("not zero");
    let consumer = bus
        .subscribe(Subscription::queue(queue()).with_prefetch(prefetch))
        .await
        .expect("a queue");
    (bus, queue().into(), consumer)
}

fn one_task(runtime: &Runtime) -> Duration {
    median(|| {
        runtime.block_on(async {
            let (bus, to, mut consumer) = bus_and_consumer().await;
            let start = Instant::now();
            for _ in 0..MESSAGES {
                bus.publish(&to, Envelope::new(PAYLOAD))
                    .await
                    .expect("room");
                consumer
                    .recv()
                    .await
                    .expect("a message")
                    .ack()
                    .await
                    .expect("a lease");
            }
            start.elapsed() / MESSAGES
        })
    })
}

fn tokio_one_task(runtime: &Runtime) -> Duration {
    median(|| {
        runtime.block_on(async {
            let (sender, mut receiver) = mpsc::channel(64);
            let start = Instant::now();
            for _ in 0..MESSAGES {
                sender.send(Envelope::new(PAYLOAD)).await.expect("room");
                std::hint::black_box(receiver.recv().await);
            }
            start.elapsed() / MESSAGES
        })
    })
}

fn work_queue(runtime: &Runtime) -> Duration {
    median(|| {
        runtime.block_on(async {
            let (bus, to, mut consumer) = bus_and_consumer().await;
            let start = Instant::now();
            let publisher = tokio::spawn(async move {
                for _ in 0..MESSAGES {
                    bus.publish(&to, Envelope::new(PAYLOAD))
                        .await
                        .expect("room");
                }
                bus
            });
            let receiver = tokio::spawn(async move {
                for _ in 0..MESSAGES {
                    consumer
                        .recv()
                        .await
                        .expect("a message")
                        .ack()
                        .await
                        .expect("a lease");
                }
            });
            receiver.await.expect("no panic");
            let elapsed = start.elapsed() / MESSAGES;
            publisher.await.expect("no panic");
            elapsed
        })
    })
}

fn tokio_work_queue(runtime: &Runtime) -> Duration {
    median(|| {
        runtime.block_on(async {
            let (sender, mut receiver) = mpsc::channel(MESSAGES as usize);
            let start = Instant::now();
            let publisher = tokio::spawn(async move {
                for _ in 0..MESSAGES {
                    sender.send(Envelope::new(PAYLOAD)).await.expect("room");
                }
            });
            let receiver = tokio::spawn(async move { while receiver.recv().await.is_some() {} });
            receiver.await.expect("no panic");
            publisher.await.expect("no panic");
            start.elapsed() / MESSAGES
        })
    })
}

fn percentiles(mut latencies: Vec<Duration>) -> (Duration, Duration) {
    latencies.sort();
    (
        latencies[latencies.len() / 2],
        latencies[latencies.len() * 99 / 100],
    )
}

fn request_reply(runtime: &Runtime) -> (Duration, Duration) {
    runtime.block_on(async {
        let bus = MemoryBus::new();
        let queue = bus.offer("increment").await.expect("a good name");
        let increment = |number: u64| async move { Ok::<_, &str>(number + 1) };
        let responder = bus
            .serve(queue.clone(), NonZeroUsize::MIN, increment)
            .await
            .expect("a queue");
        let requester = bus.requester().await.expect("a queue");
        let asker = tokio::spawn(async move {
            let to = queue.into();
            let mut latencies = Vec::with_capacity(REQUESTS);
            for number in 0..REQUESTS as u64 {
                let start = Instant::now();
                let answer: u64 = requester
                    .request(&to, &number, Duration::from_secs(5))
                    .await
                    .expect("an answer");
                latencies.push(start.elapsed());
                assert_eq!(answer, number + 1);
            }
            latencies
        });
        let latencies = asker.await.expect("no panic");
        responder.stop().await;
        percentiles(latencies)
    })
}

fn tokio_request_reply(runtime: &Runtime) -> (Duration, Duration) {
    runtime.block_on(async {
        let (sender, mut receiver) = mpsc::channel::<(u64, oneshot::Sender<u64>)>(64);
        tokio::spawn(async move {
            while let Some((number, answer)) = receiver.recv().await {
                // A receiver that has gone wants no answer.
                let _ = answer.send(number + 1);
            }
        });
        let asker = tokio::spawn(async move {
            let mut latencies = Vec::with_capacity(REQUESTS);
            for number in 0..REQUESTS as u64 {
                let start = Instant::now();
                let (answer, answered) = oneshot::channel();
                sender.send((number, answer)).await.expect("a receiver");
                assert_eq!(answered.await.expect("an answer"), number + 1);
                latencies.push(start.elapsed());
            }
            latencies
        });
        percentiles(asker.await.expect("no panic"))
    })
}
