//! Limits that change, by a restart or by a person, and processes that do not agree.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Error, ErrorKind, Limit, LimitOn};
use tokio::time::sleep;

use super::stage::{Gate, Shared, within};
use super::{Census, WORK};

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
    work.with_concurrency(32)
}

fn on_work() -> LimitOn {
    LimitOn::Capability("work".to_owned())
}

#[tokio::test(start_paused = true)]
async fn what_the_last_process_was_started_with_holds_for_all() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(4);
    let (gate, census) = (Gate::new(), Census::default());
    let node = |max| shared.runtime().limit(Limit::capability("work", max));
    let first = node(2).agent(held(&gate, &census)).start().await?;
    let mut runs = Vec::new();
    for x in 0..30 {
        runs.push(first.submit(&WORK, x).await?);
    }
    gate.arrived(2).await;
    let second = node(6).start().await?;
    gate.arrived(4).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(census.now("work"), 6);
    // Nothing is stopped, and nothing begins until no more are at work than may.
    let third = node(3).start().await?;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(census.now("work"), 6);
    for at_work in [5, 4, 3] {
        gate.open(1);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(census.now("work"), at_work);
    }
    gate.open(6);
    sleep(Duration::from_secs(60)).await;
    census.forget();
    gate.open(30);
    for (x, run) in (0..).zip(&runs) {
        assert_eq!(within(run.result()).await?, x);
    }
    assert!(census.most("work") <= 3, "{}", census.most("work"));
    for node in [&first, &second, &third] {
        assert_eq!(node.limits().await?[0].max, 3);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_a_person_has_set_stays_until_it_is_lifted() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(4);
    let (gate, census) = (Gate::new(), Census::default());
    let node = || shared.runtime().limit(Limit::capability("work", 2));
    let first = node().agent(held(&gate, &census)).start().await?;
    first.set_limit(Limit::capability("work", 4)).await?;
    let _second = node().start().await?;
    let told = first.limits().await?;
    assert_eq!((told[0].max, told[0].is_set), (4, true));
    let mut runs = Vec::new();
    for x in 0..20 {
        runs.push(first.submit(&WORK, x).await?);
    }
    gate.arrived(4).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(census.now("work"), 4);
    first.lift_limit(&on_work()).await?;
    gate.arrived(16).await;
    assert!(first.limits().await?.is_empty());
    let error = first
        .lift_limit(&on_work())
        .await
        .expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    gate.open(20);
    for run in &runs {
        within(run.result()).await?;
    }
    // A process that is started with one sets it again, for all.
    let _third = node().start().await?;
    for x in 0..5 {
        runs.push(first.submit(&WORK, x).await?);
    }
    gate.arrived(2).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(census.now("work"), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_is_at_work_when_a_limit_comes_counts() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(4);
    let (gate, census) = (Gate::new(), Census::default());
    let node = shared.runtime().agent(held(&gate, &census)).start().await?;
    let mut runs = Vec::new();
    for x in 0..5 {
        runs.push(node.submit(&WORK, x).await?);
    }
    gate.arrived(5).await;
    node.set_limit(Limit::capability("work", 2)).await?;
    // Until all owners have said what is open.
    sleep(Duration::from_secs(60)).await;
    for x in 5..10 {
        runs.push(node.submit(&WORK, x).await?);
    }
    gate.open(3);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(census.now("work"), 2, "nothing has begun");
    census.forget();
    gate.open(7);
    for (x, run) in (0..).zip(&runs) {
        assert_eq!(within(run.result()).await?, x);
    }
    assert_eq!(census.most("work"), 2);
    Ok(())
}

#[tokio::test]
async fn a_limit_that_can_be_none_is_refused_at_the_start() -> Result<(), Error> {
    for limit in [
        Limit::capability("work", 0),
        Limit::capability("no capability", 1),
        Limit::tenant("", 1),
    ] {
        let refused = Runtime::builder().limit(limit.clone()).start().await;
        let error = refused.expect_err("it is no limit");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{limit:?}");
    }
    let node = Runtime::builder().start().await?;
    let refused = node.set_limit(Limit::each_tenant(0)).await;
    assert_eq!(
        refused.expect_err("it is no limit").kind(),
        ErrorKind::Invalid
    );
    node.shutdown().await
}
