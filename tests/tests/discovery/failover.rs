//! A process that dies: out of every view with its lease, and its work done elsewhere at once.

use std::time::{Duration, SystemTime};

use coditect_core::Error;
use coditect_core::prelude::*;
use coditect_core::registry::{Reason, Strategy, Verdict};
use coditect_core::testing::Cluster;

use tokio::time::Instant;

use crate::stage::{Count, Gate, Shared, within};
use crate::until;

const WORK: Call<u64, u64> = Call::new("work");

/// Answers once it is let through.
fn held(gate: &Gate, calls: &Count) -> impl Agent {
    let (gate, calls) = (gate.clone(), calls.clone());
    agent("work", move |x: u64| {
        let gate = gate.clone();
        calls.add();
        async move {
            gate.pass().await;
            Ok::<_, AgentError>(x + 1)
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routed_tasks_of_a_killed_process_are_done_elsewhere_in_time() -> Result<(), Error> {
    let cluster = Cluster::new();
    let (never, gate, calls) = (Gate::new(), Gate::new(), Count::default());
    let coordinator = cluster
        .node(|builder| builder.route("work", Strategy::LeastConnections))
        .await?;
    let doomed = held(&never, &Count::default());
    let doomed = cluster
        .node(|builder| builder.worker_only().agent(doomed))
        .await?;
    let run = coordinator.runtime().submit(&WORK, 1).await?;
    never.arrived(1).await;
    let agent = held(&gate, &calls);
    let _other = cluster
        .node(|builder| builder.worker_only().agent(agent))
        .await?;
    until("both are known", async || {
        coordinator.runtime().agents().len() == 2
    })
    .await;
    gate.open(1);
    doomed.kill();
    let killed = Instant::now();
    until("it is out of the view", async || {
        coordinator.runtime().agents().len() == 1
    })
    .await;
    let out = killed.elapsed();
    assert!(out < cluster.lease() + Duration::from_secs(1), "{out:?}");
    assert_eq!(run.result().await?, 2);
    let done = killed.elapsed();
    assert!(done < Duration::from_secs(10), "{done:?}");
    println!("killed: out of the view after {out:?}, its task done elsewhere after {done:?}");
    assert_eq!(calls.get(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_claimed_task_of_an_agent_that_is_evicted_goes_elsewhere_at_once() -> Result<(), Error> {
    let (shared, gate, calls) = (Shared::new(), Gate::new(), Count::default());
    // Silence alone would be believed after an hour.
    let lease = Duration::from_secs(3_600);
    let builder = || {
        shared
            .runtime()
            .leases(Duration::from_secs(5), lease)
            .check_agents(None)
    };
    let coordinator = builder().start().await?;
    let claimed = Duration::from_secs(1);
    let hung = builder()
        .worker_only()
        .claim_after(claimed)
        .agent(held(&gate, &calls));
    let hung = hung.start().await?;
    let run = coordinator.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    tokio::time::sleep(2 * claimed).await;
    let records = coordinator.agents().records();
    let evicted = Verdict::evicted(Reason::new("it hangs", SystemTime::now()));
    let instance = &records.first().expect("one agent").instance;
    let other = builder()
        .worker_only()
        .agent(held(&gate, &calls))
        .start()
        .await?;
    shared.registry.judge(instance, Some(evicted)).await?;
    let judged = Instant::now();
    gate.arrived(1).await;
    assert!(judged.elapsed() < Duration::from_secs(1), "{judged:?}");
    gate.open(2);
    assert_eq!(within(run.result()).await?, 2);
    assert_eq!(calls.get(), 2);
    other.shutdown().await?;
    hung.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_owner_chooses_anew_for_what_was_routed() -> Result<(), Error> {
    let cluster = Cluster::new();
    let (gate, calls) = (Gate::new(), Count::default());
    let first = cluster
        .node(|builder| builder.route("work", Strategy::RoundRobin))
        .await?;
    let agent = held(&gate, &calls);
    let worker = cluster
        .node(|builder| builder.worker_only().agent(agent))
        .await?;
    let run = worker.runtime().submit(&WORK, 1).await?;
    gate.arrived(1).await;
    first.kill();
    let _second = cluster
        .node(|builder| builder.route("work", Strategy::RoundRobin))
        .await?;
    // The same attempt once more, at the only instance that there is.
    gate.arrived(1).await;
    gate.open(2);
    assert_eq!(run.result().await?, 2);
    assert_eq!(calls.get(), 2);
    Ok(())
}
