//! Coordinators and workers that are killed at any moment, with their runs on Redis and their messages on RabbitMQ.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{RunFilter, RunId, RunState};
use coditect_harness::{RabbitMq, Random, Redis, required, seed};
use tokio::time::Instant;

use super::check::check;
use super::slot::{Slot, strikes};

/// How soon the runs of a dead coordinator must have been gone on with, and ended.
const TAKEOVER: Duration = Duration::from_secs(10);
const COORDINATORS: usize = 2;
const WORKERS: usize = 2;

/// The runs that have not ended.
async fn open(looking: &Runtime) -> Vec<RunId> {
    let mut open = Vec::new();
    for state in [RunState::Submitted, RunState::Running] {
        let filter = RunFilter {
            state: Some(state),
            ..RunFilter::default()
        };
        let runs = looking.runs(filter).await.expect("a list");
        open.extend(runs.into_iter().map(|run| run.run));
    }
    open
}

/// Waits for the end of some runs, and says how long that took.
async fn end(looking: &Runtime, runs: Vec<RunId>, place: &str) -> Duration {
    let began = Instant::now();
    for run in runs {
        let handle = looking.attach::<Vec<u64>>(run);
        let left = TAKEOVER.saturating_sub(began.elapsed());
        let settled = tokio::time::timeout(left, handle.settled()).await;
        let settled = settled.unwrap_or_else(|_| panic!("{place}: {run} did not go on in time"));
        settled.expect("it is known");
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_survive_every_kill_of_a_coordinator_or_worker() {
    let Some(broker) = required(RabbitMq::shared()).await else {
        return;
    };
    let Some(redis) = required(Redis::private(&["appendonly yes"])).await else {
        return;
    };
    let vhost = broker.vhost().await.expect("a broker makes vhosts");
    let seed = seed();
    let mut random = Random::seeded(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let places = format!("{} {}", redis.url(), vhost.url());
    let coordinators = (0..COORDINATORS).map(|n| Slot::new("keeper", n, &places, folder.path()));
    let workers = (0..WORKERS).map(|n| Slot::new("stepper", n, &places, folder.path()));
    let mut slots: Vec<_> = coordinators.chain(workers).collect();
    for slot in &mut slots {
        slot.start();
    }
    for slot in &mut slots {
        slot.has("up", 1).await;
    }
    let looking = Runtime::builder().state(redis.url()).worker_only();
    let looking = looking.start().await.expect("redis is there");
    let mut longest = Duration::ZERO;
    for strike in 0..strikes(10) {
        let victim = random.below(slots.len() as u64) as usize;
        // It waits for nothing: it moves the kill to another place.
        tokio::time::sleep(Duration::from_micros(random.below(300_000))).await;
        let ups = slots[victim].count("up");
        slots[victim].kill();
        if victim < COORDINATORS {
            let place = format!("seed {seed}, strike {strike}");
            let runs = open(&looking).await;
            longest = longest.max(end(&looking, runs, &place).await);
        }
        slots[victim].start();
        slots[victim].has("up", ups + 1).await;
    }
    for slot in &mut slots {
        slot.kill();
    }
    let accepted: Vec<_> = slots.iter().flat_map(Slot::accepted).collect();
    check(&places, &accepted, &format!("seed {seed}")).await;
    let runs = accepted.len();
    eprintln!("{runs} runs were accepted; those of a dead coordinator ended within {longest:?}");
    looking.shutdown().await.expect("nothing runs");
}
