//! Runs in a file or on Redis, by nothing but a URL.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Error, ErrorKind, RuntimeBuilder};
use coditect_harness::{Redis, required};

mod stage;

use stage::{Count, Gate, chain};

const STEP: Call<u64, u64> = Call::new("step");
const STEPS: u64 = 20;
/// The first of the steps that are held.
const HELD: u64 = 12;

/// Awaits what must end, in real time: files and servers know no other.
async fn within<F: Future>(future: F) -> F::Output {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, future).await.expect("it hangs")
}

/// An agent that counts its calls, and holds the later steps at a gate.
fn step(gate: &Gate, calls: &Count) -> impl Agent {
    let (gate, calls) = (gate.clone(), calls.clone());
    agent("step", move |x: u64| {
        let gate = gate.clone();
        calls.add();
        async move {
            if x >= HELD {
                gate.pass().await;
            }
            Ok::<_, AgentError>(x + 1)
        }
    })
}

fn chain_of_steps() -> Result<Plan<u64>, Error> {
    let mut plan = Plan::builder();
    let mut last = plan.task("step-0", &STEP, 0);
    for x in 1..STEPS {
        last = plan.task(format!("step-{x}"), &STEP, last);
    }
    plan.output(last)
}

fn on(state: &str) -> RuntimeBuilder {
    // Short, as the owner that vanished gives nothing back.
    let lease = Duration::from_millis(500);
    Runtime::builder().state(state).leases(lease, lease)
}

/// Begins a run, drops its runtime in the middle, and goes on in another one.
async fn goes_on_where_it_was(state: &str) -> Result<(), Error> {
    let (before, after) = (Gate::new(), Gate::new());
    let (first, second) = (Count::default(), Count::default());
    let runtime = on(state).agent(step(&before, &first)).start().await?;
    let run = runtime.submit_plan(chain_of_steps()?).await?.id();
    within(before.arrived(1)).await;
    drop(runtime);
    assert_eq!(first.get() as u64, HELD + 1);

    after.open(STEPS as usize);
    // What was dropped lets go of the file when its last task has noticed.
    let again = async {
        loop {
            match on(state).agent(step(&after, &second)).start().await {
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    tokio::task::yield_now().await;
                }
                started => return started,
            }
        }
    };
    let runtime = within(again).await?;
    assert_eq!(within(runtime.attach::<u64>(run).result()).await?, STEPS);
    assert_eq!(
        second.get() as u64,
        STEPS - HELD,
        "no step is done again that had ended"
    );
    within(runtime.shutdown()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_in_a_file_goes_on_in_the_next_process() -> Result<(), Error> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("runs.redb");
    goes_on_where_it_was(&format!("file:{}", path.display())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_on_redis_goes_on_in_the_next_process() -> Result<(), Error> {
    let Some(redis) = required(Redis::start()).await else {
        return Ok(());
    };
    redis
        .cli(&["config", "set", "appendonly", "yes"])
        .await
        .expect("set");
    goes_on_where_it_was(&redis.url()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_is_free_as_soon_as_its_runtime_has_ended_and_is_dropped() -> Result<(), Error> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("runs.redb");
    let url = format!("file:{}", path.display());
    let (gate, calls) = (Gate::new(), Count::default());
    gate.open(10 * STEPS as usize);
    for _ in 0..10 {
        let runtime = on(&url).agent(step(&gate, &calls)).start().await?;
        let run = runtime.submit_plan(chain_of_steps()?).await?;
        within(run.result()).await?;
        drop(run);
        within(runtime.shutdown()).await?;
        drop(runtime);
        let file = std::fs::File::open(&path).expect("the file");
        file.try_lock().expect("nobody has it any more");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_in_use_or_cannot_be_opened_is_told_with_its_name() -> Result<(), Error> {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("file://{}", folder.path().join("runs.redb").display());
    let runtime = on(&url).start().await?;
    let error = on(&url).start().await.expect_err("the file is in use");
    assert!(chain(&error).contains("runs.redb"), "{}", chain(&error));
    runtime.shutdown().await?;
    drop(runtime);
    on(&url).start().await?.shutdown().await?;

    std::fs::write(folder.path().join("notes.txt"), "no store at all").expect("written");
    for (name, kind) in [
        ("file:", ErrorKind::Invalid),
        ("file:/no/such/folder/runs.redb", ErrorKind::Invalid),
        (
            &*format!("file:{}", folder.path().join("notes.txt").display()),
            ErrorKind::Invalid,
        ),
        ("flie:runs.redb", ErrorKind::Invalid),
    ] {
        let error = within(on(name).start()).await.expect_err("refused");
        assert_eq!(error.kind(), kind, "{}", chain(&error));
        let named = name.strip_prefix("file:").unwrap_or("flie");
        assert!(chain(&error).contains(named), "{}", chain(&error));
    }
    Ok(())
}
