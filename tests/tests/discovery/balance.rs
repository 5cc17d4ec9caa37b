//! What policies make of one agent in four that is ten times slower.

use std::collections::BTreeMap;
use std::time::Duration;

use coditect_core::Error;
use coditect_core::prelude::*;
use coditect_core::registry::Strategy;
use futures::future::try_join_all;
use tokio::time::Instant;

use crate::stage::{Notes, Shared, within};

const WORK: Call<u64, u64> = Call::new("work");
const FAST: Duration = Duration::from_millis(10);
const SLOTS: usize = 8;
const CLIENTS: usize = 12;
const EACH: usize = 50;

struct Measured {
    shares: BTreeMap<&'static str, usize>,
    p99: Duration,
    all: Duration,
}

/// Twelve clients that ask, wait for the answer and ask again.
async fn measured(strategy: Strategy) -> Result<Measured, Error> {
    let (shared, notes) = (Shared::new(), Notes::new());
    let coordinator = shared.runtime().route("work", strategy).start().await?;
    let mut workers = Vec::new();
    for (name, takes) in [
        ("one", FAST),
        ("two", FAST),
        ("three", FAST),
        ("slow", 10 * FAST),
    ] {
        let notes = notes.clone();
        let work = move |x: u64| {
            notes.push(name);
            async move {
                tokio::time::sleep(takes).await;
                Ok::<_, AgentError>(x)
            }
        };
        let work = agent("work", work).with_name(name).with_concurrency(SLOTS);
        workers.push(shared.runtime().worker_only().agent(work).start().await?);
    }
    let began = Instant::now();
    let clients = (0..CLIENTS).map(async |_| {
        let mut latencies = Vec::with_capacity(EACH);
        for number in 0..EACH as u64 {
            let asked = Instant::now();
            coordinator.run(&WORK, number).await?;
            latencies.push(asked.elapsed());
        }
        Ok::<_, Error>(latencies)
    });
    let mut latencies = within(try_join_all(clients)).await?.concat();
    let all = began.elapsed();
    latencies.sort_unstable();
    let mut shares = BTreeMap::new();
    for name in notes.all() {
        *shares.entry(name).or_default() += 1;
    }
    for worker in workers {
        worker.shutdown().await?;
    }
    coordinator.shutdown().await?;
    let p99 = latencies[latencies.len() * 99 / 100];
    println!("{strategy:>18}: p99 {p99:?}, all in {all:?}, {shares:?}");
    Ok(Measured { shares, p99, all })
}

#[tokio::test(start_paused = true)]
async fn least_connections_beats_round_robin_when_one_agent_is_slow() -> Result<(), Error> {
    let blind = measured(Strategy::RoundRobin).await?;
    let least = measured(Strategy::LeastConnections).await?;
    let wise = measured(Strategy::PeakEwma).await?;
    let tasks = CLIENTS * EACH;
    assert!(
        blind.shares["slow"] * 5 > tasks,
        "each its turn: {:?}",
        blind.shares
    );
    assert!(
        least.shares["slow"] * 2 < blind.shares["slow"],
        "{:?}",
        least.shares
    );
    assert!(least.all < blind.all && least.p99 <= blind.p99);
    assert!(
        wise.shares["slow"] < least.shares["slow"],
        "{:?}",
        wise.shares
    );
    assert!(
        wise.p99 < blind.p99,
        "hardly anybody waits for the slow one"
    );
    Ok(())
}
