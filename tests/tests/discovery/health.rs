//! What agents say of themselves, and what follows for who is given work.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::registry::{Health, Strategy};
use coditect_core::{Error, ErrorKind};

use tokio::sync::Notify;

use crate::stage::{Notes, Shared, within};

const WORK: Call<u64, u64> = Call::new("work");

fn noted_by(name: &'static str, notes: &Notes<&'static str>) -> impl Agent {
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
        .agent(noted_by("cold", &notes))
        .start()
        .await?;
    let warm = shared
        .runtime()
        .worker_only()
        .agent(noted_by("warm", &notes))
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
        .agent(noted_by("work", &notes))
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
async fn a_handler_says_how_its_agent_is_and_a_task_that_it_leaves_says_when_that_is_over()
-> Result<(), Error> {
    let (shared, notes, well) = (Shared::new(), Notes::new(), Arc::new(Notify::new()));
    let coordinator = shared.runtime().route("work", Strategy::RoundRobin);
    let coordinator = coordinator.start().await?;
    let (noted, recovered) = (notes.clone(), Arc::clone(&well));
    let limited = agent("work", move |context: TaskContext, x: u64| {
        noted.push("limited");
        let recovered = Arc::clone(&recovered);
        async move {
            context.report_health(Health::Degraded, "the model is rate limited");
            let background = context.clone();
            tokio::spawn(async move {
                recovered.notified().await;
                background.report_health(Health::Ready, None);
            });
            Ok::<_, AgentError>(x)
        }
    });
    let worker = |agent| shared.runtime().worker_only().agent(agent).start();
    let limited = worker(limited.with_name("limited")).await?;
    within(coordinator.run(&WORK, 0)).await?;
    let other = shared.runtime().worker_only();
    let other = other.agent(noted_by("other", &notes)).start().await?;
    let of_limited = || {
        let records = coordinator.agents().records();
        let mut records = records.into_iter();
        let record = records.find(|record| record.agent().as_str() == "limited");
        let record = record.expect("it is registered");
        let reason = record.reason().map(|reason| reason.text().to_owned());
        (record.health, reason)
    };
    tokio::time::sleep(Duration::from_millis(10)).await;
    let reason = "the model is rate limited".to_owned();
    assert_eq!(of_limited(), (Health::Degraded, Some(reason)));
    for number in 0..4 {
        within(coordinator.run(&WORK, number)).await?;
    }
    assert_eq!(notes.all()[1..], ["other"; 4]);
    well.notify_waiters();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(of_limited(), (Health::Ready, None));
    for number in 0..4 {
        within(coordinator.run(&WORK, number)).await?;
    }
    assert!(notes.all()[5..].contains(&"limited"), "{:?}", notes.all());
    for runtime in [limited, other, coordinator] {
        runtime.shutdown().await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_report_of_an_agent_of_nobody_is_refused() -> Result<(), Error> {
    let runtime = Runtime::builder().start().await?;
    let refused = runtime.report_health("work", Health::Ready, None);
    assert_eq!(refused.expect_err("refused").kind(), ErrorKind::NotFound);
    runtime.shutdown().await
}
