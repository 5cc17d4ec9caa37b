//! Submitting, finding and attaching to runs.

use std::sync::Arc;

use coditect_core::dag::journal::RunFilter;
use coditect_core::prelude::*;
use coditect_core::{Error, ErrorKind, RunId, RunState};

use crate::stage::{Count, Gate, Shared, within};

const STEP: Call<u64, u64> = Call::new("step");

async fn runtime(calls: &Count) -> Result<Runtime, Error> {
    let calls = calls.clone();
    Runtime::builder()
        .agent(agent("step", move |x: u64| {
            calls.add();
            std::future::ready(Ok::<_, AgentError>(x))
        }))
        .start()
        .await
}

#[tokio::test]
async fn the_same_key_is_the_same_run_and_does_its_work_once() -> Result<(), Error> {
    let calls = Count::default();
    let runtime = runtime(&calls).await?;
    let first = runtime.submit(&STEP, 1).idempotency_key("order-7").await?;
    let while_it_runs = runtime.submit(&STEP, 1).idempotency_key("order-7").await?;
    assert_eq!(first.result().await?, 1);
    let afterwards = runtime.submit(&STEP, 2).idempotency_key("order-7").await?;
    assert_eq!(first.id(), while_it_runs.id());
    assert_eq!(first.id(), afterwards.id());
    assert_eq!(afterwards.result().await?, 1, "the first submission counts");
    assert_eq!(calls.get(), 1);
    let other = runtime.submit(&STEP, 3).idempotency_key("order-8").await?;
    assert_ne!(first.id(), other.id());
    runtime.shutdown().await
}

#[tokio::test]
async fn the_same_key_of_another_tenant_is_another_run() -> Result<(), Error> {
    let runtime = runtime(&Count::default()).await?;
    let ours = runtime
        .submit(&STEP, 1)
        .tenant("us")
        .idempotency_key("7")
        .await?;
    let theirs = runtime
        .submit(&STEP, 2)
        .tenant("them")
        .idempotency_key("7")
        .await?;
    assert_ne!(ours.id(), theirs.id());
    assert_eq!((ours.result().await?, theirs.result().await?), (1, 2));
    runtime.shutdown().await
}

#[tokio::test]
async fn many_who_submit_at_once_under_one_key_get_one_run() -> Result<(), Error> {
    let calls = Count::default();
    let runtime = runtime(&calls).await?;
    let submissions = (0..50).map(|x| {
        runtime
            .submit(&STEP, x)
            .idempotency_key("one")
            .into_future()
    });
    let runs = futures::future::try_join_all(submissions).await?;
    let mut results = Vec::new();
    for run in &runs {
        assert_eq!(run.id(), runs[0].id());
        results.push(run.result().await?);
    }
    assert!(results.iter().all(|result| *result == results[0]));
    assert_eq!(calls.get(), 1);
    runtime.shutdown().await
}

#[tokio::test]
async fn runs_are_listed_by_label_tenant_and_state() -> Result<(), Error> {
    let runtime = runtime(&Count::default()).await?;
    let audit = runtime
        .submit(&STEP, 1)
        .label("kind", "audit")
        .label("by", "me")
        .await?;
    let other = runtime
        .submit(&STEP, 2)
        .label("kind", "other")
        .tenant("them")
        .await?;
    let failed = runtime.submit(&call::<u64, String>("step"), 3).await?;
    audit.result().await?;
    other.result().await?;
    failed.settled().await?;
    let listed = async |filter: RunFilter| -> Result<Vec<RunId>, Error> {
        Ok(runtime
            .runs(filter)
            .await?
            .into_iter()
            .map(|run| run.run)
            .collect())
    };
    let label = |name: &str, value: &str| RunFilter {
        label: Some((name.to_owned(), value.to_owned())),
        ..RunFilter::default()
    };
    assert_eq!(listed(label("kind", "audit")).await?, [audit.id()]);
    assert_eq!(listed(label("by", "me")).await?, [audit.id()]);
    assert!(listed(label("kind", "none")).await?.is_empty());
    let theirs = RunFilter {
        tenant: Some(Arc::from("them")),
        ..RunFilter::default()
    };
    assert_eq!(listed(theirs).await?, [other.id()]);
    let succeeded = RunFilter {
        state: Some(RunState::Succeeded),
        ..RunFilter::default()
    };
    assert_eq!(listed(succeeded).await?.len(), 3);
    assert_eq!(listed(RunFilter::default()).await?.len(), 3);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_run_can_be_followed_from_another_process() -> Result<(), Error> {
    let shared = Shared::new();
    let gate = Gate::new();
    let held = gate.clone();
    let works = shared
        .runtime()
        .agent(agent("step", move |x: u64| {
            let gate = held.clone();
            async move {
                gate.pass().await;
                Ok::<_, AgentError>(x)
            }
        }))
        .start()
        .await?;
    let asks = shared.runtime().worker_only().start().await?;
    let run = asks.submit(&STEP, 4).await?.id();
    gate.arrived(1).await;
    let attached = asks.attach::<u64>(run);
    assert_eq!(attached.state().await?, RunState::Running);
    let mut events = attached.events().await?;
    gate.open(1);
    let mut last = None;
    while let Some(event) = within(events.next()).await? {
        last = Some(event.kind);
    }
    assert!(matches!(
        last,
        Some(RunEventKind::RunSettled(RunState::Succeeded))
    ));
    assert_eq!(within(works.attach::<u64>(run).result()).await?, 4);
    asks.shutdown().await?;
    works.shutdown().await
}

#[tokio::test]
async fn a_run_that_does_not_exist_is_not_found() -> Result<(), Error> {
    let runtime = runtime(&Count::default()).await?;
    let nobody = runtime.attach::<u64>(RunId::new());
    for error in [
        nobody.result().await.map(drop).expect_err("no result"),
        nobody.state().await.map(drop).expect_err("no state"),
        nobody.events().await.map(drop).expect_err("no events"),
        nobody.report().await.map(drop).expect_err("no report"),
        nobody.cancel("why").await.expect_err("nothing to cancel"),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    runtime.shutdown().await
}
