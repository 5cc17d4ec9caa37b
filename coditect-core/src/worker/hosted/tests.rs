//! Tests of who is woken when for the slots of an agent.

use std::time::Duration;

use coditect_resilience::{Backoff, BreakerPolicy, SplitMix};
use futures::FutureExt;

use super::*;
use crate::agent::{AgentError, TypedAgent, agent};

#[tokio::test(start_paused = true)]
async fn whoever_finds_no_slot_for_a_probe_wakes_nobody() {
    let breaker = BreakerPolicy::builder()
        .consecutive_failures(1)
        .open_for(Backoff::constant(Duration::from_millis(10)))
        .build()
        .unwrap();
    let echo = agent("echo", async |text: String| Ok::<_, AgentError>(text));
    let echo = echo.with_breaker(breaker).with_concurrency(1);
    let mut board = GuardBoard::new(Vec::new(), SplitMix::from_seed(1));
    let hosted = Hosted::new(Arc::new(TypedAgent(echo)), &mut board).unwrap();
    let hosted = Arc::new(hosted);
    let breaker = hosted.guard(0).breaker().unwrap();
    breaker.acquire().unwrap().failure();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(hosted.guard(0).admits(), "a probe would be let through");

    let slot = hosted.slot().await;
    let waiting = Arc::new(Notify::new());
    hosted.notify_free(0, &waiting);
    assert!(hosted.try_work(0).is_none(), "the slot is taken");
    assert!(waiting.notified().now_or_never().is_none());

    drop(slot);
    assert!(waiting.notified().now_or_never().is_some());
    assert!(hosted.try_work(0).is_some());
}
