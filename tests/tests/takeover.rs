//! Several runtimes on one bus and journal: what happens to runs when one of them dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coditect_core::bus::{MemoryBus, MessageBus};
use coditect_core::prelude::*;
use coditect_core::testing::{Cluster, Node};
use coditect_core::{Dispatch, Error, TaskState};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

const WORK: Call<u64, u64> = Call::new("work");
const PLAN: Call<u64, Vec<u64>> = Call::new("plan");
const PATIENCE: Duration = Duration::from_secs(30);

async fn fan_out(_: TaskContext, width: u64) -> Result<Plan<Vec<u64>>, AgentError> {
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..width)
        .map(|x| plan.task(format!("work-{x}"), &WORK, x))
        .collect();
    Ok(plan.output(tasks)?)
}

/// Lets handlers through one by one, and says how many have begun.
#[derive(Clone)]
struct Gate {
    open: Arc<Semaphore>,
    begun: Arc<Semaphore>,
    calls: Arc<AtomicU64>,
}

impl Gate {
    fn shut() -> Self {
        Self {
            open: Arc::new(Semaphore::new(0)),
            begun: Arc::new(Semaphore::new(0)),
            calls: Arc::default(),
        }
    }

    async fn pass(&self, x: u64) -> Result<u64, AgentError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.begun.add_permits(1);
        self.open.acquire().await?.forget();
        Ok(x + 1)
    }

    async fn wait_for(&self, begun: u32) {
        let begun = self.begun.acquire_many(begun).await.expect("never closed");
        begun.forget();
    }

    fn open(&self) {
        self.open.add_permits(Semaphore::MAX_PERMITS / 2);
    }
}

async fn worker(cluster: &Cluster, gate: &Gate) -> Result<Node, Error> {
    let gate = gate.clone();
    let work = move |x: u64| {
        let gate = gate.clone();
        async move { gate.pass(x).await }
    };
    cluster
        .node(|builder| {
            builder
                .worker_only()
                .agent(agent("work", work).with_concurrency(8))
                .orchestrator(orchestrator("plan", fan_out))
        })
        .await
}

fn expected(width: u64) -> Vec<u64> {
    (1..=width).collect()
}

#[tokio::test]
async fn work_goes_over_the_bus_to_another_node() -> Result<(), Error> {
    let cluster = Cluster::new();
    let coordinator = cluster.node(|builder| builder).await?;
    let gate = Gate::shut();
    gate.open();
    let _worker = worker(&cluster, &gate).await?;
    let result = coordinator.runtime().run(&PLAN, 100).await?;
    assert_eq!(result, expected(100));
    Ok(())
}

#[tokio::test]
async fn tasks_of_a_killed_worker_run_elsewhere() -> Result<(), Error> {
    let cluster = Cluster::new();
    let coordinator = cluster.node(|builder| builder).await?;
    let (dead, alive) = (Gate::shut(), Gate::shut());
    let victim = worker(&cluster, &dead).await?;
    let run = coordinator.runtime().submit(&PLAN, 20).await?;
    dead.wait_for(8).await;
    let _other = worker(&cluster, &alive).await?;
    victim.kill();
    alive.open();
    let result = timeout(PATIENCE, run.result()).await.expect("in time")?;
    assert_eq!(result, expected(20));
    let report = run.report().await?;
    assert_eq!(report.count(TaskState::Succeeded), 21);
    Ok(())
}

#[tokio::test]
async fn runs_of_a_killed_coordinator_go_on_at_another() -> Result<(), Error> {
    let cluster = Cluster::new();
    let first = cluster.node(|builder| builder).await?;
    let gate = Gate::shut();
    let worker = worker(&cluster, &gate).await?;
    let run = first.runtime().submit(&PLAN, 20).await?;
    let run = worker.runtime().attach::<Vec<u64>>(run.id());
    gate.wait_for(8).await;
    let _second = cluster.node(|builder| builder).await?;
    first.kill();
    gate.open();
    let killed = Instant::now();
    let result = timeout(PATIENCE, run.result()).await.expect("in time")?;
    assert_eq!(result, expected(20));
    assert!(killed.elapsed() < Duration::from_secs(10));
    // An attempt that was under way is published again under its old name: it may run twice, and
    // its first outcome counts.
    assert!(gate.calls.load(Ordering::SeqCst) >= 20);
    let report = run.report().await?;
    assert_eq!(report.count(TaskState::Succeeded), 21);
    assert_eq!(report.attempts, 21, "a takeover makes no new attempts");
    Ok(())
}

#[tokio::test]
async fn outcomes_that_came_while_nobody_coordinated_count() -> Result<(), Error> {
    let cluster = Cluster::new();
    let first = cluster.node(|builder| builder).await?;
    let gate = Gate::shut();
    let worker = worker(&cluster, &gate).await?;
    let run = first.runtime().submit(&PLAN, 8).await?;
    let run = worker.runtime().attach::<Vec<u64>>(run.id());
    gate.wait_for(8).await;
    first.kill();
    gate.open();
    let second = cluster.node(|builder| builder).await?;
    let result = timeout(PATIENCE, run.result()).await.expect("in time")?;
    assert_eq!(result, expected(8));
    assert_eq!(run.report().await?.attempts, 9);
    drop(second);
    Ok(())
}

#[tokio::test]
async fn a_severed_bus_delivers_again_and_nothing_is_lost() -> Result<(), Error> {
    let cluster = Cluster::new();
    let coordinator = cluster.node(|builder| builder).await?;
    let gate = Gate::shut();
    let _worker = worker(&cluster, &gate).await?;
    let run = coordinator.runtime().submit(&PLAN, 20).await?;
    gate.wait_for(8).await;
    cluster.bus().sever();
    gate.open();
    let result = timeout(PATIENCE, run.result()).await.expect("in time")?;
    assert_eq!(result, expected(20));
    assert_eq!(run.report().await?.count(TaskState::Succeeded), 21);
    Ok(())
}

#[tokio::test]
async fn a_local_task_of_a_killed_process_is_done_by_the_next_owner() -> Result<(), Error> {
    let cluster = Cluster::new().with_dispatch(Dispatch::LocalFirst);
    let (dead, alive) = (Gate::shut(), Gate::shut());
    let node = |gate: &Gate| {
        let gate = gate.clone();
        let work = move |x: u64| {
            let gate = gate.clone();
            async move { gate.pass(x).await }
        };
        cluster.node(|builder| {
            builder
                .agent(agent("work", work).with_concurrency(8))
                .orchestrator(orchestrator("plan", fan_out))
        })
    };
    let first = node(&dead).await?;
    let run = first.runtime().submit(&PLAN, 12).await?;
    dead.wait_for(8).await;
    let second = node(&alive).await?;
    let run = second.runtime().attach::<Vec<u64>>(run.id());
    first.kill();
    alive.open();
    let result = timeout(PATIENCE, run.result()).await.expect("in time")?;
    assert_eq!(result, expected(12));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_task_that_the_bus_sets_aside_is_lost_and_tried_again() -> Result<(), Error> {
    let bus = Arc::new(MemoryBus::new());
    let gate = Gate::shut();
    let handler = gate.clone();
    let work = move |x: u64| {
        let gate = handler.clone();
        async move { gate.pass(x).await }
    };
    let runtime = Runtime::builder()
        .bus(Arc::clone(&bus) as Arc<dyn MessageBus>)
        .dispatch(Dispatch::Bus)
        .agent(agent("work", work))
        .start()
        .await?;
    let run = runtime.submit(&WORK, 1).await?;
    // A queue gives a message up after 100 deliveries.
    for _ in 0..100 {
        gate.wait_for(1).await;
        bus.sever();
    }
    gate.open();
    assert_eq!(run.result().await?, 2);
    let report = run.report().await?;
    assert_eq!(
        report.attempts, 2,
        "the attempt that was set aside, and the one that followed"
    );
    runtime.shutdown().await
}

#[tokio::test]
async fn a_run_that_an_owner_cannot_carry_on_holds_up_no_other() -> Result<(), Error> {
    let cluster = Cluster::new();
    let knows = cluster
        .node(|builder| builder.aggregator("special", || reduce(0, |sum: u64, x: u64| sum + x)))
        .await?;
    let gate = Gate::shut();
    let worker = worker(&cluster, &gate).await?;
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..4)
        .map(|x| plan.task(format!("t-{x}"), &WORK, x))
        .collect();
    let plan: Plan<u64> = plan.aggregate(Aggregation::named("special"), tasks)?;
    let stuck = knows.runtime().submit_plan(plan).await?.id();
    gate.wait_for(4).await;
    knows.kill();
    gate.open();
    let knows_not = cluster.node(|builder| builder).await?;
    // Sixteen runs are enough to meet the partition of the one that waits.
    for x in 0..16 {
        let run = knows_not.runtime().submit(&WORK, x).await?;
        let answer = timeout(PATIENCE, run.result()).await.expect("in time")?;
        assert_eq!(answer, x + 1);
    }
    knows_not.kill();
    let _knows = cluster
        .node(|builder| builder.aggregator("special", || reduce(0, |sum: u64, x: u64| sum + x)))
        .await?;
    let stuck = worker.runtime().attach::<u64>(stuck);
    let sum = timeout(PATIENCE, stuck.result()).await.expect("in time")?;
    assert_eq!(sum, 1 + 2 + 3 + 4, "it waited for an owner that can");
    Ok(())
}
