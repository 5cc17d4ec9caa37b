//! Runs that tasks start, and what becomes of them with their parents.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::testing::Cluster;
use coditect_core::{Error, RunState};

use crate::stage::{Count, Gate, within};

const WORK: Call<u64, u64> = Call::new("work");
const OUTER: Call<u64, u64> = Call::new("outer");

fn two(of: &Call<u64, u64>, x: u64) -> Result<Plan<(u64, u64)>, Error> {
    let mut plan = Plan::builder();
    let pair = (plan.task("one", of, x), plan.task("two", of, x));
    plan.output(pair)
}

fn work(gate: &Gate, calls: &Count) -> impl Agent + use<> {
    let (gate, calls) = (gate.clone(), calls.clone());
    agent("work", move |x: u64| {
        let gate = gate.clone();
        calls.add();
        async move {
            gate.pass().await;
            Ok::<_, AgentError>(x)
        }
    })
}

/// Adds up what a child run of two has come to; its first attempt fails after that.
async fn outer(context: TaskContext, x: u64) -> Result<u64, AgentError> {
    let (one, two) = context.child("pair", two(&WORK, x)?).await?;
    match context.attempt() {
        1 => Err(AgentError::retryable("once more")),
        _ => Ok(one + two),
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_run_is_met_by_the_next_attempt_and_listed_with_its_parent() -> Result<(), Error> {
    let (gate, calls) = (Gate::new(), Count::default());
    gate.open(10);
    let runtime = Runtime::builder().agent(work(&gate, &calls));
    let runtime = runtime.agent(agent("outer", outer)).start().await?;
    let run = runtime.submit(&OUTER, 21).await?;
    assert_eq!(within(run.result()).await?, 42);
    assert_eq!(
        calls.get(),
        2,
        "the second attempt was given what the first one's child came to"
    );
    assert_eq!(run.report().await?.attempts, 2);
    let children = run.children().await?;
    assert_eq!(children.len(), 1);
    assert_eq!(children[0].state, RunState::Succeeded);
    let child = runtime.attach::<(u64, u64)>(children[0].run);
    assert_eq!(child.result().await?, (21, 21));
    assert!(child.children().await?.is_empty());
    runtime.shutdown().await
}

/// Lets two of its own kind do what it was asked, down to nothing.
async fn halves(context: TaskContext, depth: u64) -> Result<u64, AgentError> {
    if depth == 0 {
        return Ok(1);
    }
    let plan = two(&call("halves"), depth - 1)?;
    let (one, two) = context.child("halves", plan).await?;
    Ok(one + two)
}

#[tokio::test(start_paused = true)]
async fn a_parent_holds_no_slot_that_its_children_need() -> Result<(), Error> {
    let agent = agent("halves", halves).with_concurrency(1);
    let runtime = Runtime::builder().agent(agent).start().await?;
    let halves = call::<u64, u64>("halves");
    assert_eq!(within(runtime.run(&halves, 4)).await?, 16);
    runtime.shutdown().await
}

/// Awaits what must end, in real time: nodes of a cluster know no other.
async fn soon<F: Future>(future: F) -> F::Output {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, future).await.expect("it hangs")
}

#[tokio::test]
async fn a_cancel_reaches_the_child_of_a_handler_whose_process_has_died() -> Result<(), Error> {
    let cluster = Cluster::new();
    let coordinator = cluster.node(|builder| builder).await?;
    let (gate, calls) = (Gate::new(), Count::default());
    let _worker = cluster
        .node(|builder| builder.worker_only().agent(work(&gate, &calls)))
        .await?;
    let parent = cluster
        .node(|builder| builder.worker_only().agent(agent("outer", outer)))
        .await?;
    let runtime = coordinator.runtime();
    let run = runtime.submit(&OUTER, 1).await?;
    gate.arrived(2).await;
    parent.kill();

    let child = run.children().await?[0].run;
    let child = runtime.attach::<(u64, u64)>(child);
    run.cancel("enough").await?;
    assert_eq!(soon(run.settled()).await?.state, RunState::Cancelled);
    assert_eq!(soon(child.settled()).await?.state, RunState::Cancelled);

    // A retried parent starts another child.
    let _parent = cluster
        .node(|builder| builder.worker_only().agent(agent("outer", outer)))
        .await?;
    run.retry().await?;
    gate.arrived(2).await;
    gate.open(10);
    assert_eq!(soon(run.result()).await?, 2);
    // A copy of the first attempt that came back from the dead process may have started one of its own.
    assert!(run.children().await?.len() >= 2);
    Ok(())
}
