//! Patches as their owner meets them: late, twice, at once, across crashes.

use std::sync::Arc;

use bytes::Bytes;
use coditect_core::ErrorKind;
use coditect_core::dag::Timestamp;
use coditect_core::dag::journal::{Command, RecordKind, RunJournal};
use coditect_core::testing::Cluster;
use futures::join;

use super::*;
use crate::restart::soon;

/// Asks the owner of a run for a change as it was before the run had any patch, looking at nothing.
async fn send(run: &RunHandle<u64>, journal: &Arc<dyn RunJournal>, patch: impl Into<Bytes>) {
    let (patch, at) = (patch.into(), Timestamp::EPOCH);
    let sent = journal.send(run.id(), Command::Patch { patch, at }).await;
    sent.expect("the command is sent");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_has_begun_in_the_meantime_is_not_changed() -> Result<(), Error> {
    let (shared, gate) = (Shared::new(), Gate::new());
    let runtime = staffed(&shared, &gate, &Count::default()).start().await?;
    let run = runtime.submit_plan(three_steps()?).await?;
    gate.arrived(1).await;
    let late = r#"{"id":"late","revision":0,"opening":0,"attempt":0,
        "added":[{"key":"new","call":1}],"changed":[[0,{"key":"a","call":0,"input":{"value":9}}]]}"#;
    send(&run, &shared.journal, late).await;
    let mut events = run.events().await?;
    let refused = |kind: &RunEventKind| matches!(kind, RunEventKind::PatchRefused(..));
    let RunEventKind::PatchRefused(id, why) = until(&mut events, refused).await? else {
        unreachable!("it was looked for");
    };
    assert_eq!((&*id, &*why), ("late", "task `a` has begun: it is running"));
    // The same name has the same answer.
    let mut patch = Patch::new();
    patch.id("late").task("fits", &ADD, 1);
    let error = run.patch(&patch).await.unwrap_err();
    let answer = "the patch was refused: task `a` has begun: it is running";
    assert_eq!(chain(&error), answer);
    gate.open(1);
    assert_eq!(within(run.result()).await?, 4);
    assert_eq!(run.report().await?.tasks.len(), 3);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_or_is_about_nothing_does_no_harm() -> Result<(), Error> {
    let (shared, gate) = (Shared::new(), Gate::new());
    let runtime = staffed(&shared, &gate, &Count::default()).start().await?;
    let run = runtime.submit_plan(three_steps()?).await?;
    gate.arrived(1).await;
    let head = r#""revision":0,"opening":0,"attempt":0"#;
    send(&run, &shared.journal, "no patch").await;
    let bad = [
        r#""scope":77"#,
        r#""removed":[77]"#,
        r#""changed":[[77,{"key":"a","call":0}]]"#,
        r#""changed":[[1,{"key":"other","call":1}]]"#,
        r#""added":[{"key":"new","call":9}]"#,
        r#""added":[{"key":"new","call":0,"after":[9]}]"#,
        r#""changed":[[1,{"key":"b","call":1}],[1,{"key":"b","call":1}]]"#,
    ];
    for (number, bad) in bad.iter().enumerate() {
        let patch = format!(r#"{{"id":"bad {number}",{head},{bad}}}"#);
        send(&run, &shared.journal, patch).await;
    }
    let mut events = run.events().await?;
    for _ in bad {
        until(&mut events, |kind| {
            matches!(kind, RunEventKind::PatchRefused(..))
        })
        .await?;
    }
    gate.open(1);
    assert_eq!(within(run.result()).await?, 4);
    assert_eq!(run.revision().await?, 0);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn of_two_operators_at_once_one_has_to_look_again() -> Result<(), Error> {
    let (shared, gate) = (Shared::new(), Gate::new());
    // Nobody coordinates yet, so that both see the same graph.
    let worker = staffed(&shared, &gate, &Count::default()).worker_only();
    let worker = worker.start().await?;
    let run = worker.submit_plan(three_steps()?).await?;
    let mut patches = [Patch::new(), Patch::new()];
    for (number, patch) in patches.iter_mut().enumerate() {
        let new = patch.task(format!("new {number}"), &ADD, 10);
        patch.replace("c", &ADD, new);
    }
    let both = async { join!(run.patch(&patches[0]), run.patch(&patches[1])) };
    let coordinator = async {
        // Both have asked by the time that somebody can answer.
        tokio::time::sleep(Duration::from_secs(1)).await;
        shared.runtime().start().await
    };
    let ((one, other), coordinator) = within(async { join!(both, coordinator) }).await;
    let coordinator = coordinator?;
    let mut answers = [one, other];
    answers.sort_by_key(Result::is_err);
    let [Ok(1), Err(error)] = answers else {
        panic!("{answers:?}");
    };
    assert_eq!(error.kind(), ErrorKind::Conflict);
    gate.open(1);
    assert_eq!(within(run.result()).await?, 12);
    assert_eq!(run.report().await?.tasks.len(), 4);
    worker.shutdown().await?;
    coordinator.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_patch_that_comes_twice_is_applied_once() -> Result<(), Error> {
    let (shared, gate) = (Shared::new(), Gate::new());
    let runtime = staffed(&shared, &gate, &Count::default()).start().await?;
    let run = runtime.submit_plan(three_steps()?).await?;
    gate.arrived(1).await;
    let mut patch = Patch::new();
    patch.id("deploy 42").task("new", &ADD, 1);
    assert_eq!(run.patch(&patch).await?, 1);
    let log = shared.journal.load(run.id()).await.expect("loaded");
    let log = log.expect("the run is known");
    let sent = log.tail.iter().find_map(|record| match &record.kind {
        RecordKind::Patched { patch } => Some(patch.clone()),
        _ => None,
    });
    let sent = sent.expect("a patch is recorded");
    send(&run, &shared.journal, sent.clone()).await;
    send(&run, &shared.journal, sent).await;
    let mut again = Patch::new();
    again.id("deploy 42").task("new", &ADD, 1);
    assert_eq!(
        run.patch(&again).await?,
        1,
        "another process asks for the same"
    );
    let mut next = Patch::new();
    next.task("newer", &ADD, 1);
    assert_eq!(run.patch(&next).await?, 2);
    gate.open(1);
    assert_eq!(within(run.result()).await?, 4);
    assert_eq!(run.report().await?.tasks.len(), 5);
    assert_eq!(run.patch(&patch).await?, 1, "also after the end");
    runtime.shutdown().await
}

#[tokio::test]
async fn a_patch_lives_through_the_death_of_its_coordinator() -> Result<(), Error> {
    let (cluster, gate) = (Cluster::new(), Gate::new());
    let first = cluster.node(|builder| builder).await?;
    let held = gate.clone();
    let worker = cluster
        .node(|builder| {
            let gate = held.clone();
            let held = agent("held", move |x: u64| {
                let gate = gate.clone();
                async move {
                    gate.pass().await;
                    Ok::<_, AgentError>(x + 1)
                }
            });
            let add = agent("add", async |x: u64| Ok::<_, AgentError>(x + 1));
            builder.worker_only().agent(held).agent(add)
        })
        .await?;
    let run = worker.runtime().submit_plan(three_steps()?).await?;
    gate.arrived(1).await;
    let patched = |key: &'static str, upstream: &'static str| {
        let mut patch = Patch::new();
        let upstream = patch.existing(upstream, &ADD);
        let new = patch.task(key, &ADD, upstream);
        patch.replace("c", &ADD, new);
        patch
    };
    // Recorded by one that dies before anything has come of it.
    let patch = patched("x", "b");
    assert_eq!(soon(run.patch(&patch)).await?, 1);
    first.kill();
    // Asked for while nobody coordinates.
    let next = patched("y", "x");
    let second = async { cluster.node(|builder| builder).await };
    let (answer, second) = join!(soon(run.patch(&next)), second);
    assert_eq!(answer?, 2);
    second?.kill();
    let _third = cluster.node(|builder| builder).await?;
    assert_eq!(soon(run.patch(&patch)).await?, 1);
    gate.open(1);
    assert_eq!(soon(run.result()).await?, 6);
    let report = run.report().await?;
    assert_eq!((report.revision, report.tasks.len()), (2, 5));
    Ok(())
}
