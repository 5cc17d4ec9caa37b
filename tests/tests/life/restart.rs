//! The life of a run in a file whose process ends in the middle, and in a cluster whose coordinator is killed.

use std::time::Duration;

use coditect_core::dag::journal::Seq;
use coditect_core::prelude::*;
use coditect_core::testing::Cluster;
use coditect_core::{Error, ErrorKind, RunState, RuntimeBuilder};

use crate::stage::Count;
use crate::until;

const STEP: Call<u64, u64> = Call::new("step");
const GO: Signal<u64> = Signal::new("go");

/// Awaits what must end, in real time: files and clusters know no other.
pub(super) async fn soon<F: Future>(future: F) -> F::Output {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, future).await.expect("it hangs")
}

/// An agent that fails from its second call on until it is mended, and counts.
fn step(calls: &Count, mended: &Count) -> impl Agent + use<> {
    let (calls, mended) = (calls.clone(), mended.clone());
    agent("step", move |x: u64| {
        let broken = calls.add() > 1 && mended.get() == 0;
        async move {
            match broken {
                true => Err(AgentError::permanent("broken")),
                false => Ok(x + 1),
            }
        }
    })
}

fn plan() -> Result<Plan<u64>, Error> {
    let mut plan = Plan::builder();
    let one = plan.task("one", &STEP, 1);
    let ok = plan.approval("ok", Approval::new("Go on?").about(&one));
    let go = plan.wait("go", &GO);
    plan.after(&go, &ok);
    let two = plan.task("two", &STEP, go);
    plan.output(two)
}

fn waits_for(path: &str) -> impl Fn(&RunEventKind) -> bool + '_ {
    move |kind| matches!(kind, RunEventKind::Waiting(task, _) if task.path == path)
}

/// Starts a runtime once the one before has let go of the file.
async fn again(make: impl Fn() -> RuntimeBuilder) -> Result<Runtime, Error> {
    loop {
        match make().start().await {
            Err(error) if error.kind() == ErrorKind::Unavailable => tokio::task::yield_now().await,
            started => return started,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_in_a_file_lives_through_restarts_at_every_point() -> Result<(), Error> {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("file:{}", folder.path().join("runs.redb").display());
    let (calls, mended) = (Count::default(), Count::default());
    let lease = Duration::from_millis(300);
    let make = || {
        Runtime::builder()
            .state(url.as_str())
            .leases(lease, lease)
            .agent(step(&calls, &mended))
    };
    let mut runtime = make().start().await?;
    let run = runtime.submit_plan(plan()?).await?;
    soon(until(&mut run.events().await?, waits_for("ok"))).await?;
    run.pause("an incident").await?;
    run.decide("ok", Decision::approve("ann")).await?;
    let id = run.id();
    // A handle holds on to the file.
    drop(run);
    let mut settled = Seq::ZERO;

    // Each restart comes when the last command is written down, whether or not it has been carried out.
    for (number, state) in [RunState::Paused, RunState::Running, RunState::Failed]
        .into_iter()
        .enumerate()
    {
        drop(runtime);
        runtime = soon(again(make)).await?;
        let run = runtime.attach::<u64>(id);
        let mut events = run.events().await?;
        match number {
            0 => {
                let came = |kind: &RunEventKind| matches!(kind, RunEventKind::Signalled(_));
                soon(until(&mut events, came)).await?;
                assert_eq!(run.state().await?, state);
                run.resume().await?;
            }
            1 => {
                soon(until(&mut events, waits_for("go"))).await?;
                assert_eq!(run.state().await?, state);
                run.signal(&GO, &40).await?;
            }
            _ => {
                let summary = soon(run.settled()).await?;
                assert_eq!(summary.state, state);
                settled = summary.last;
                mended.add();
                run.retry().await?;
            }
        }
    }
    drop(runtime);
    let runtime = soon(again(make)).await?;
    let run = runtime.attach::<u64>(id);
    let mut watch = runtime.journal().watch(id).await.expect("watched");
    while run.summary().await?.last == settled {
        soon(watch.changed()).await;
    }
    assert_eq!(soon(run.result()).await?, 41);
    let report = run.report().await?;
    assert_eq!(report.tasks[0].attempts, 1, "what succeeded is kept");
    soon(runtime.shutdown()).await
}

#[tokio::test]
async fn what_a_killed_coordinator_was_asked_is_done_by_another() -> Result<(), Error> {
    let cluster = Cluster::new();
    let (calls, mended) = (Count::default(), Count::default());
    let first = cluster.node(|builder| builder).await?;
    let worker = cluster
        .node(|builder| builder.worker_only().agent(step(&calls, &mended)))
        .await?;
    let run = worker.runtime().submit_plan(plan()?).await?;
    let mut events = run.events().await?;
    soon(until(&mut events, waits_for("ok"))).await?;
    first.kill();
    run.decide("ok", Decision::approve("ann")).await?;
    run.signal(&GO, &40).await?;
    let second = cluster.node(|builder| builder).await?;
    soon(run.settled()).await?;
    assert_eq!(run.state().await?, RunState::Failed);

    second.kill();
    mended.add();
    run.retry().await?;
    let _third = cluster.node(|builder| builder).await?;
    assert_eq!(soon(run.result()).await?, 41);
    assert_eq!(calls.get(), 3);
    Ok(())
}
