//! Coordinators and workers that are killed at any moment, with their runs on Redis and their messages on RabbitMQ.

use std::path::Path;
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{RunFilter, RunId, RunState};
use coditect_harness::{RabbitMq, Random, Redis, required, seed};
use coditect_tests::keeping::USUAL;
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

/// Starts coordinators, and workers after them.
async fn fleet(places: &str, folder: &Path) -> Vec<Slot> {
    let coordinators = (0..COORDINATORS).map(|number| ("keeper", number));
    let workers = (0..WORKERS).map(|number| ("stepper", number));
    let mut fleet = Vec::new();
    for (role, number) in coordinators.chain(workers) {
        let mut slot = Slot::new(role, number, places, folder);
        slot.start();
        slot.has("up", 1).await;
        fleet.push(slot);
    }
    fleet
}

/// Kills what is left, and checks what it leaves.
async fn close(mut fleet: Vec<Slot>, places: &str, place: &str) -> usize {
    for slot in &mut fleet {
        slot.kill();
    }
    let accepted: Vec<_> = fleet.iter().flat_map(Slot::accepted).collect();
    check(places, &accepted, place).await;
    accepted.len()
}

/// A runtime that reads what is on Redis and does nothing.
async fn reader(redis: &Redis) -> Runtime {
    let looking = Runtime::builder().state(redis.url()).worker_only();
    looking.start().await.expect("redis is there")
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
    let mut slots = fleet(&places, folder.path()).await;
    let looking = reader(&redis).await;
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
    let runs = close(slots, &places, &format!("seed {seed}")).await;
    eprintln!("{runs} runs were accepted; those of a dead coordinator ended within {longest:?}");
    looking.shutdown().await.expect("nothing runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_of_a_dead_coordinator_go_on_in_time_with_the_usual_leases() {
    let Some(broker) = required(RabbitMq::shared()).await else {
        return;
    };
    let Some(redis) = required(Redis::private(&["appendonly yes"])).await else {
        return;
    };
    let vhost = broker.vhost().await.expect("a broker makes vhosts");
    let folder = tempfile::tempdir().expect("a folder");
    let places = format!("{} {}{USUAL}", redis.url(), vhost.url());
    let mut slots = fleet(&places, folder.path()).await;
    let looking = reader(&redis).await;
    // The first one has taken the partitions, and keeps them while it lives.
    slots[0].has("accepted ", 5).await;
    slots[0].kill();
    let runs = open(&looking).await;
    assert!(!runs.is_empty(), "nothing was under way");
    let took = end(&looking, runs, "the only kill").await;
    eprintln!("the runs of a dead coordinator ended within {took:?}");
    close(slots, &places, "after the only kill").await;
    looking.shutdown().await.expect("nothing runs");
}
