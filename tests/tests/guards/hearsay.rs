//! Breakers that are half-open on the word of another process: their agents are called again, however they are chosen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::registry::{Health, Strategy};
use coditect_core::resilience::BreakerState;
use coditect_core::state::{MemoryStore, StateStore};
use coditect_core::{Error, Runtime};
use tokio::time::sleep;

use super::shaky::Shaky;
use crate::stage::{Count, Shared, within};

const WORK: Call<u64, u64> = Call::new("work");

#[tokio::test(start_paused = true)]
async fn those_who_only_heard_of_a_failure_are_well_again_soon() -> Result<(), Error> {
    let store: Arc<dyn StateStore> = Arc::new(Shaky::new(MemoryStore::new()));
    let shared = Shared::new().with_store(store);
    let sick = Arc::new(AtomicBool::new(false));
    let worker = |is_sick: Arc<AtomicBool>| {
        let work = move |x: u64| {
            let fails = is_sick.load(Ordering::SeqCst);
            async move {
                sleep(Duration::from_millis(1)).await;
                match fails {
                    true => Err(AgentError::retryable("its disk is full")),
                    false => Ok(x),
                }
            }
        };
        let runtime = shared.runtime().worker_only().guard_state(None);
        runtime.agent(agent("work", work)).start()
    };
    let one = worker(Arc::clone(&sick)).await?;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(worker(Arc::default()).await?);
    }
    let coordinator = shared.runtime().route("work", Strategy::RoundRobin);
    let coordinator = coordinator.start().await?;
    sleep(Duration::from_secs(1)).await;
    sick.store(true, Ordering::SeqCst);
    for x in 0..100 {
        assert_eq!(within(coordinator.run(&WORK, x)).await?, x);
    }
    let state = |runtime: &Runtime| runtime.breakers()[0].state();
    for x in 0..2_000 {
        assert_eq!(within(coordinator.run(&WORK, x)).await?, x);
        sleep(Duration::from_millis(100)).await;
    }
    let records = coordinator.agents().records();
    let ready = records
        .iter()
        .filter(|record| record.health == Health::Ready);
    assert!(ready.count() >= 3, "three of four have never failed");
    let is_closed = |runtime: &Runtime| state(runtime) == BreakerState::Closed;
    assert!(others.iter().all(is_closed));
    for runtime in others.into_iter().chain([one, coordinator]) {
        runtime.shutdown().await?;
    }
    Ok(())
}

/// An agent that was routed to fails for a while, beside one that never does.
async fn heals(is_shared: bool) -> Result<(), Error> {
    let store: Arc<dyn StateStore> = match is_shared {
        true => Arc::new(Shaky::new(MemoryStore::new())),
        false => Arc::new(MemoryStore::new()),
    };
    let shared = Shared::new().with_store(store);
    let sick = Arc::new(AtomicBool::new(false));
    let worker = |is_sick: Arc<AtomicBool>| {
        let work = move |x: u64| {
            let fails = is_sick.load(Ordering::SeqCst);
            async move {
                match fails {
                    true => Err(AgentError::retryable("its disk is full")),
                    false => Ok(x),
                }
            }
        };
        let runtime = shared.runtime().worker_only().guard_state(None);
        runtime.agent(agent("work", work)).start()
    };
    let one = worker(Arc::clone(&sick)).await?;
    let other = worker(Arc::default()).await?;
    let coordinator = shared.runtime().route("work", Strategy::RoundRobin);
    let coordinator = coordinator.start().await?;
    sleep(Duration::from_secs(1)).await;
    sick.store(true, Ordering::SeqCst);
    for x in 0..100 {
        assert_eq!(within(coordinator.run(&WORK, x)).await?, x);
    }
    sick.store(false, Ordering::SeqCst);
    for x in 0..2_000 {
        assert_eq!(within(coordinator.run(&WORK, x)).await?, x);
        sleep(Duration::from_millis(100)).await;
    }
    let records = coordinator.agents().records();
    let ready = records
        .iter()
        .filter(|record| record.health == Health::Ready);
    assert_eq!(ready.count(), 2, "it healed more than three minutes ago");
    for runtime in [one, other, coordinator] {
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_that_is_routed_to_is_found_to_be_well_again() -> Result<(), Error> {
    heals(false).await
}

#[tokio::test(start_paused = true)]
async fn so_is_one_that_is_shared() -> Result<(), Error> {
    heals(true).await
}

/// How long ten thousand tasks take with two that work and one that fails.
async fn beside_a_sick_one(is_shared: bool) -> Result<Duration, Error> {
    let store: Arc<dyn StateStore> = match is_shared {
        true => Arc::new(Shaky::new(MemoryStore::new())),
        false => Arc::new(MemoryStore::new()),
    };
    let shared = Shared::new().with_store(store);
    let calls = [Count::default(), Count::default(), Count::default()];
    let worker = |number: usize| {
        let calls = calls[number].clone();
        let work = move |x: u64| {
            calls.add();
            async move {
                sleep(Duration::from_millis(if number == 0 { 1 } else { 100 })).await;
                match number {
                    0 => Err(AgentError::retryable("its disk is full")),
                    _ => Ok(x),
                }
            }
        };
        let runtime = shared.runtime().worker_only().guard_state(None);
        runtime
            .agent(agent("work", work).with_concurrency(16))
            .start()
    };
    let workers = [worker(0).await?, worker(1).await?, worker(2).await?];
    let coordinator = shared.runtime().retry_budget("work", None).start().await?;
    sleep(Duration::from_secs(1)).await;
    let mut plan = Plan::builder();
    let tasks = Vec::from_iter((0..10_000).map(|x| plan.task(format!("work-{x}"), &WORK, x)));
    for task in &tasks {
        plan.configure(task, |task| task.max_attempts(1_000));
    }
    let begun = tokio::time::Instant::now();
    let run = coordinator
        .submit_plan::<Vec<u64>>(plan.output(tasks)?)
        .await?;
    within(run.result()).await?;
    let took = begun.elapsed();
    let calls = calls.each_ref().map(Count::get);
    println!("shared {is_shared}: {took:?}, calls {calls:?}");
    for runtime in workers.into_iter().chain([coordinator]) {
        runtime.shutdown().await?;
    }
    Ok(took)
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_for_a_reason_of_its_own_slows_no_other_down() -> Result<(), Error> {
    let alone = beside_a_sick_one(false).await?;
    let told = beside_a_sick_one(true).await?;
    assert!(
        told < alone.mul_f64(1.1),
        "{told:?}, {alone:?} where nobody is told"
    );
    Ok(())
}
