//! Coordinators that die at the worst moments: nothing is lost, nothing is handed out as something else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coditect_core::bus::Envelope;
use coditect_core::{Attempt, Error};
use serde_json::json;

use crate::stage::{Gate, Meddled, Shared, within};
use crate::{Hand, WORK, header, history};

#[tokio::test(start_paused = true)]
async fn an_outcome_confirmed_while_its_coordinator_was_dead_counts() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let mut hand = Hand::start(&shared).await;
    let client = shared.runtime().worker_only().start().await?;
    let first = shared.runtime().start().await?;
    let run = client.submit(&WORK, 1).await?;
    let task = hand.next(1).await;
    drop(first);
    hand.say(run.id(), 0, 1, json!({ "output": 2 })).await;
    task.ack().await?;
    let _second = shared.runtime().start().await?;
    assert_eq!(within(run.result()).await?, 2);
    let once = (vec![Attempt::FIRST], 0, 1);
    assert_eq!(history(&shared, run.id()).await, once);
    Ok(())
}

fn is_task(envelope: &Envelope) -> bool {
    envelope.header("coditect-kind") == Some("task")
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_killed_between_append_and_publish_leaves_its_dispatch_to_the_next()
-> Result<(), Error> {
    let (held, about_to) = (Arc::new(AtomicBool::new(true)), Gate::new());
    let (holds, arrives) = (Arc::clone(&held), about_to.clone());
    let bus = Meddled::new().on_publish(move |envelope| {
        let is_held = is_task(envelope) && holds.load(Ordering::SeqCst);
        let arrives = arrives.clone();
        Box::pin(async move {
            if is_held {
                arrives.pass().await;
            }
            true
        })
    });
    let shared = Shared::on(Arc::new(bus)).with_partitions(1);
    let mut hand = Hand::start(&shared).await;
    let client = shared.runtime().worker_only().start().await?;
    let first = shared.runtime().start().await?;
    let run = client.submit(&WORK, 1).await?;
    about_to.arrived(1).await;
    let dispatched = (vec![Attempt::FIRST], 0, 0);
    assert_eq!(history(&shared, run.id()).await, dispatched);
    drop(first);
    held.store(false, Ordering::SeqCst);
    let _second = shared.runtime().start().await?;
    let task = hand.next(1).await;
    hand.say(run.id(), 0, 1, json!({ "output": 2 })).await;
    task.ack().await?;
    assert_eq!(within(run.result()).await?, 2);
    let once = (vec![Attempt::FIRST], 0, 1);
    assert_eq!(history(&shared, run.id()).await, once);
    hand.nothing_comes().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_killed_between_publish_and_confirm_lets_the_next_repeat_it_under_one_id()
-> Result<(), Error> {
    let held = Arc::new(AtomicBool::new(true));
    let holds = Arc::clone(&held);
    let bus = Meddled::new().on_confirm(move |envelope| {
        match is_task(envelope) && holds.load(Ordering::SeqCst) {
            true => Box::pin(std::future::pending()),
            false => Box::pin(std::future::ready(())),
        }
    });
    let shared = Shared::on(Arc::new(bus)).with_partitions(1);
    let mut hand = Hand::start(&shared).await;
    let client = shared.runtime().worker_only().start().await?;
    let first = shared.runtime().start().await?;
    let run = client.submit(&WORK, 1).await?;
    let task = hand.next(1).await;
    drop(first);
    held.store(false, Ordering::SeqCst);
    let _second = shared.runtime().start().await?;
    let again = hand.next(1).await;
    assert_eq!(task.envelope().id(), again.envelope().id());
    assert_eq!(
        header(&task, "coditect-run"),
        header(&again, "coditect-run")
    );
    // Both are done, and come to something else: the first that is told counts.
    hand.say(run.id(), 0, 1, json!({ "output": 2 })).await;
    hand.say(run.id(), 0, 1, json!({ "output": 3 })).await;
    task.ack().await?;
    again.ack().await?;
    assert_eq!(within(run.result()).await?, 2);
    hand.is_heard().await;
    let once = (vec![Attempt::FIRST], 0, 1);
    assert_eq!(history(&shared, run.id()).await, once);
    hand.nothing_comes().await;
    Ok(())
}
