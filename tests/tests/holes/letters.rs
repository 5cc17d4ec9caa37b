//! Tasks that the broker sets aside, and that somebody puts back.

use coditect_core::bus::DeadLetterFilter;
use coditect_core::{Attempt, Error};
use serde_json::json;

use crate::stage::{Shared, within};
use crate::{Hand, WORK, history, log};

#[tokio::test(start_paused = true)]
async fn a_task_message_dead_lettered_by_the_broker_is_a_lost_attempt_and_another_follows()
-> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let mut hand = Hand::start(&shared).await;
    let runtime = shared.runtime().start().await?;
    let run = runtime.submit(&WORK, 1).await?;
    let task = hand.next(1).await;
    task.reject("it cannot be read").await?;
    let task = hand.next(2).await;
    hand.say(run.id(), 0, 2, json!({ "output": 2 })).await;
    task.ack().await?;
    assert_eq!(within(run.result()).await?, 2);
    let attempts = vec![Attempt::FIRST, Attempt::new(2)];
    assert_eq!(history(&shared, run.id()).await, (attempts, 1, 1));
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_redriven_stale_attempt_changes_nothing() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let mut hand = Hand::start(&shared).await;
    let runtime = shared.runtime().start().await?;
    let run = runtime.submit(&WORK, 1).await?;
    let stale = hand.next(1).await;
    stale.reject("it cannot be read").await?;
    let current = hand.next(2).await;
    let before = log(&shared, run.id()).await;
    let all = DeadLetterFilter::default();
    assert_eq!(shared.bus.redrive(&hand.queue, &all).await?, 1);
    let stale = hand.next(1).await;
    hand.tell(run.id(), 0, 1, json!({ "output": 100 })).await;
    stale.ack().await?;
    assert_eq!(log(&shared, run.id()).await, before);
    hand.tell(run.id(), 0, 2, json!({ "output": 2 })).await;
    current.ack().await?;
    assert_eq!(within(run.result()).await?, 2);
    runtime.shutdown().await
}
