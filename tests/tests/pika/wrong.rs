//! What a careless agent does to everybody else: nothing.

use coditect_core::FailureKind;
use coditect_core::bus::{DeadLetterFilter, DeadLetterReason, Page, QueueName};

use super::python::Python;
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_outcomes_break_nothing_and_the_first_right_one_counts() {
    let Some(vhost) = vhost().await else { return };
    let triple = agent("triple", async |x: u64| Ok::<_, AgentError>(3 * x));
    let other = Runtime::builder().bus(vhost.url()).worker_only();
    let other = other.agent(triple).start().await.unwrap();
    let runtime = coordinator(vhost.url()).await;
    let mut careless = Python::start("wrong.py", &[&vhost.url()]);
    careless.says("ready").await;

    let run = runtime
        .submit(&call::<u64, String>("fumble"), 1)
        .await
        .unwrap();
    assert_eq!(within(run.result()).await.unwrap(), "first");
    careless.says("fumbled").await;
    let mumbled = within(runtime.run(&call::<u64, String>("mumble"), 1)).await;
    let why = mumbled.unwrap_err().failure().unwrap().clone();
    assert_eq!(why.kind, FailureKind::Permanent);
    assert!(why.message.contains("cannot be read"), "{why}");

    // Everybody is still at work, and what could not be read lies aside, with the reason.
    let tripled = within(runtime.run(&call::<u64, u64>("triple"), 14)).await;
    assert_eq!(tripled.unwrap(), 42);
    assert_eq!(run.result().await.unwrap(), "first");
    let queue = QueueName::new("capability.triple.v1").unwrap();
    let letters = async {
        loop {
            let filter = DeadLetterFilter::default();
            let page = runtime.bus().dead_letters(&queue, &filter, Page::default());
            let letters = page.await.unwrap().letters;
            if letters.len() == 4 {
                return letters;
            }
            tokio::task::yield_now().await;
        }
    };
    for letter in within(letters).await {
        let DeadLetterReason::Rejected(words) = &letter.reason else {
            panic!("{letter:?}");
        };
        assert!(!words.is_empty(), "{letter:?}");
    }
    runtime.shutdown().await.unwrap();
    other.shutdown().await.unwrap();
}
