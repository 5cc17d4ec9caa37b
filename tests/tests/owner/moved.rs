//! Tasks that were published to agents which have gone, or that time has run out for: done all the same.

use std::time::{Duration, SystemTime};

use coditect_core::dag::Timestamp;
use coditect_core::dag::journal::Command;
use coditect_core::prelude::*;
use coditect_core::{Error, FailureKind, TaskId, TaskState};

use crate::stage::{Count, Gate, Shared, within};

#[tokio::test(start_paused = true)]
async fn tasks_of_a_version_that_died_are_done_by_another_that_will_do() -> Result<(), Error> {
    let shared = Shared::new();
    let owner = shared.runtime().start().await?;
    let gate = Gate::new();
    let held = gate.clone();
    let old = agent("up@1.0.0", move |_: u64| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            Ok::<_, AgentError>(0_u64)
        }
    });
    let old = shared
        .runtime()
        .worker_only()
        .agent(old.with_concurrency(1));
    let old = old.drain_limit(Duration::from_secs(1)).start().await?;

    let up: Call<u64, u64> = call("up@>=1");
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..5)
        .map(|x| plan.task(format!("up-{x}"), &up, x))
        .collect();
    let plan: Plan<Vec<u64>> = plan.output(tasks)?;
    let run = owner.submit_plan(plan).await?;
    gate.arrived(1).await;
    // All five are on the queue of the first line, one of them in a handler that never ends.
    drop(old.shutdown().await);

    let new = agent("up@2.0.0", async |x: u64| Ok::<_, AgentError>(x + 100));
    let new = shared.runtime().worker_only().agent(new).start().await?;
    assert_eq!(within(run.result()).await?, [100, 101, 102, 103, 104]);
    new.shutdown().await?;
    owner.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn the_deadline_of_a_redriven_task_counts_anew() -> Result<(), Error> {
    const LIMIT: Duration = Duration::from_secs(30);
    const SLOW: Call<u64, u64> = Call::new("slow");
    const BESIDE: Call<u64, u64> = Call::new("beside");
    let (gate, calls) = (Gate::new(), Count::default());
    let (held, counted) = (gate.clone(), calls.clone());
    let slow = move |context: TaskContext, x: u64| {
        let number = counted.add();
        async move {
            if number == 3 {
                // More than was left of the first deadline, or of the second.
                tokio::time::sleep(LIMIT / 2).await;
                return Ok(x);
            }
            context.cancelled().await;
            Err(AgentError::retryable("stopped"))
        }
    };
    let beside = move |x: u64| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            Ok::<_, AgentError>(x)
        }
    };
    let runtime = Shared::new().runtime();
    let runtime = runtime.agent(agent("slow", slow));
    let runtime = runtime.agent(agent("beside", beside)).start().await?;
    let mut plan = Plan::builder();
    let slow = plan.task("slow", &SLOW, 1);
    let beside = plan.task("beside", &BESIDE, 2);
    plan.configure(&slow, |settings| settings.deadline(LIMIT));
    let plan: Plan<(u64, u64)> = plan.output((slow, beside))?;
    let run = runtime.submit_plan(plan).await?;

    let mut events = run.events().await?;
    for _ in 0..2 {
        let why = loop {
            let event = within(events.next()).await?.expect("the run is open");
            match event.kind {
                RunEventKind::Settled(task, TaskState::Failed, why) if task.path == "slow" => {
                    break why.expect("a failure has a reason");
                }
                _ => {}
            }
        };
        assert_eq!(why.kind, FailureKind::DeadlineExceeded);
        let at = Timestamp::from(SystemTime::now());
        let task = TaskId::new(0);
        let redrive = Command::redrive(task, at);
        runtime.journal().send(run.id(), redrive).await?;
    }
    while !within(events.next()).await?.is_some_and(|event| {
        matches!(event.kind, RunEventKind::Settled(task, TaskState::Succeeded, _)
            if task.path == "slow")
    }) {}
    gate.open(1);
    assert_eq!(within(run.result()).await?, (1, 2));
    assert_eq!(calls.get(), 3);
    runtime.shutdown().await
}
