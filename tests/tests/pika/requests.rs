//! Requests in both directions.

use coditect_core::{ErrorKind, FailureKind};

use super::python::Python;
use super::*;

async fn triple(url: String) -> Runtime {
    let triple = agent("triple", async |x: u64| Ok::<_, AgentError>(3 * x));
    let builder = Runtime::builder().bus(url).worker_only();
    builder.agent(triple).start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rust_agent_answers_python_and_says_what_is_wrong_with_a_question() {
    let Some(vhost) = vhost().await else { return };
    let runtime = triple(vhost.url()).await;
    let (clean, said) = Python::start("asker.py", &[&vhost.url()]).ends().await;
    assert!(clean, "{said:?}");
    let wanted = [
        "answer 42",
        "another type invalid_input",
        "garbage invalid_input",
        "nobody unserved",
    ];
    assert_eq!(said, wanted);
    runtime.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_run_as_they_say() {
    let Some(vhost) = vhost().await else { return };
    let agent = Python::example("agent.py", &[&vhost.url()]);
    let runtime = coordinator(vhost.url()).await;
    let count = Call::<&str, u64>::new("count-words");
    let words = within(runtime.run(&count, "to be or not to be")).await;
    assert_eq!(words.unwrap(), 6);
    let asked = [&*vhost.url(), "count-words@^1", "\"that is the question\""];
    let (clean, said) = Python::example("ask.py", &asked).ends().await;
    assert!(clean);
    assert_eq!(said, ["4"]);
    agent.terminate().await;
    assert!(agent.ends().await.0);
    runtime.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_in_python_answers_rust() {
    let Some(vhost) = vhost().await else { return };
    let url = vhost.url();
    let mut worker = Python::start("worker.py", &[&url]);
    let runtime = coordinator(url.clone()).await;
    worker.says("ready").await;
    let ask = async |name: &'static str| {
        let call = Call::<u64, u64>::new(name);
        within(runtime.request(&call, 21).into_future()).await
    };
    assert_eq!(ask("double").await.unwrap(), 42);
    let error = ask("rotten").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert_eq!(error.failure().unwrap().kind, FailureKind::Permanent);
    assert_eq!(
        ask("nobody").await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    runtime.shutdown().await.unwrap();
}
