//! Requests with somebody else to ask: when that one is asked, and when not.

use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Error, ErrorKind, FailureKind};

use crate::stage::{Count, Shared, within};

const NEW: Call<u64, u64> = Call::new("work@^2");
const OLD: Call<u64, u64> = Call::new("work@^1");
const OTHER: Call<u64, u64> = Call::new("guess");

fn old(calls: &Count) -> impl Agent {
    let calls = calls.clone();
    let work = move |x: u64| {
        calls.add();
        async move { Ok::<_, AgentError>(x + 100) }
    };
    agent("work@1.3.0", work).with_name("old")
}

fn failing(error: fn() -> AgentError) -> impl Agent {
    let work = move |_: u64| async move { Err::<u64, _>(error()) };
    agent("work@2.0.0", work).with_name("new")
}

#[tokio::test(start_paused = true)]
async fn another_is_asked_where_this_one_cannot_be_had() -> Result<(), Error> {
    let (shared, calls) = (Shared::new(), Count::default());
    let worker = shared
        .runtime()
        .worker_only()
        .agent(old(&calls))
        .start()
        .await?;
    let asker = shared.runtime().worker_only().start().await?;
    while asker.agents().is_empty() {
        within(asker.agents().changed()).await;
    }
    let ask = || asker.request(&NEW, 1).fallback(&OTHER).fallback(&OLD);
    // Nobody offers the others.
    assert_eq!(within(ask().into_future()).await?, 101);
    // Its agent says that it might do it the next time.
    let passing = failing(|| AgentError::retryable("out of memory"));
    let new = shared
        .runtime()
        .worker_only()
        .agent(passing)
        .start()
        .await?;
    while asker.agents().len() < 2 {
        within(asker.agents().changed()).await;
    }
    assert_eq!(within(ask().into_future()).await?, 101);
    assert_eq!(calls.get(), 2);
    new.shutdown().await?;
    worker.shutdown().await?;
    asker.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn one_that_is_left_alone_is_passed_over() -> Result<(), Error> {
    let calls = Count::default();
    let runtime = Runtime::builder()
        .agent(old(&calls))
        .agent(failing(|| AgentError::retryable("out of memory")))
        .start()
        .await?;
    runtime.breaker("new", "work")?.force_open();
    assert_eq!(runtime.request(&NEW, 1).fallback(&OLD).await?, 101);
    let alone = runtime
        .request(&NEW, 1)
        .await
        .expect_err("it is left alone");
    assert_eq!(alone.kind(), ErrorKind::Unavailable);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_the_input_is_an_answer_and_the_last_one_counts() -> Result<(), Error> {
    let calls = Count::default();
    let runtime = Runtime::builder()
        .agent(old(&calls))
        .agent(failing(|| {
            AgentError::permanent("not a number that I like")
        }))
        .start()
        .await?;
    let refused = runtime.request(&NEW, 1).fallback(&OLD).await;
    let refused = refused.expect_err("it was answered");
    let failure = refused.failure().expect("what the agent says");
    assert_eq!(failure.kind, FailureKind::Permanent);
    assert_eq!(calls.get(), 0);
    let nobody = runtime
        .request(&OTHER, 1)
        .fallback(&call::<u64, _>("nothing"));
    let nobody = nobody.deadline(Duration::from_secs(1)).await.unwrap_err();
    assert!(nobody.to_string().contains("`nothing`"), "{nobody}");
    let wrong = runtime
        .request(&OTHER, 1)
        .fallback(&call::<u64, _>("no name!"));
    let wrong = wrong.deadline(Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Invalid);
    runtime.shutdown().await
}
