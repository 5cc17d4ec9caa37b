//! What is begun anew finds what there is: children of earlier attempts, inputs that were given, parents that have gone.

mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coditect_core::bus::{MemoryBus, MessageBus};
use coditect_core::prelude::*;
use coditect_core::testing::Cluster;
use coditect_core::{Dispatch, Error, RunHandle, RunState};
use stage::{Count, Gate, Notes, within};

const WORK: Call<u64, u64> = Call::new("work");
const OUTER: Call<u64, u64> = Call::new("outer");
const MINUTE: Duration = Duration::from_secs(60);

async fn opened_again(
    dispatch: Dispatch,
    open: impl AsyncFn(&RunHandle<u64>) -> Result<(), Error>,
) -> Result<(), Error> {
    let (mended, calls) = (Arc::new(AtomicBool::new(false)), Notes::new());
    let (well, notes) = (Arc::clone(&mended), calls.clone());
    let work = agent("work", move |x: u64| {
        notes.push(x);
        std::future::ready(match x == 1 || well.load(Ordering::SeqCst) {
            true => Ok(x),
            false => Err(AgentError::permanent("broken")),
        })
    });
    let outer = agent("outer", async |context: TaskContext, x: u64| {
        let one = context.request("one", &WORK, 1).await?;
        Ok::<_, AgentError>(one + context.request("other", &WORK, x).await?)
    });
    let runtime = Runtime::builder()
        .bus(Arc::new(MemoryBus::new()) as Arc<dyn MessageBus>)
        .dispatch(dispatch)
        .agent(work)
        .agent(outer)
        .start()
        .await?;
    let run = runtime.submit(&OUTER, 7).await?;
    within(run.result()).await.expect_err("its child failed");
    open(&run).await?;
    within(run.result()).await.expect_err("its child fails");
    assert_eq!(calls.all(), [1, 7, 7]);
    mended.store(true, Ordering::SeqCst);
    open(&run).await?;
    assert_eq!(within(run.result()).await?, 8);
    assert_eq!(calls.all(), [1, 7, 7, 7], "what it has is not asked again");
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_retried_asks_anew_what_failed_and_nothing_else() -> Result<(), Error> {
    for dispatch in [Dispatch::LocalFirst, Dispatch::Bus] {
        opened_again(dispatch, async |run| run.retry().await).await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_redriven_asks_anew_what_failed_and_nothing_else() -> Result<(), Error> {
    for dispatch in [Dispatch::LocalFirst, Dispatch::Bus] {
        opened_again(dispatch, async |run| run.redrive("outer").await).await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_child_of_a_run_that_goes_on_is_not_forgotten() -> Result<(), Error> {
    let (calls, gate) = (Count::default(), Gate::new());
    let counted = calls.clone();
    let work = agent("work", move |x: u64| {
        if x == 7 {
            counted.add();
        }
        std::future::ready(Ok::<_, AgentError>(x))
    });
    let held = gate.clone();
    let outer = agent("outer", move |context: TaskContext, x: u64| {
        let gate = held.clone();
        async move {
            let answer = context.request("ask", &WORK, x).await?;
            gate.pass().await;
            match context.attempt() {
                1 => Err(AgentError::retryable("once more")),
                _ => Ok(answer),
            }
        }
    });
    let runtime = Runtime::builder()
        .partitions(1)
        .retention(2, MINUTE * 60)
        .agent(work)
        .agent(outer);
    let runtime = runtime.start().await?;
    let run = runtime.submit(&OUTER, 7).await?;
    gate.arrived(1).await;
    for x in 100..110 {
        within(runtime.run(&WORK, x)).await?;
    }
    tokio::time::sleep(MINUTE).await;
    gate.open(2);
    assert_eq!(within(run.result()).await?, 7);
    assert_eq!(
        calls.get(),
        1,
        "the second attempt meets the first one's child"
    );
    runtime.shutdown().await
}

#[tokio::test]
async fn a_child_ends_whose_parent_has_ended_and_was_forgotten() -> Result<(), Error> {
    let cluster = Cluster::new();
    let quick = agent("quick", async |x: u64| Ok::<_, AgentError>(x));
    let coordinator = cluster
        .node(|builder| builder.agent(quick.with_concurrency(64)))
        .await?;
    let gate = Gate::new();
    let held = gate.clone();
    let work = agent("work", move |x: u64| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            Ok::<_, AgentError>(x)
        }
    });
    let _worker = cluster
        .node(|builder| builder.worker_only().agent(work))
        .await?;
    let outer = agent("outer", async |context: TaskContext, x: u64| {
        context.request("ask", &WORK, x).await
    });
    let parent = cluster
        .node(|builder| builder.worker_only().agent(outer))
        .await?;
    let runtime = coordinator.runtime();
    let run = runtime.submit(&OUTER, 1).await?;
    gate.arrived(1).await;
    parent.kill();
    let child = run.children().await?[0].run;
    // Watched from here on, so that it is not forgotten itself.
    let child = runtime.attach::<u64>(child);
    let child = tokio::spawn(async move { child.settled().await });
    let id = run.id();
    run.cancel("enough").await?;
    run.settled().await?;
    drop(run);
    let quick = Call::<u64, u64>::new("quick");
    let mut runs = Vec::new();
    for x in 0..1_500 {
        runs.push(runtime.submit(&quick, x).await?);
    }
    for run in &runs {
        run.result().await.ok();
    }
    drop(runs);
    let gone = runtime.attach::<u64>(id).summary().await.is_err();
    assert!(gone, "the parent was forgotten");
    let settled = tokio::time::timeout(Duration::from_secs(20), child).await;
    let settled = settled.expect("it ends").expect("it does not panic");
    let state = settled?.state;
    assert_eq!(state, RunState::Cancelled);
    Ok(())
}

const GO: Signal<u64> = Signal::new("go");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_damaged_run_holds_up_no_other_of_its_partition() -> Result<(), Error> {
    use coditect_core::state::key::Subspace;
    use coditect_core::state::{EmbeddedStore, StateStoreExt};

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.redb");
    let url = format!("file:{}", path.display());
    let start = || {
        let lease = Duration::from_millis(500);
        let runtime = Runtime::builder().partitions(1).leases(lease, lease);
        runtime.state(&*url).start()
    };
    let plan = || {
        let mut plan = Plan::builder();
        let go = plan.wait("go", &GO);
        plan.output(go)
    };
    let first = start().await?;
    let damaged = first.submit_plan(plan()?).await?.id();
    let other = first.submit_plan(plan()?).await?.id();
    tokio::time::sleep(Duration::from_secs(1)).await;
    first.shutdown().await?;
    drop(first);

    let store = loop {
        match EmbeddedStore::open(&path).await {
            Err(error) if error.is_retryable() => tokio::task::yield_now().await,
            opened => break opened.expect("it is whole"),
        }
    };
    let mut head = Subspace::new(&("j",)).prefix().to_vec();
    head.push(b'h');
    head.extend_from_slice(damaged.as_uuid().as_bytes());
    let head = &head;
    let write = store.transact(|mut tx| async move {
        assert!(tx.get(head).await?.is_some(), "there is such a key");
        tx.clear(head)
    });
    write.await.expect("written");
    store.close().await.expect("closed");

    let patience = Duration::from_secs(30);
    let second = tokio::time::timeout(patience, start());
    let second = second.await.expect("it starts")?;
    let other = second.attach::<u64>(other);
    other.signal(&GO, &5).await?;
    let result = tokio::time::timeout(patience, other.result()).await;
    assert_eq!(result.expect("the other goes on")?, 5);
    Ok(())
}
