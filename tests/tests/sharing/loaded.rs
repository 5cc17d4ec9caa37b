//! Partitions that are handed over while their runs are busy: all runs end, and no handler is called twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::registry::Strategy;
use coditect_core::{Dispatch, Error, RuntimeBuilder};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::even::{coordinator, even};
use crate::stage::{Shared, within};

const STEP: Call<Vec<u64>, u64> = Call::new("step");
const RUNS: u64 = 60;
/// Tasks of a run, in layers each of which waits for the one before.
const LAYERS: u64 = 6;
const WIDTH: u64 = 4;

/// How often each attempt was begun.
type Calls = Arc<Mutex<BTreeMap<(String, u32), u32>>>;

/// Adds the agent that counts what it is asked to do, and takes its time.
fn working(builder: RuntimeBuilder, calls: &Calls) -> RuntimeBuilder {
    let calls = Arc::clone(calls);
    let step = move |context: TaskContext, taken: Vec<u64>| {
        let attempt = (context.idempotency_key(), context.attempt());
        *calls.lock().entry(attempt).or_default() += 1;
        let span = Duration::from_millis(3 + taken.iter().sum::<u64>() * 7 % 40);
        async move {
            sleep(span).await;
            Ok::<_, AgentError>(taken.iter().sum::<u64>() + 1)
        }
    };
    builder.agent(agent("step", step).with_concurrency(6))
}

fn plan(number: u64) -> Plan<Vec<u64>> {
    let mut plan = Plan::<()>::builder();
    let mut above: Vec<TaskRef<u64>> = Vec::new();
    for layer in 0..LAYERS {
        let tasks = (0..WIDTH).map(|index| {
            let key = format!("{layer}-{index}");
            match above.is_empty() {
                true => plan.task(key, &STEP, vec![number, index]),
                false => plan.task(key, &STEP, above.clone()),
            }
        });
        above = tasks.collect();
    }
    plan.output(above).expect("a plan")
}

fn result(number: u64) -> Vec<u64> {
    let mut above: Vec<u64> = (0..WIDTH).map(|index| number + index + 1).collect();
    for _ in 1..LAYERS {
        above = vec![above.iter().sum::<u64>() + 1; WIDTH as usize];
    }
    above
}

/// Lets runs come all the time while coordinators come and leave.
async fn busy(
    dispatch: Dispatch,
    everywhere: bool,
    routed: bool,
    most: usize,
    back: bool,
) -> Result<(), Error> {
    let shared = Shared::new().with_partitions(8);
    let calls = Calls::default();
    let describe = || {
        let builder = coordinator(&shared).dispatch(dispatch);
        let builder = match routed {
            true => builder.route("step", Strategy::RoundRobin),
            false => builder,
        };
        match everywhere {
            true => working(builder, &calls),
            false => builder,
        }
    };
    let worker = working(shared.runtime().worker_only(), &calls)
        .start()
        .await?;
    let mut running = vec![describe().start().await?];
    let mut runs = JoinSet::new();
    for number in 0..RUNS {
        let worker = worker.clone();
        runs.spawn(async move {
            sleep(Duration::from_millis(number * 25)).await;
            let run = worker.submit_plan(plan(number)).await?;
            assert_eq!(within(run.result()).await?, result(number));
            let report = run.report().await?;
            assert_eq!(report.attempts, LAYERS * WIDTH, "nothing was tried twice");
            Ok::<_, Error>(())
        });
    }
    for coordinators in 2..=most {
        sleep(Duration::from_millis(250)).await;
        running.push(describe().start().await?);
        even(&shared.journal, coordinators).await;
    }
    if back {
        for coordinators in (1..most).rev() {
            sleep(Duration::from_millis(250)).await;
            running.remove(0).shutdown().await?;
            even(&shared.journal, coordinators).await;
        }
    }
    while let Some(run) = within(runs.join_next()).await {
        run.expect("no panic")?;
    }
    let calls = calls.lock();
    assert_eq!(calls.len() as u64, RUNS * LAYERS * WIDTH);
    let twice: Vec<_> = calls.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "begun more than once: {twice:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn tasks_on_the_bus_are_done_once() -> Result<(), Error> {
    busy(Dispatch::Bus, false, false, 3, true).await
}

#[tokio::test(start_paused = true)]
async fn tasks_of_the_own_process_are_done_once() -> Result<(), Error> {
    busy(Dispatch::LocalFirst, true, false, 3, true).await
}

#[tokio::test(start_paused = true)]
async fn tasks_that_are_routed_are_done_once_while_coordinators_come() -> Result<(), Error> {
    busy(Dispatch::Bus, true, true, 3, false).await
}
