//! Processes that are killed or hang, and a Redis that loses everything.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::registry::{CheckPolicy, Standing, Strategy};
use coditect_harness::{Redis, required};
use tokio::time::Instant;

use crate::place::{Done, LEASE, Place, side_by_side, within};
use crate::process::{Ledger, Process, until};

const WORK: Call<u64, u64> = Call::new("work");
const WAIT: Call<u64, u64> = Call::new("wait");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_had_is_done_elsewhere_in_time() {
    let Some(redis) = required(Redis::shared()).await else {
        return;
    };
    let Some(place) = Place::on(redis).await else {
        return;
    };
    let coordinator = place.runtime().route("wait", Strategy::LeastConnections);
    let coordinator = coordinator.start().await.unwrap();
    let urls = format!("{} {}", place.bus, place.registry);
    let ledger = Ledger::new();
    let mut doomed = Process::worker(&urls, &ledger).await;
    let other = Process::worker(&urls, &ledger).await;
    let view = coordinator.agents();
    until("both are known", async || view.len() == 4).await;
    let run = coordinator
        .submit_plan(side_by_side(&WAIT, 8))
        .await
        .unwrap();
    until("all have begun", async || ledger.count("wait ") == 8).await;
    let had = doomed.count("wait ");
    assert_eq!(had, 4, "each has half of them");
    doomed.kill().await;
    let killed = Instant::now();
    until("it is out of the view", async || view.len() == 2).await;
    let out = killed.elapsed();
    assert!(out < LEASE + Duration::from_secs(1), "{out:?}");
    until("the other one has all", async || other.count("wait ") == 8).await;
    ledger.go();
    assert_eq!(
        within(run.result()).await.unwrap(),
        (0..8).collect::<Vec<_>>()
    );
    let all = killed.elapsed();
    assert!(all < Duration::from_secs(10), "{all:?}");
    println!("killed with {had} tasks: out of the view after {out:?}, all done after {all:?}");
    coordinator.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_does_not_notice_that_redis_was_killed_and_came_back_empty() {
    let Some(redis) = required(Redis::private(&[])).await else {
        return;
    };
    let Some(place) = Place::on(&redis).await else {
        return;
    };
    let done = Done::default();
    let coordinator = place.runtime().route("work", Strategy::TwoChoices);
    let coordinator = coordinator.start().await.unwrap();
    let mut workers = Vec::new();
    for name in ["one", "two", "three"] {
        let worker = place.runtime().worker_only().agent(done.agent(name));
        workers.push(worker.start().await.unwrap());
    }
    let run = coordinator
        .submit_plan(side_by_side(&WORK, 2_000))
        .await
        .unwrap();
    until("the run has begun", async || done.all() > 50).await;
    redis.kill().await.unwrap();
    let before = done.all();
    until("it goes on meanwhile", async || done.all() > before + 50).await;
    redis.restart_empty().await.unwrap();
    let restarted = Instant::now();
    let registry = coordinator.registry();
    until("all are back", async || {
        let listed = registry.list(&coditect_core::registry::Filter::all()).await;
        listed.is_ok_and(|records| records.len() == 3)
    })
    .await;
    let back = restarted.elapsed();
    assert_eq!(within(run.result()).await.unwrap().len(), 2_000);
    println!("all agents are back {back:?} after an empty restart, of a lease of {LEASE:?}");
    // A renewal that finds nobody waits up to a second until it is repeated.
    assert!(back < LEASE / 3 + Duration::from_secs(2), "{back:?}");
    assert_eq!(done.all(), 2_000, "nothing was done twice");
    for runtime in workers {
        runtime.shutdown().await.unwrap();
    }
    coordinator.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stands_still_is_evicted_and_its_tasks_done_elsewhere() {
    let Some(redis) = required(Redis::shared()).await else {
        return;
    };
    let Some(place) = Place::on(redis).await else {
        return;
    };
    let eager = CheckPolicy::default()
        .with_interval(Duration::from_millis(200))
        .with_timeout(Duration::from_millis(800))
        .with_thresholds(1, 2, 1);
    let coordinator = place.runtime().route("stand", Strategy::LeastConnections);
    let coordinator = coordinator.check_agents(eager).start().await.unwrap();
    // It holds its lease for much longer than it is silent.
    let threads = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = parking_lot::Mutex::new(released);
    let still = agent("stand", move |x: u64| {
        begun.send(()).expect("the test goes on");
        released.lock().recv().ok();
        async move { Ok::<_, AgentError>(x) }
    });
    let hour = Duration::from_secs(3_600);
    let still = place
        .runtime()
        .worker_only()
        .leases(LEASE, hour)
        .agent(still.with_name("still"));
    let still = threads.spawn(still.start()).await.unwrap().unwrap();
    let stand = Call::<u64, u64>::new("stand");
    let run = coordinator.submit(&stand, 1).await.unwrap();
    let begun = tokio::task::spawn_blocking(move || has_begun.recv());
    begun.await.unwrap().unwrap();
    let since = Instant::now();
    let other = agent("stand", async |x: u64| Ok::<_, AgentError>(10 * x));
    let other = place
        .runtime()
        .worker_only()
        .agent(other.with_name("other"));
    let other = other.start().await.unwrap();
    assert_eq!(within(run.result()).await.unwrap(), 10);
    let done = since.elapsed();
    assert!(done < Duration::from_secs(10), "{done:?}");
    println!("hung: evicted, and its task done elsewhere after {done:?}");
    let records = coordinator.agents().records();
    let evicted = records
        .iter()
        .find(|record| record.agent().as_str() == "still");
    assert_eq!(evicted.unwrap().standing(), Standing::Evicted);
    drop(release);
    until("it is given work again", async || {
        let records = coordinator.agents().records();
        let mut standings = records.iter().map(|record| record.standing());
        standings.all(|standing| standing == Standing::Ready)
    })
    .await;
    drop(still);
    threads.shutdown_background();
    other.shutdown().await.unwrap();
    coordinator.shutdown().await.unwrap();
}
