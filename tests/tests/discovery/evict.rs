//! Agents that hold their lease and do not answer: found by probes, evicted, their work done elsewhere.

use std::sync::mpsc;
use std::time::Duration;

use coditect_core::Error;
use coditect_core::prelude::*;
use coditect_core::registry::{CheckPolicy, Standing, Strategy};
use coditect_core::testing::{Cluster, Node};

use tokio::time::Instant;

use crate::stage::{Gate, Shared};
use crate::until;

const WORK: Call<u64, u64> = Call::new("work");
/// Longer than a test lasts: what happens, happens by probes.
const LEASE: Duration = Duration::from_secs(600);

fn eager() -> CheckPolicy {
    CheckPolicy::default()
        .with_interval(Duration::from_millis(100))
        .with_timeout(Duration::from_millis(400))
        .with_thresholds(1, 2, 1)
}

async fn coordinator(cluster: &Cluster) -> Result<Node, Error> {
    let route = |builder: coditect_core::RuntimeBuilder| {
        let builder = builder.route("work", Strategy::LeastConnections);
        builder
            .leases(Duration::from_secs(5), LEASE)
            .check_agents(eager())
    };
    cluster.node(route).await
}

async fn worker(cluster: &Cluster, agent: impl Agent) -> Result<Node, Error> {
    let lease = Duration::from_secs(5);
    cluster
        .node(|builder| builder.worker_only().leases(lease, LEASE).agent(agent))
        .await
}

fn standing(node: &Node, agent: &str) -> Option<Standing> {
    let records = node.runtime().agents().records();
    let record = records
        .iter()
        .find(|record| record.agent().as_str() == agent);
    record.map(|record| record.standing())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_agent_is_evicted_and_its_task_done_elsewhere_until_it_is_back() -> Result<(), Error>
{
    let cluster = Cluster::new();
    let coordinator = coordinator(&cluster).await?;
    let (begun, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = parking_lot::Mutex::new(released);
    // It blocks the one thread of its process, with all that runs there.
    let hung = agent("work", move |x: u64| {
        begun.send(()).expect("the test goes on");
        released.lock().recv().ok();
        async move { Ok::<_, AgentError>(x) }
    });
    let hung = worker(&cluster, hung.with_name("hung")).await?;
    let run = coordinator.runtime().submit(&WORK, 1).await?;
    let begun = tokio::task::spawn_blocking(move || has_begun.recv());
    begun.await.expect("no panic").expect("it has begun");
    let since = Instant::now();
    let other = agent("work", async |x: u64| Ok::<_, AgentError>(10 * x));
    let _other = worker(&cluster, other.with_name("other")).await?;
    assert_eq!(run.result().await?, 10);
    let done = since.elapsed();
    assert!(done < Duration::from_secs(10), "{done:?}");
    println!("hung: its task was done elsewhere after {done:?}");
    assert_eq!(standing(&coordinator, "hung"), Some(Standing::Evicted));
    let records = coordinator.runtime().agents().records();
    let reasons: Vec<_> = records
        .iter()
        .filter_map(|record| record.reason())
        .collect();
    assert!(
        reasons
            .iter()
            .any(|reason| reason.text().contains("silent")),
        "{reasons:?}"
    );
    drop(release);
    until("it is given work again", async || {
        standing(&coordinator, "hung") == Some(Standing::Ready)
    })
    .await;
    drop(hung);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_busy_agent_answers_its_probes() -> Result<(), Error> {
    let (shared, gate) = (Shared::new(), Gate::new());
    let held = gate.clone();
    let busy = agent("work", move |x: u64| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            Ok::<_, AgentError>(x)
        }
    });
    let coordinator = shared.runtime().route("work", Strategy::RoundRobin);
    let coordinator = coordinator.check_agents(eager()).start().await?;
    let busy = shared
        .runtime()
        .worker_only()
        .agent(busy.with_concurrency(1));
    let busy = busy.start().await?;
    let runs = [
        coordinator.submit(&WORK, 1).await?,
        coordinator.submit(&WORK, 2).await?,
    ];
    gate.arrived(1).await;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let records = coordinator.agents().records();
        assert_eq!(records[0].standing(), Standing::Ready, "{:?}", records[0]);
    }
    gate.open(2);
    for run in runs {
        crate::stage::within(run.result()).await?;
    }
    busy.shutdown().await?;
    coordinator.shutdown().await
}
