//! Tasks of Rust runs, done in Python.

use coditect_core::{FailureKind, RunState};
use coditect_harness::Vhost;
use serde_json::{Value, json};

use super::python::Python;
use super::*;

const DOUBLE: Call<u64, u64> = Call::new("double@^1.2");
const FLAKY: Call<&str, Value> = Call::new("flaky");
const ROTTEN: Call<u64, u64> = Call::new("rotten");
const LINGER: Call<u64, Value> = Call::new("linger");
const WHOSE: Call<&str, String> = Call::new("whose");
const TOTAL: Call<Vec<u64>, u64> = Call::new("total");

async fn worker(vhost: &Vhost<'_>, name: &str) -> Python {
    let mut worker = Python::start("worker.py", &[&vhost.url(), name]);
    worker.says("ready").await;
    worker
}

fn failure<T>(result: Result<T, coditect_core::Error>) -> coditect_core::Failure {
    let Err(error) = result else {
        panic!("it succeeded");
    };
    error.failure().expect("the failure of a run").clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_goes_through_python_with_its_retries_and_failures() {
    let Some(vhost) = vhost().await else { return };
    let (runtime, _worker) = tokio::join!(coordinator(vhost.url()), worker(&vhost, "one"));

    let mut plan = Plan::builder();
    let doubled = plan.task("double", &DOUBLE, 21);
    let again = plan.task("again", &DOUBLE, &doubled);
    let flaky = plan.task("flaky", &FLAKY, "x");
    plan.task("rotten", &ROTTEN, 1);
    let plan = plan.output::<(u64, Value)>((again, flaky)).unwrap();
    let plan = plan.on_failure(FailurePolicy::Continue);
    let result = within(runtime.submit_plan(plan).await.unwrap().result()).await;
    assert_eq!(result.unwrap(), (84, json!(["x", 2, true])));

    let why = failure(within(runtime.run(&ROTTEN, 1)).await);
    assert_eq!(
        (why.kind, why.message.as_str()),
        (FailureKind::Permanent, "rotten")
    );
    let why = failure(within(runtime.run(&call::<Value, Value>("double"), json!({}))).await);
    assert_eq!(why.kind, FailureKind::Error);
    assert!(why.message.starts_with("TypeError"), "{why:?}");
    let huge = call::<u64, String>("large");
    let why = failure(within(runtime.run(&huge, 2_000_000)).await);
    assert_eq!(why.kind, FailureKind::TooLarge);
    runtime.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_in_python_stops_when_its_run_is_cancelled() {
    let Some(vhost) = vhost().await else { return };
    let (runtime, mut worker) = tokio::join!(coordinator(vhost.url()), worker(&vhost, "one"));
    let run = runtime.submit(&LINGER, 1).await.unwrap();
    let mut events = run.events().await.unwrap();
    worker.says("lingers 1").await;
    let progress = async {
        while let Some(event) = events.next().await.unwrap() {
            if let RunEventKind::Progress(_, progress) = event.kind {
                return (progress.fraction, progress.message);
            }
        }
        panic!("no progress was told");
    };
    assert_eq!(within(progress).await, (0.5, "half way".to_owned()));
    run.cancel("changed my mind").await.unwrap();
    worker.says("stopped").await;
    within(run.result()).await.unwrap_err();
    assert_eq!(run.summary().await.unwrap().state, RunState::Cancelled);
    // It goes on with other work.
    assert_eq!(within(runtime.run(&DOUBLE, 4)).await.unwrap(), 8);
    runtime.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_of_the_plan_reaches_python() {
    let Some(vhost) = vhost().await else { return };
    let (runtime, mut worker) = tokio::join!(coordinator(vhost.url()), worker(&vhost, "one"));
    let mut plan = Plan::builder();
    let task = plan.task("linger", &LINGER, 1);
    plan.configure(&task, |settings| {
        let settings = settings.timeout(Duration::from_millis(300));
        settings.max_attempts(2)
    });
    let run = runtime
        .submit_plan(plan.output(task).unwrap())
        .await
        .unwrap();
    worker.says("lingers 1").await;
    worker.says("stopped").await;
    worker.says("lingers 2").await;
    let why = failure(within(run.result()).await);
    assert_eq!(why.kind, FailureKind::Timeout);
    runtime.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_task_of_a_killed_agent_is_done_by_its_successor() {
    let Some(vhost) = vhost().await else { return };
    let (runtime, mut first) = tokio::join!(coordinator(vhost.url()), worker(&vhost, "one"));
    let run = runtime.submit(&WHOSE, "one").await.unwrap();
    first.says("has 1").await;
    let mut second = worker(&vhost, "two").await;
    first.kill().await;
    second.says("has 1").await;
    assert_eq!(within(run.result()).await.unwrap(), "two");
    runtime.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_asked_to_end_finishes_what_it_has_begun_and_gives_the_rest_back() {
    let Some(vhost) = vhost().await else { return };
    let (runtime, mut first) = tokio::join!(coordinator(vhost.url()), worker(&vhost, "one"));
    // Two slots; a third task waits there, and a fourth at the broker.
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(runtime.submit(&WHOSE, "one").await.unwrap());
    }
    first.says("has 1").await;
    first.says("has 1").await;
    first.terminate().await;
    let mut second = worker(&vhost, "two").await;
    second.says("has 1").await;
    second.says("has 1").await;
    first.release().await;
    let (clean, said) = first.ends().await;
    assert!(clean, "{said:?}");
    assert!(said.iter().any(|line| line == "ended"), "{said:?}");
    let mut by = Vec::new();
    for run in runs {
        by.push(within(run.result()).await.unwrap());
    }
    by.sort();
    assert_eq!(by, ["one", "one", "two", "two"]);
    runtime.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_made_in_python_runs_on_agents_of_both_languages() {
    let Some(vhost) = vhost().await else { return };
    let total = agent("total", async |all: Vec<u64>| {
        Ok::<_, AgentError>(all.into_iter().sum::<u64>())
    });
    let other = Runtime::builder().bus(vhost.url()).worker_only();
    let other = other.agent(total).start().await.unwrap();
    let (runtime, _worker) = tokio::join!(coordinator(vhost.url()), worker(&vhost, "one"));
    let split = call::<Vec<u64>, u64>("split");
    let mut plan = Plan::builder();
    let doubled = plan.task("split", &split, vec![1, 2, 3]);
    let twice = plan.task("twice", &DOUBLE, &doubled);
    let total = plan.task("total", &TOTAL, vec![twice]);
    let run = runtime
        .submit_plan(plan.output(total).unwrap())
        .await
        .unwrap();
    assert_eq!(within(run.result()).await.unwrap(), 24);
    runtime.shutdown().await.unwrap();
    other.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_of_both_languages_share_a_queue_by_their_versions() {
    let Some(vhost) = vhost().await else { return };
    let newer = agent("double@1.9.0", async |x: u64| {
        Ok::<_, AgentError>(2 * x + 1_000)
    });
    let other = Runtime::builder().bus(vhost.url()).worker_only();
    let other = other.agent(newer).start().await.unwrap();
    let (runtime, _worker) = tokio::join!(coordinator(vhost.url()), worker(&vhost, "one"));
    for (requirement, answer) in [("double@=1.4.2", 2), ("double@^1.5", 1_002)] {
        let call = call::<u64, u64>(requirement);
        let runs = (0..20).map(|_| runtime.run(&call, 1));
        for result in within(futures::future::join_all(runs)).await {
            assert_eq!(result.unwrap(), answer, "{requirement}");
        }
    }
    runtime.shutdown().await.unwrap();
    other.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_in_python_comes_back_after_its_connections_are_cut() {
    let Some(vhost) = vhost().await else { return };
    let (runtime, mut worker) = tokio::join!(coordinator(vhost.url()), worker(&vhost, "one"));
    let run = runtime.submit(&WHOSE, "one").await.unwrap();
    worker.says("has 1").await;
    assert!(vhost.close_connections().await.unwrap() >= 4);
    // The handler is told, and the task is delivered again.
    worker.says("has 1").await;
    run.cancel("enough").await.unwrap();
    within(run.result()).await.unwrap_err();
    assert_eq!(within(runtime.run(&DOUBLE, 4)).await.unwrap(), 8);
    runtime.shutdown().await.unwrap();
}
