//! How many tasks of a run are dispatched at once: never more than was said, and never so few that it does not end.

use std::collections::HashSet;
use std::time::Duration;

use coditect_core::dag::journal::{RecordKind, RunJournal};
use coditect_core::prelude::*;
use coditect_core::resilience::{Randomness, SplitMix};
use coditect_core::{Dispatch, Error, ErrorKind, RunId, RunState};
use tokio::time::sleep;

mod stage;

use stage::{Gate, Shared, within};

const WORK: Call<u64, u64> = Call::new("work");
const ASK: Call<u64, u64> = Call::new("ask");
const PLAN: Call<u64, Vec<u64>> = Call::new("plan");

fn many(call: &Call<u64, u64>, count: u64) -> Result<Plan<Vec<u64>>, Error> {
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..count)
        .map(|x| plan.task(format!("task-{x}"), call, x))
        .collect();
    plan.output(tasks)
}

/// How many tasks of a run were dispatched and had not ended at once, by its journal.
async fn most_at_once(journal: &dyn RunJournal, run: RunId) -> usize {
    let log = journal.load(run).await.expect("the journal is there");
    let log = log.expect("the run is kept");
    let (mut open, mut most) = (HashSet::new(), 0);
    for record in &log.tail {
        match &record.kind {
            RecordKind::Dispatched { task, .. } => {
                open.insert(*task);
            }
            RecordKind::Succeeded { task, .. }
            | RecordKind::Failed { task, .. }
            | RecordKind::Lost { task, .. }
            | RecordKind::Snoozed { task, .. }
            | RecordKind::Expanded { task, .. }
            | RecordKind::Expired { task }
            | RecordKind::Cancelled { task } => {
                open.remove(task);
            }
            _ => {}
        }
        most = most.max(open.len());
    }
    most
}

fn echo(name: &str) -> impl Agent {
    agent(name, async |x: u64| Ok::<_, AgentError>(x))
}

#[tokio::test(start_paused = true)]
async fn a_run_has_no_more_under_way_than_it_may_and_holds_no_other_up() -> Result<(), Error> {
    for dispatch in [Dispatch::Bus, Dispatch::LocalFirst, Dispatch::LocalOnly] {
        let gate = Gate::new();
        let shared = Shared::new().with_partitions(1);
        let passing = gate.clone();
        let work = agent("work", move |x: u64| {
            let gate = passing.clone();
            async move {
                gate.pass().await;
                Ok::<_, AgentError>(x)
            }
        });
        let runtime = shared.runtime().dispatch(dispatch);
        let runtime = runtime.agent(work.with_concurrency(64)).start().await?;
        let limited = runtime.submit_plan(many(&WORK, 50)?).tenant("one");
        let limited = limited.max_concurrency(3).await?;
        gate.arrived(3).await;
        // Behind it, of the same tenant and priority.
        let other = runtime.submit(&WORK, 7).tenant("one").await?;
        gate.arrived(1).await;
        gate.open(51);
        assert_eq!(within(other.result()).await?, 7);
        assert_eq!(within(limited.result()).await?.len(), 50);
        let most = most_at_once(&*shared.journal, limited.id()).await;
        assert_eq!(most, 3, "with {dispatch:?}");
    }
    Ok(())
}

/// An agent that takes its time, and fails, panics and succeeds as the seed says.
fn unsteady(seed: u64) -> impl Agent {
    let work = agent("work", move |context: TaskContext, x: u64| async move {
        let seed = seed ^ (x << 8) ^ (u64::from(context.attempt()) << 32);
        let random = SplitMix::from_seed(seed);
        sleep(Duration::from_secs_f64(random.next_unit())).await;
        match random.next_unit() {
            fate if fate < 0.2 => Err(AgentError::retryable("not this time")),
            fate if fate < 0.25 => panic!("as the seed says"),
            _ => Ok(x),
        }
    });
    work.with_concurrency(16)
}

#[tokio::test(start_paused = true)]
async fn the_limit_holds_over_retries_pauses_takeovers_and_cancels() -> Result<(), Error> {
    for seed in 0..48 {
        let random = SplitMix::from_seed(seed);
        let draw = |below: u32| (random.next_unit() * f64::from(below)) as u32;
        let shared = Shared::new().with_partitions(1);
        let dispatch = [Dispatch::Bus, Dispatch::LocalFirst][draw(2) as usize];
        let coordinator = async || {
            let runtime = shared.runtime().dispatch(dispatch);
            runtime.agent(unsteady(seed)).start().await
        };
        let worker = shared.runtime().worker_only().agent(unsteady(seed));
        let worker = worker.start().await?;
        let mut owner = coordinator().await?;
        let limit = 1 + draw(5);
        let run = worker.submit_plan(many(&WORK, 40)?);
        let run: RunHandle<Vec<u64>> = run.max_concurrency(limit).await?;
        for _ in 0..draw(5) {
            sleep(Duration::from_secs_f64(2.0 * random.next_unit())).await;
            match draw(3) {
                0 => run.pause("for a while").await?,
                1 => run.resume().await?,
                _ => {
                    // Dropped, it ends at once and gives nothing back.
                    drop(owner);
                    owner = coordinator().await?;
                }
            }
        }
        run.resume().await?;
        let is_cancelled = draw(4) == 0;
        if is_cancelled {
            run.cancel("enough").await?;
        }
        let ended = within(run.settled()).await?;
        assert!(
            is_cancelled || ended.state != RunState::Cancelled,
            "seed {seed}"
        );
        let most = most_at_once(&*shared.journal, run.id()).await;
        assert!(
            most <= limit as usize,
            "{most} at once instead of {limit} with seed {seed}"
        );
        assert!(
            is_cancelled || most == limit as usize,
            "{most} at once and not {limit} with seed {seed}"
        );
        drop((owner, worker));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_of_one_task_at_once_waits_for_its_children_and_its_plans() -> Result<(), Error> {
    let ask = agent("ask", async |context: TaskContext, x: u64| {
        context.request("work", &WORK, x).await
    });
    let plan = orchestrator("plan", async |_: TaskContext, x: u64| {
        many(&ASK, x).map_err(AgentError::from)
    });
    let runtime = Runtime::builder().partitions(1);
    let runtime = runtime.agent(ask).agent(echo("work")).orchestrator(plan);
    let runtime = runtime.start().await?;
    let run = runtime.submit(&PLAN, 5).max_concurrency(1).await?;
    assert_eq!(within(run.result()).await?, [0, 1, 2, 3, 4]);
    runtime.shutdown().await
}

#[tokio::test]
async fn a_run_of_which_nothing_may_be_dispatched_is_refused() -> Result<(), Error> {
    let runtime = Runtime::builder().agent(echo("work")).start().await?;
    let refused = runtime.submit(&WORK, 1).max_concurrency(0).await;
    let error = refused.expect_err("it would never end");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("max_concurrency"), "{error}");
    runtime.shutdown().await
}
