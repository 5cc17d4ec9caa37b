//! What agents say of themselves, and what follows for who is given work.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::registry::{Health, Strategy};
use coditect_core::{Error, ErrorKind};

use crate::stage::{Notes, Shared, within};

const WORK: Call<u64, u64> = Call::new("work");

fn noted(name: &'static str, notes: &Notes<&'static str>) -> impl Agent {
    let notes = notes.clone();
    let work = move |x: u64| {
        notes.push(name);
        async move { Ok::<_, AgentError>(x) }
    };
    agent("work", work).with_name(name)
}

#[tokio::test(start_paused = true)]
async fn who_is_degraded_is_routed_to_only_when_nobody_else_is_there() -> Result<(), Error> {
    let (shared, notes) = (Shared::new(), Notes::new());
    let coordinator = shared.runtime().route("work", Strategy::RoundRobin);
    let coordinator = coordinator.start().await?;
    let cold = shared
        .runtime()
        .worker_only()
        .agent(noted("cold", &notes))
        .start()
        .await?;
    let warm = shared
        .runtime()
        .worker_only()
        .agent(noted("warm", &notes))
        .start()
        .await?;
    cold.report_health("cold", Health::Degraded, "the cache is cold")?;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let records = coordinator.agents().records();
    let told = records.iter().filter_map(|record| record.reason()).next();
    assert_eq!(told.map(|reason| reason.text()), Some("the cache is cold"));
    for number in 0..6 {
        within(coordinator.run(&WORK, number)).await?;
    }
    assert_eq!(notes.all(), ["warm"; 6]);
    warm.shutdown().await?;
    within(coordinator.run(&WORK, 6)).await?;
    assert_eq!(notes.all()[6..], ["cold"]);
    cold.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn who_drains_takes_nothing_from_any_queue_until_it_is_ready() -> Result<(), Error> {
    let (shared, notes) = (Shared::new(), Notes::new());
    let coordinator = shared.runtime().start().await?;
    let worker = shared
        .runtime()
        .worker_only()
        .agent(noted("work", &notes))
        .start()
        .await?;
    worker.report_health("work", Health::Draining, "the model is loading")?;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let run = coordinator.submit(&WORK, 1).await?;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(notes.all().is_empty());
    worker.report_health("work", Health::Ready, None)?;
    assert_eq!(within(run.result()).await?, 1);
    worker.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_report_of_an_agent_of_nobody_is_refused() -> Result<(), Error> {
    let runtime = Runtime::builder().start().await?;
    let refused = runtime.report_health("work", Health::Ready, None);
    assert_eq!(refused.expect_err("refused").kind(), ErrorKind::NotFound);
    runtime.shutdown().await
}
