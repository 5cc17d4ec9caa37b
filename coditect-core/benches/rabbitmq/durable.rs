//! The whole durable path: runs whose journal is on Redis and whose tasks go over RabbitMQ, or stay in the process.

use coditect_core::prelude::*;
use coditect_core::{Dispatch, RuntimeBuilder};
use coditect_harness::{RabbitMq, Redis};

use super::throughput::{SAMPLES, Samples, TASKS};
use super::{Pair, SLOTS, median, plain, report, usage};

fn with_echo(builder: RuntimeBuilder) -> RuntimeBuilder {
    let echo = agent("echo", async |text: String| Ok::<_, AgentError>(text));
    builder.agent(echo.with_concurrency(SLOTS))
}

pub(crate) async fn measure(broker: &RabbitMq) {
    let redis = Redis::start().await.unwrap();
    let vhost = broker.vhost().await.unwrap();
    let by_hand = plain::Plain::connect(&vhost.url()).await;
    let state = || format!("{}?namespace={}", redis.url(), Redis::namespace());
    let over_the_bus = Pair::start_with(&vhost, &|builder| {
        builder.state(state()).dispatch(Dispatch::Bus)
    })
    .await;
    // A bus of its own, so that the workers of one take nothing from the other.
    let beside = broker.vhost().await.unwrap();
    let local_first = Pair::start_with(&beside, &|builder| {
        let builder = builder.state(state()).dispatch(Dispatch::LocalFirst);
        with_echo(builder)
    })
    .await;
    let server = usage::process_of(broker).await;
    let mine = std::process::id();
    let (mut bus, mut local, mut batched) = <(Samples, Samples, Samples)>::default();
    for _ in 0..SAMPLES {
        let clients = [mine, over_the_bus.worker.id()];
        bus.take(server, &clients, over_the_bus.run(TASKS)).await;
        batched
            .take(server, &clients, by_hand.work_queue(TASKS, 32))
            .await;
        let clients = [mine, local_first.worker.id()];
        local.take(server, &clients, local_first.run(TASKS)).await;
    }
    over_the_bus.end().await;
    local_first.end().await;
    by_hand.close().await;
    println!(
        "a run of {TASKS} tasks, {} bytes each, journal on Redis (appended to a file, synced every second), against lapin without a journal that acks 32 at once",
        plain::PAYLOAD.len()
    );
    let ceiling = median(batched.rate);
    let hand_used = median(batched.clients);
    for (name, ours) in [
        ("all over RabbitMQ", bus),
        ("in the process where it can, else over RabbitMQ", local),
    ] {
        println!("{name}");
        report("  durable tasks/s", median(ours.rate), ceiling);
        report(
            "  µs of clients for a task",
            median(ours.clients),
            hand_used,
        );
    }
}
