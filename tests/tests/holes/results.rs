//! Results that come late, twice, or were made up.

use std::time::Duration;

use coditect_core::bus::{DeadLetterFilter, Envelope, Page};
use coditect_core::prelude::*;
use coditect_core::{Attempt, Error, RunId};
use serde_json::json;

use crate::stage::{Shared, within};
use crate::{Hand, WORK, history, log, outcomes};

#[tokio::test(start_paused = true)]
async fn a_late_result_changes_nothing() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let mut hand = Hand::start(&shared).await;
    let runtime = shared.runtime().start().await?;
    let run = runtime.submit(&WORK, 1).await?;
    let task = hand.next(1).await;
    let busy = json!({ "failure": { "failure": { "kind": "error", "message": "busy" } } });
    hand.tell(run.id(), 0, 1, busy.clone()).await;
    task.ack().await?;
    let task = hand.next(2).await;
    let before = log(&shared, run.id()).await;
    for late in [json!({ "output": 100 }), busy.clone()] {
        hand.tell(run.id(), 0, 1, late).await;
        assert_eq!(log(&shared, run.id()).await, before);
    }
    hand.tell(run.id(), 0, 2, json!({ "output": 2 })).await;
    task.ack().await?;
    assert_eq!(within(run.result()).await?, 2);
    // After its end, of whichever attempt.
    let before = log(&shared, run.id()).await;
    for attempt in [1, 2] {
        hand.tell(run.id(), 0, attempt, json!({ "output": 100 }))
            .await;
        hand.tell(run.id(), 0, attempt, busy.clone()).await;
    }
    assert_eq!(log(&shared, run.id()).await, before);
    assert_eq!(run.result().await?, 2);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_doubled_result_changes_nothing() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let mut hand = Hand::start(&shared).await;
    let runtime = shared.runtime().start().await?;
    let mut plan = Plan::builder();
    let first = plan.task("first", &WORK, 1);
    let second = plan.task("second", &WORK, first);
    let run = runtime.submit_plan(plan.output(second)?).await?;
    let task = hand.next(1).await;
    let outcome = |value: u64| {
        let outcome = json!({ "output": value });
        json!({ "run": run.id(), "task": 0, "attempt": 1, "outcome": outcome })
    };
    // In one message, and in messages of their own.
    let twice = json!({ "outcomes": [outcome(2), outcome(100), outcome(2)] });
    hand.send("outcomes", &twice).await;
    for value in [2, 100] {
        hand.tell(run.id(), 0, 1, json!({ "output": value })).await;
    }
    task.ack().await?;
    let task = hand.next(1).await;
    assert_eq!(&task.envelope().payload()[..], b"2", "the first counts");
    hand.nothing_comes().await;
    hand.tell(run.id(), 1, 1, json!({ "output": 3 })).await;
    task.ack().await?;
    assert_eq!(within(run.result()).await?, 3);
    let twice = (vec![Attempt::FIRST; 2], 0, 2);
    assert_eq!(history(&shared, run.id()).await, twice);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_forged_result_changes_nothing() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let mut hand = Hand::start(&shared).await;
    let runtime = shared.runtime().start().await?;
    let run = runtime.submit(&WORK, 1).await?;
    let task = hand.next(1).await;
    let before = log(&shared, run.id()).await;
    let nobody: RunId = "0192d3c0-7a5e-7cc3-98c4-dc0c0c07398f"
        .parse()
        .expect("an id");
    let outcome = json!({ "output": 100 });
    // An attempt that was never handed out, one that is none, a task and a run that there are not.
    hand.say(run.id(), 0, 7, outcome.clone()).await;
    hand.say(run.id(), 0, 0, outcome.clone()).await;
    hand.say(run.id(), 99, 1, outcome.clone()).await;
    hand.say(nobody, 0, 1, outcome.clone()).await;
    // What is no outcome at all.
    for body in ["", "{}", "\u{0}", "[[[[", r#"{"run":1}"#] {
        let garbage = Envelope::new(body).with_header("coditect-kind", "outcome");
        hand.publish(garbage).await;
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(log(&shared, run.id()).await, before);
    hand.say(run.id(), 0, 1, json!({ "output": 2 })).await;
    task.ack().await?;
    assert_eq!(within(run.result()).await?, 2);
    let once = (vec![Attempt::FIRST], 0, 1);
    assert_eq!(history(&shared, run.id()).await, once);
    // Nothing of it waits for ever, and what cannot be read is kept for people.
    hand.is_heard().await;
    let (queue, all) = (outcomes(), DeadLetterFilter::default());
    let letters = shared.bus.dead_letters(&queue, &all, Page::default());
    let unreadable = letters.await?.letters;
    assert_eq!(unreadable.len(), 5, "{unreadable:?}");
    runtime.shutdown().await
}
