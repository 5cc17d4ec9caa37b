//! Slow subscribers and full queues.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use coditect_core::bus::{MessageBus, QueueName};
use coditect_core::prelude::*;
use coditect_core::{Error, TaskState};

use crate::stage::{Count, Gate, Meddled, Shared, within};

const STEP: Call<u64, u64> = Call::new("step");

fn numbers(count: u64) -> Result<Plan<Vec<u64>>, Error> {
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..count)
        .map(|x| plan.task(format!("task-{x}"), &STEP, x))
        .collect();
    plan.output(tasks)
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_reads_late_holds_nobody_up_and_misses_nothing() -> Result<(), Error> {
    const TASKS: usize = 3_000;
    let chatty = async |context: TaskContext, x: u64| {
        for part in 0..20 {
            context.progress(f64::from(part) / 20.0, "going on");
        }
        Ok::<_, AgentError>(x)
    };
    let runtime = Runtime::builder()
        .agent(agent("step", chatty))
        .start()
        .await?;
    let run = runtime.submit_plan(numbers(TASKS as u64)?).await?;
    let mut slow = run.events().await?;
    assert_eq!(
        within(run.result()).await?.len(),
        TASKS,
        "nobody waits for the reader"
    );
    let (mut dispatched, mut settled) = (vec![0; TASKS], vec![0; TASKS]);
    let mut last = None;
    while let Some(event) = within(slow.next()).await? {
        match &event.kind {
            RunEventKind::Dispatched(info) => dispatched[info.task.index()] += 1,
            RunEventKind::Settled(info, TaskState::Succeeded, None) => {
                settled[info.task.index()] += 1;
            }
            _ => {}
        }
        last = Some(event);
    }
    assert!(dispatched.iter().all(|count| *count == 1));
    assert!(settled.iter().all(|count| *count == 1));
    let last = last.expect("there were events");
    assert!(matches!(last.kind, RunEventKind::RunSettled(_)), "{last:?}");
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_progress_never_waits_for_those_who_follow() -> Result<(), Error> {
    let flood = async |context: TaskContext, x: u64| {
        for _ in 0..x {
            context.progress(0.5, "a drop in the flood");
        }
        Ok::<_, AgentError>(x)
    };
    let runtime = Runtime::builder()
        .agent(agent("step", flood))
        .start()
        .await?;
    let run = runtime.submit(&STEP, 50_000).await?;
    let follower = run.events().await?;
    assert_eq!(within(run.result()).await?, 50_000);
    drop(follower);
    assert_eq!(within(runtime.run(&STEP, 1)).await?, 1);
    runtime.shutdown().await
}

/// A bus on which queues hold few messages whose names contain a word.
fn narrow(word: &'static str) -> Arc<dyn MessageBus> {
    let few = NonZeroUsize::new(3).expect("three is not none");
    Arc::new(Meddled::new().on_declare(move |spec| {
        if spec.name().as_str().contains(word) {
            spec.with_capacity(few)
        } else {
            spec
        }
    }))
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_of_tasks_delays_the_rest_and_loses_none() -> Result<(), Error> {
    const TASKS: u64 = 200;
    let shared = Shared::on(narrow("step"));
    let gate = Gate::new();
    let (held, calls) = (gate.clone(), Count::default());
    let counted = calls.clone();
    let step = move |x: u64| {
        counted.add();
        let gate = held.clone();
        async move {
            gate.pass().await;
            Ok::<_, AgentError>(x)
        }
    };
    let runtime = shared
        .runtime()
        .agent(agent("step", step).with_concurrency(2))
        .start()
        .await?;
    let run = runtime.submit_plan(numbers(TASKS)?).await?;
    gate.arrived(2).await;
    let queue = QueueName::for_capability("step.v1")?;
    // Time passes for the publisher, which meets a full queue again and again.
    within(tokio::time::sleep(Duration::from_secs(60))).await;
    assert_eq!(
        runtime.bus().stats(&queue).await?.ready(),
        3,
        "the queue is full"
    );
    gate.open(TASKS as usize);
    assert_eq!(within(run.result()).await?, (0..TASKS).collect::<Vec<_>>());
    assert_eq!(calls.get(), TASKS as usize, "each ran once");
    assert_eq!(runtime.bus().stats(&queue).await?.dead_letters, 0);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_of_outcomes_makes_nobody_work_twice() -> Result<(), Error> {
    const TASKS: u64 = 200;
    let shared = Shared::on(narrow("outcome"));
    let calls = Count::default();
    let counted = calls.clone();
    let step = move |x: u64| {
        counted.add();
        std::future::ready(Ok::<_, AgentError>(x))
    };
    let runtime = shared.runtime().agent(agent("step", step)).start().await?;
    let run = runtime.submit_plan(numbers(TASKS)?).await?;
    assert_eq!(within(run.result()).await?, (0..TASKS).collect::<Vec<_>>());
    assert_eq!(calls.get(), TASKS as usize, "each ran once");
    runtime.shutdown().await
}
