//! The same on a real Redis, and in a file that nobody shares.

use std::time::Duration;

use coditect_core::bus::{MemoryBus, MessageBus};
use coditect_core::prelude::*;
use coditect_core::registry::{MemoryRegistry, Registry};
use coditect_core::{Error, RuntimeBuilder};
use coditect_harness::{Redis, required};
use std::sync::Arc;
use tokio::time::{Instant, sleep, timeout};

use super::even::is_even;

/// Longer than all of this may take: nothing has waited for the end of a lease.
const LEASE: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(120);
const ECHO: Call<u64, u64> = Call::new("echo");

async fn even(runtime: &Runtime, coordinators: usize) {
    let waiting = async {
        while !is_even(&runtime.roster().await?, coordinators) {
            sleep(Duration::from_millis(20)).await;
        }
        Ok::<_, Error>(())
    };
    match timeout(PATIENCE, waiting).await {
        Ok(read) => read.expect("a roster"),
        Err(_) => panic!(
            "{coordinators} do not share evenly: {:#?}",
            runtime.roster().await
        ),
    }
}

#[tokio::test]
async fn coordinators_on_redis_share_evenly_and_lose_nothing() -> Result<(), Error> {
    let Some(redis) = required(Redis::start()).await else {
        return Ok(());
    };
    let bus: Arc<dyn MessageBus> = Arc::new(MemoryBus::new());
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let describe = || -> RuntimeBuilder {
        Runtime::builder()
            .bus(Arc::clone(&bus))
            .registry(Arc::clone(&registry))
            .state(redis.url())
            .partitions(16)
            .leases(LEASE, Duration::from_secs(10))
    };
    let echo = agent("echo", async |x: u64| {
        sleep(Duration::from_millis(5)).await;
        Ok::<_, AgentError>(x)
    });
    let worker = describe().worker_only().agent(echo.with_concurrency(16));
    let worker = worker.start().await?;
    let began = Instant::now();
    let mut runs = Vec::new();
    let mut running = Vec::new();
    for coordinators in 1..=3 {
        running.push(describe().start().await?);
        for x in 0..100 {
            runs.push((x, worker.submit(&ECHO, x).await?));
        }
        even(&worker, coordinators).await;
    }
    for coordinators in (1..=2).rev() {
        for x in 0..100 {
            runs.push((x, worker.submit(&ECHO, x).await?));
        }
        running.remove(0).shutdown().await?;
        even(&worker, coordinators).await;
    }
    for (x, run) in runs {
        let result = timeout(PATIENCE, run.result()).await;
        assert_eq!(result.expect("the run ends")?, x);
        assert_eq!(run.report().await?.attempts, 1);
    }
    assert!(began.elapsed() < LEASE, "nothing has waited for a lease");
    running.remove(0).shutdown().await?;
    worker.shutdown().await
}

#[tokio::test]
async fn a_file_is_one_coordinators_alone() -> Result<(), Error> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = format!("file:{}", folder.path().join("runs").display());
    for _ in 0..2 {
        let runtime = Runtime::builder().state(file.as_str()).start().await?;
        let roster = runtime.roster().await?;
        assert!(is_even(&roster, 1), "{roster:#?}");
        assert_eq!(runtime.own_partitions().len(), roster.owners().count());
        runtime.shutdown().await?;
    }
    Ok(())
}
