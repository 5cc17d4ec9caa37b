//! What is kept of runs: for how long, how it is found, and how it moves elsewhere.

use std::time::Duration;

use coditect_core::dag::Timestamp;
use coditect_core::prelude::*;
use coditect_core::state::{Range, StateStoreExt, TransactionExt, Tx, key::Subspace};
use coditect_core::{Error, ErrorKind, RunFilter, RunId, RunState, RuntimeBuilder};

mod stage;

use stage::{Count, Gate, chain};

const SHARE: Call<u64, u64> = Call::new("share");

/// Awaits what must end, in real time: files know no other.
async fn within<F: Future>(future: F) -> F::Output {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, future).await.expect("it hangs")
}

/// An agent that puts something on the blackboard, counts how often its step is done, and passes a gate.
fn share(gate: &Gate, steps: &Count) -> impl Agent {
    let (gate, steps) = (gate.clone(), steps.clone());
    agent("share", move |context: TaskContext, x: u64| {
        let (gate, steps) = (gate.clone(), steps.clone());
        async move {
            context.blackboard()?.put("seen", &x).await?;
            let step = async || {
                steps.add();
                Ok::<_, AgentError>(2 * x)
            };
            let kept = context.once("double", step).await?;
            gate.pass().await;
            let seen: Option<u64> = context.blackboard()?.get("seen").await?;
            Ok::<_, AgentError>(kept + seen.unwrap_or_default())
        }
    })
}

fn open() -> Gate {
    let gate = Gate::new();
    gate.open(1_000);
    gate
}

/// How many keys lie beside the journal for a run.
async fn shared(runtime: &Runtime, run: RunId) -> usize {
    let mut keys = 0;
    for space in ["run", "step"] {
        let prefix = &Subspace::new(&(space, run.as_uuid()));
        let read = |mut tx: Tx| async move { tx.range_all(Range::prefix(prefix.prefix())).await };
        keys += runtime
            .store()
            .transact(read)
            .await
            .expect("it is read")
            .len();
    }
    keys
}

fn on(state: &str) -> RuntimeBuilder {
    let lease = Duration::from_millis(300);
    Runtime::builder()
        .state(state)
        .partitions(1)
        .leases(lease, lease)
}

async fn forgets_with_a_run_what_it_shared(state: &str) -> Result<(), Error> {
    let agent = share(&open(), &Count::default());
    let day = Duration::from_secs(24 * 60 * 60);
    let runtime = on(state).retention(1, day).agent(agent).start().await?;
    let mut runs = Vec::new();
    for x in 0..3 {
        let run = runtime.submit(&SHARE, x).await?;
        assert_eq!(within(run.result()).await?, 3 * x);
        runs.push(run.id());
    }
    let forgotten = async {
        // A renewal does it, of which nobody hears.
        while shared(&runtime, runs[0]).await + shared(&runtime, runs[1]).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(forgotten).await;
    for run in &runs[..2] {
        let gone = runtime
            .attach::<u64>(*run)
            .summary()
            .await
            .expect_err("forgotten");
        assert_eq!(gone.kind(), ErrorKind::NotFound);
    }
    assert_eq!(shared(&runtime, runs[2]).await, 2, "the youngest is kept");
    within(runtime.shutdown()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory_what_a_run_shared_is_forgotten_with_it() -> Result<(), Error> {
    forgets_with_a_run_what_it_shared("memory:").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_file_what_a_run_shared_is_forgotten_with_it() -> Result<(), Error> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("runs.redb");
    forgets_with_a_run_what_it_shared(&format!("file:{}", path.display())).await
}

#[tokio::test]
async fn runs_are_found_by_what_was_said_of_them() -> Result<(), Error> {
    let agent = share(&open(), &Count::default());
    let runtime = Runtime::builder().agent(agent).start().await?;
    let mut runs = Vec::new();
    for (x, tenant) in [(0, "a"), (1, "b"), (2, "a")] {
        let submit = runtime.submit(&SHARE, x).tenant(tenant);
        let run = submit.label("parity", (x % 2).to_string()).await?;
        run.result().await?;
        runs.push(run.id());
    }
    let found = async |filter: RunFilter| {
        let found = runtime.runs(filter).await.expect("a list");
        found.into_iter().map(|run| run.run).collect::<Vec<_>>()
    };
    let any = RunFilter::default;
    let tenant = Some("a".into());
    assert_eq!(
        found(RunFilter { tenant, ..any() }).await,
        [runs[0], runs[2]]
    );
    let label = Some(("parity".to_owned(), "1".to_owned()));
    assert_eq!(found(RunFilter { label, ..any() }).await, [runs[1]]);
    let state = Some(RunState::Failed);
    assert_eq!(found(RunFilter { state, ..any() }).await, []);
    let (after, limit) = (Some(runs[0]), Some(1));
    assert_eq!(
        found(RunFilter {
            after,
            limit,
            ..any()
        })
        .await,
        [runs[1]]
    );
    let until = Some(Timestamp::from_millis(1));
    assert_eq!(found(RunFilter { until, ..any() }).await, []);
    runtime.shutdown().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_run_is_exported_and_goes_on_elsewhere() -> Result<(), Error> {
    let (shut, steps) = (Gate::new(), Count::default());
    let here = Runtime::builder()
        .agent(share(&shut, &steps))
        .start()
        .await?;
    let run = here.submit(&SHARE, 7).label("kind", "moved").await?.id();
    within(shut.arrived(1)).await;
    let file = here.export(run).await?;

    let folder = tempfile::tempdir().expect("a folder");
    let state = format!("file:{}", folder.path().join("runs.redb").display());
    let there = on(&state).agent(share(&open(), &steps)).start().await?;
    assert_eq!(there.import(&file).await?, run);
    assert_eq!(within(there.attach::<u64>(run).result()).await?, 21);
    assert_eq!(
        steps.get(),
        1,
        "a step that was done is not done again elsewhere"
    );
    let label = Some(("kind".to_owned(), "moved".to_owned()));
    let filter = RunFilter {
        label,
        ..RunFilter::default()
    };
    assert_eq!(there.runs(filter).await?.len(), 1);

    let again = there.import(&file).await.expect_err("it is known");
    assert_eq!(again.kind(), ErrorKind::Invalid);
    assert!(again.to_string().contains("is known here"), "{again}");
    // What has ended is read elsewhere as it was here.
    let ended = there.export(run).await?;
    let third = Runtime::builder().start().await?;
    assert_eq!(
        within(third.attach::<u64>(third.import(&ended).await?).result()).await?,
        21
    );
    for bad in [&b"notes"[..], &file[..file.len() / 2]] {
        let error = third
            .import(&bad.to_vec().into())
            .await
            .expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(
            chain(&error).contains("cannot be imported"),
            "{}",
            chain(&error)
        );
    }
    shut.open(1_000);
    for runtime in [here, there, third] {
        within(runtime.shutdown()).await?;
    }
    Ok(())
}
