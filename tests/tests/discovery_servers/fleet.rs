//! Fleets that grow and change while runs go on.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::registry::Strategy;
use coditect_harness::{Redis, required};

use crate::place::{Done, Place, side_by_side, within};
use crate::process::until;

const WORK: Call<u64, u64> = Call::new("work");

macro_rules! place {
    () => {{
        let Some(redis) = required(Redis::shared()).await else {
            return;
        };
        let Some(place) = Place::on(redis).await else {
            return;
        };
        place
    }};
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_that_are_started_after_a_run_has_begun_are_used() {
    let place = place!();
    let done = Done::default();
    let coordinator = place.runtime().route("work", Strategy::LeastConnections);
    let coordinator = coordinator.start().await.unwrap();
    let run = coordinator
        .submit_plan(side_by_side(&WORK, 300))
        .await
        .unwrap();
    let worker = |name| {
        place
            .runtime()
            .worker_only()
            .agent(done.agent(name))
            .start()
    };
    let first = worker("first").await.unwrap();
    until("the run has begun", async || done.by("first") > 10).await;
    let later = worker("later").await.unwrap();
    assert_eq!(within(run.result()).await.unwrap().len(), 300);
    println!("first did {}, later {}", done.by("first"), done.by("later"));
    assert!(done.by("later") > 50, "{}", done.by("later"));
    assert_eq!(done.all(), 300);
    for runtime in [first, later, coordinator] {
        runtime.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_start_of_an_exclusive_agent_takes_its_name_over() {
    let place = place!();
    let builder = |name: &'static str| {
        let stuck = move |context: TaskContext, _: u64| async move {
            if name == "newer" {
                return Ok(name);
            }
            context.cancelled().await;
            Err(AgentError::retryable("told to stop"))
        };
        place.runtime().agent(agent("only", stuck).with_exclusive())
    };
    let only = call::<u64, String>("only");
    let older = builder("older").start().await.unwrap();
    let run = older.submit(&only, 1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let newer = builder("newer").worker_only().start().await.unwrap();
    assert_eq!(within(run.result()).await.unwrap(), "newer");
    assert_eq!(older.agents().len(), 1);
    assert_eq!(within(older.run(&only, 2)).await.unwrap(), "newer");
    newer.shutdown().await.unwrap();
    older.shutdown().await.unwrap();
}
