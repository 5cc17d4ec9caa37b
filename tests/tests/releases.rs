//! Runs that an earlier release has begun: they are read, and go on with the graph that they began with.
//!
//! `tests/fixtures/state-N` holds what a release wrote whose journal, store and file of a run have the formats N: a state
//! file in which one run has ended and one is under way, and the latter exported. A release with other formats adds a folder:
//! `cargo test -p coditect-tests --test releases -- --ignored`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::state::EmbeddedStore;
use coditect_core::{Error, RunFilter, RunState, RuntimeBuilder};

mod stage;

use stage::{Count, Gate};

const GROW: Call<u64, Vec<u64>> = Call::new("grow");
const STEP: Call<u64, u64> = Call::new("step");
/// What the run comes to: the graph that it began with has three steps.
const RESULT: [u64; 3] = [11, 12, 13];

/// Awaits what must end, in real time: files know no other.
async fn within<F: Future>(future: F) -> F::Output {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, future).await.expect("it hangs")
}

fn folder(formats: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(formats)
}

/// A runtime whose orchestrator plans so many steps. Steps from the third on wait at the gate; each is counted, and so is
/// what it does once.
fn on(state: &str, width: u64, gate: &Gate, planned: &Count, once: &Count) -> RuntimeBuilder {
    let (gate, planned, once) = (gate.clone(), planned.clone(), once.clone());
    let grow = move |_: TaskContext, from: u64| {
        planned.add();
        async move {
            let mut plan = Plan::builder();
            let steps: Vec<_> = (0..width)
                .map(|place| plan.task(format!("step-{place}"), &STEP, from + place))
                .collect();
            Ok::<_, AgentError>(plan.aggregate(collect_all(), steps)?)
        }
    };
    let step = move |context: TaskContext, x: u64| {
        let (gate, once) = (gate.clone(), once.clone());
        async move {
            let step = async || {
                once.add();
                Ok::<_, AgentError>(x + 1)
            };
            let kept = context.once("add", step).await?;
            if x == RESULT[1] {
                gate.pass().await;
            }
            Ok::<_, AgentError>(kept)
        }
    };
    let ages = Duration::from_secs(u64::from(u32::MAX));
    Runtime::builder()
        .state(state)
        .partitions(1)
        .retention(1_000, ages)
        .orchestrator(orchestrator("grow", grow))
        .agent(agent("step", step))
}

/// Waits until all but the step at the gate have ended.
async fn all_but_one(runtime: &Runtime, run: &RunHandle<Vec<u64>>, gate: &Gate) {
    within(gate.arrived(1)).await;
    let kept = async {
        // Its events end with the run alone.
        while runtime
            .journal()
            .load(run.id())
            .await
            .expect("read")
            .expect("known")
            .tail
            .len()
            < 8
        {
            tokio::task::yield_now().await;
        }
    };
    within(kept).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes the fixture of this release"]
async fn write_the_fixture_of_this_release() -> Result<(), Error> {
    let to = folder("state-1");
    fs::create_dir_all(&to).expect("a folder");
    let path = to.join("runs.redb");
    let state = format!("file:{}", path.display());
    let (gate, open, count) = (Gate::new(), Gate::new(), Count::default());
    open.open(10);
    let before = on(&state, 3, &open, &count, &count).start().await?;
    let ended = before
        .submit(&GROW, RESULT[0] - 1)
        .label("kind", "ended")
        .await?;
    assert_eq!(within(ended.result()).await?, RESULT);
    before.shutdown().await?;
    drop((ended, before));
    let runtime = on(&state, 3, &gate, &count, &count).start().await?;
    let run = runtime
        .submit(&GROW, RESULT[0] - 1)
        .label("kind", "open")
        .await?;
    all_but_one(&runtime, &run, &gate).await;
    fs::write(to.join("open.jsonl"), runtime.export(run.id()).await?).expect("written");
    // Shut down, it would wait for the step.
    drop((run, runtime));
    let store = async {
        loop {
            match EmbeddedStore::open(&path).await {
                Ok(store) => return store,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let store = within(store).await;
    store.compact().await?;
    Ok(store.close().await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_file_of_an_earlier_release_goes_on() -> Result<(), Error> {
    let here = tempfile::tempdir().expect("a folder");
    let path = here.path().join("runs.redb");
    fs::copy(folder("state-1").join("runs.redb"), &path).expect("copied");
    let state = format!("file:{}", path.display());
    let (gate, planned, once) = (Gate::new(), Count::default(), Count::default());
    gate.open(10);
    let runtime = on(&state, 99, &gate, &planned, &once).start().await?;
    let of = async |kind: &str| {
        let label = Some(("kind".to_owned(), kind.to_owned()));
        let filter = RunFilter {
            label,
            ..RunFilter::default()
        };
        runtime.runs(filter).await.expect("a list").remove(0)
    };
    let ended = of("ended").await;
    assert_eq!(ended.state, RunState::Succeeded);
    assert_eq!(
        within(runtime.attach::<Vec<u64>>(ended.run).result()).await?,
        RESULT
    );
    let open = of("open").await.run;
    assert_eq!(
        within(runtime.attach::<Vec<u64>>(open).result()).await?,
        RESULT
    );
    assert_eq!(planned.get(), 0, "its graph is the one that it began with");
    assert_eq!(once.get(), 0, "steps that were done are not done again");
    within(runtime.shutdown()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_an_earlier_release_exported_goes_on() -> Result<(), Error> {
    let file = fs::read(folder("state-1").join("open.jsonl"))
        .expect("a file")
        .into();
    let (gate, planned, once) = (Gate::new(), Count::default(), Count::default());
    gate.open(10);
    let runtime = on("memory:", 99, &gate, &planned, &once).start().await?;
    let run = runtime.import(&file).await?;
    assert_eq!(
        within(runtime.attach::<Vec<u64>>(run).result()).await?,
        RESULT
    );
    assert_eq!((planned.get(), once.get()), (0, 0));
    within(runtime.shutdown()).await
}
