//! Requests outside of runs, over the bus: what comes back when something is wrong, and who else is asked.
#![allow(
    clippy::unwrap_used,
    reason = "this is test code: a failure is a panic"
)]

#[path = "requests/fallback.rs"]
mod fallback;
#[path = "requests/given_up.rs"]
mod given_up;
#[path = "requests/hedge.rs"]
mod hedge;
#[path = "requests/standing.rs"]
mod standing;

mod stage;

use std::sync::Arc;
use std::time::Duration;

use coditect_core::bus::{MemoryBus, MessageBus};
use coditect_core::prelude::*;
use coditect_core::registry::{MemoryRegistry, Registry};
use coditect_core::{Error, ErrorKind, FailureKind};

const REPEAT: Call<usize, String> = Call::new("repeat");

/// A runtime that asks and one that answers, on a bus that takes a thousand bytes.
async fn pair() -> Result<(Runtime, Runtime), Error> {
    let bus = Arc::new(MemoryBus::builder().with_max_payload(1000).build());
    let registry = Arc::new(MemoryRegistry::new());
    let builder = || {
        Runtime::builder()
            .bus(Arc::clone(&bus) as Arc<dyn MessageBus>)
            .registry(Arc::clone(&registry) as Arc<dyn Registry>)
    };
    let repeat = async |count: usize| Ok::<_, AgentError>("x".repeat(count));
    let answers = builder().agent(agent("repeat", repeat)).start().await?;
    let asks = builder().start().await?;
    Ok((asks, answers))
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_the_bus_does_not_take_is_a_failure_at_once() -> Result<(), Error> {
    let (asks, answers) = pair().await?;
    let asked = tokio::time::Instant::now();
    assert_eq!(asks.request(&REPEAT, 3).await?, "xxx");
    let error = asks.request(&REPEAT, 2000).await.expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let failure = error.failure().expect("what the worker says");
    assert_eq!(failure.kind, FailureKind::TooLarge, "{failure}");
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "nobody waits in vain"
    );
    assert_eq!(asks.request(&REPEAT, 1).await?, "x", "the agent goes on");
    asks.shutdown().await?;
    answers.shutdown().await
}
