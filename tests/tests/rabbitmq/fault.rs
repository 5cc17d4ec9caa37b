//! Runs go on to their right end while brokers, connections and workers do not.
//!
//! More than 20,000 tasks in all, in as many processes as there would be. Each test prints how many of its tasks were
//! done a second time; chance follows from the seed that is printed.

use std::time::Duration;

use coditect_harness::{RabbitMq, Random, Relay, required, seed};
use tokio::time::Instant;

use crate::flow::{Flow, coordinator};
use crate::process::{Ledger, Process, until};

/// How soon the work goes on after the broker is back.
const BACK: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_survives_the_death_of_the_broker() {
    let Some(broker) = required(RabbitMq::private(&[])).await else {
        return;
    };
    let ledger = Ledger::new();
    let runtime = coordinator(&broker.url()).await;
    let _workers = [
        Process::worker(&broker.url(), &ledger).await,
        Process::worker(&broker.url(), &ledger).await,
    ];
    broker.settle().await.unwrap();
    let mut flow = Flow::start(&runtime, 6_000, &ledger).await;
    for at in [1_000, 2_500] {
        flow.reaches(at).await;
        broker.kill().await.unwrap();
        broker.restart().await.unwrap();
        let (up, before) = (Instant::now(), flow.settled());
        flow.reaches(before + 1).await;
        let took = up.elapsed();
        println!("the flow was back {took:?} after the broker");
        assert!(took < BACK, "{took:?}");
    }
    flow.end("broker killed twice", &ledger).await;
    runtime.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_survives_connections_that_are_cut_at_random() {
    let Some(broker) = required(RabbitMq::shared()).await else {
        return;
    };
    let vhost = broker.vhost().await.unwrap();
    let seed = seed();
    let ledger = Ledger::new();
    let ours = Relay::start(broker.place()).await.unwrap();
    let theirs = Relay::start(broker.place()).await.unwrap();
    let runtime = coordinator(&vhost.url_through(ours.addr())).await;
    let url = vhost.url_through(theirs.addr());
    let _workers = [
        Process::worker(&url, &ledger).await,
        Process::worker(&url, &ledger).await,
    ];
    let flow = Flow::start(&runtime, 6_000, &ledger).await;
    let second = Duration::from_secs(1);
    let cutting = (
        ours.cut_at_random(seed, second),
        theirs.cut_at_random(seed.wrapping_add(1), second),
    );
    flow.end("connections cut every second", &ledger).await;
    drop(cutting);
    println!(
        "{} connections were made",
        ours.accepted() + theirs.accepted()
    );
    runtime.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_survives_the_death_of_its_workers() {
    let Some(broker) = required(RabbitMq::shared()).await else {
        return;
    };
    let vhost = broker.vhost().await.unwrap();
    let mut random = Random::seeded(seed());
    let ledger = Ledger::new();
    let runtime = coordinator(&vhost.url()).await;
    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(Process::worker(&vhost.url(), &ledger).await);
    }
    let tasks = 6_000;
    let mut flow = Flow::start(&runtime, tasks, &ledger).await;
    let mut kills = 0;
    while flow.settled() + 600 < tasks as usize {
        flow.reaches(flow.settled() + 100 + random.below(400) as usize)
            .await;
        let victim = random.below(3) as usize;
        workers[victim].kill().await;
        workers[victim] = Process::worker(&vhost.url(), &ledger).await;
        kills += 1;
    }
    flow.end(&format!("workers killed {kills} times"), &ledger)
        .await;
    runtime.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_survives_workers_that_sleep_through_heartbeats() {
    let Some(broker) = required(RabbitMq::shared()).await else {
        return;
    };
    let vhost = broker.vhost().await.unwrap();
    let ledger = Ledger::new();
    let runtime = coordinator(&vhost.url()).await;
    // The broker gives a connection up after two intervals without a sign of life.
    let url = format!("{}?heartbeat=1", vhost.url());
    let mut sleeper = Process::worker(&url, &ledger).await;
    let mut flow = Flow::start(&runtime, 6_000, &ledger).await;
    flow.reaches(500).await;
    let mut other = Process::worker(&url, &ledger).await;
    for at in [700, 1_500] {
        flow.reaches(at).await;
        let before = connections(&vhost).await;
        sleeper.signal("STOP").await;
        until("the broker has given it up", async || {
            connections(&vhost).await < before
        })
        .await;
        sleeper.signal("CONT").await;
    }
    flow.end("workers asleep", &ledger).await;
    // Now everything depends on the one that slept.
    other.kill().await;
    let flow = Flow::start(&runtime, 500, &ledger).await;
    flow.end("after their sleep", &ledger).await;
    sleeper.signal("TERM").await;
    assert!(sleeper.ended(Duration::from_secs(15)).await);
    runtime.shutdown().await.unwrap();
}

/// How many connections there are to a vhost.
async fn connections(vhost: &coditect_harness::Vhost<'_>) -> usize {
    let expression = format!(
        "length([C || C <- rabbit_networking:connections(), \
         rabbit_networking:connection_info(C, [vhost]) =:= [{{vhost, <<\"{}\">>}}]]).",
        vhost.name()
    );
    let count = vhost.broker().eval(&expression).await.unwrap();
    count.trim().parse().unwrap()
}
