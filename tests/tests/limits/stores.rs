//! The same in a file, over a restart, and on Redis, which processes share.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::bus::{MemoryBus, MessageBus};
use coditect_core::prelude::*;
use coditect_core::registry::{MemoryRegistry, Registry};
use coditect_core::{Error, ErrorKind, Limit, RuntimeBuilder};
use coditect_harness::{Redis, required};

use super::stage::Gate;
use super::{Census, WORK};

/// Awaits what must end, in real time: files and servers know no other.
async fn within<F: Future>(future: F) -> F::Output {
    let limit = Duration::from_secs(120);
    tokio::time::timeout(limit, future).await.expect("it hangs")
}

/// An agent that is held as long as it is its first life.
fn held(gate: &Gate, census: &Census) -> impl Agent {
    let (gate, census) = (gate.clone(), census.clone());
    let work = agent("work", move |context: TaskContext, x: u64| {
        let (gate, census) = (gate.clone(), census.clone());
        async move {
            let _at_work = census.enter("work", &context);
            gate.pass().await;
            Ok::<_, AgentError>(x)
        }
    });
    work.with_concurrency(16)
}

fn many(count: u64) -> Result<Plan<Vec<u64>>, Error> {
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..count)
        .map(|x| plan.task(format!("{x}"), &WORK, x))
        .collect();
    plan.output(tasks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_in_a_file_holds_in_the_next_process() -> Result<(), Error> {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("file:{}", folder.path().join("runs.redb").display());
    // Short, as the owner that vanished gives nothing back.
    let lease = Duration::from_millis(500);
    let on = || Runtime::builder().state(&*url).leases(lease, lease);
    let (before, first) = (Gate::new(), Census::default());
    let runtime = on().limit(Limit::capability("work", 2));
    let runtime = runtime.agent(held(&before, &first)).start().await?;
    let runs = [
        runtime.submit_plan(many(6)?).await?.id(),
        runtime.submit_plan(many(6)?).await?.id(),
    ];
    within(before.arrived(2)).await;
    drop(runtime);

    let (after, second) = (Gate::new(), Census::default());
    // What was dropped lets go of the file when its last task has noticed.
    let again = async {
        loop {
            match on().agent(held(&after, &second)).start().await {
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    tokio::task::yield_now().await;
                }
                started => return started,
            }
        }
    };
    // It was not told of the limit, and finds it.
    let runtime = within(again).await?;
    after.open(12);
    for run in runs {
        let all = within(runtime.attach::<Vec<u64>>(run).result()).await?;
        assert_eq!(all.len(), 6);
    }
    assert_eq!(first.most("work"), 2);
    assert!(second.most("work") <= 2, "{} at once", second.most("work"));
    within(runtime.shutdown()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_redis_coordinators_keep_to_a_limit_together() -> Result<(), Error> {
    let Some(redis) = required(Redis::start()).await else {
        return Ok(());
    };
    let bus: Arc<dyn MessageBus> = Arc::new(MemoryBus::new());
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let census = Census::default();
    let describe = || -> RuntimeBuilder {
        Runtime::builder()
            .bus(Arc::clone(&bus))
            .registry(Arc::clone(&registry))
            .state(redis.url())
            .partitions(6)
            .limit(Limit::capability("work", 3))
            .limit(Limit::each_tenant(2))
    };
    let gate = Gate::new();
    gate.open(200);
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(describe().agent(held(&gate, &census)).start().await?);
    }
    let mut runs = Vec::new();
    for x in 0..60 {
        let node = &nodes[x as usize % 3];
        let tenant = ["one", "two", "three"][x as usize % 3];
        runs.push(node.submit(&WORK, x).tenant(tenant).await?);
    }
    for (x, run) in (0..).zip(&runs) {
        assert_eq!(within(run.result()).await?, x);
    }
    assert!(census.most("work") <= 3, "{} at once", census.most("work"));
    for node in &nodes {
        assert_eq!(node.limits().await?[0].max, 3);
        within(node.shutdown()).await?;
    }
    Ok(())
}
