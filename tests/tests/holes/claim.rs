//! An irreversible task whose worker vanishes after its claim, by nothing but what the wire's page says.

use coditect_core::bus::{Consumer, Envelope, QueueName, QueueSpec, Subscription};
use coditect_core::dag::journal::RecordKind;
use coditect_core::prelude::*;
use coditect_core::{EffectClass, Error, Ruling, RunId};
use serde_json::{Value, json};

use crate::stage::{Shared, within};
use crate::{Hand, WORK, header, log};

/// Asks whether an attempt may begin, as this process; tells the answer.
async fn claim(
    hand: &Hand,
    answers: &mut Consumer,
    process: &str,
    number: u64,
    run: RunId,
) -> bool {
    let body = json!({
        "incarnation": process,
        "lease_ms": 10_000,
        "attempts": [{ "run": run, "task": 0, "attempt": 1 }],
        "claim": number,
    });
    let envelope = Envelope::json(&body).expect("JSON");
    let envelope = envelope
        .with_header("coditect-kind", "claim")
        .with_reply_to(answers.queue().clone());
    hand.publish(envelope).await;
    let answer = within(answers.recv()).await.expect("the bus is open");
    assert_eq!(header(&answer, "coditect-kind"), "grant");
    let said: Value = answer.envelope().decode().expect("JSON");
    answer.ack().await.expect("acknowledged");
    assert_eq!(said["claim"], number);
    said["granted"].as_bool().expect("said")
}

#[tokio::test(start_paused = true)]
async fn an_irreversible_task_whose_worker_vanished_after_its_claim_is_parked() -> Result<(), Error>
{
    let shared = Shared::new().with_partitions(1);
    let mut hand = Hand::start(&shared).await;
    let runtime = shared.runtime().start().await?;
    let queue = QueueName::new("reply.by-hand")?;
    shared
        .bus
        .declare(QueueSpec::temporary(queue.clone()))
        .await?;
    let mut answers = shared.bus.subscribe(Subscription::queue(queue)).await?;
    let mut plan = Plan::builder();
    let done = plan.task("work", &WORK, 1);
    plan.configure(&done, |task| task.effect(EffectClass::Irreversible));
    let run = runtime.submit_plan(plan.output(done)?).await?;
    let mut events = run.events().await?;
    let task = hand.next(1).await;
    assert_eq!(header(&task, "coditect-kind"), "irreversible-task");
    let (one, other) = (
        "0192d3c0-9c41-7d10-8a3e-5f6f2d1c0b7a",
        "0192d3c0-9c41-7d10-8a3e-5f6f2d1c0b7b",
    );
    assert!(claim(&hand, &mut answers, one, 17, run.id()).await);
    // Asked again, as the answer may be lost; no other claim is granted, of whomever.
    assert!(claim(&hand, &mut answers, one, 17, run.id()).await);
    assert!(!claim(&hand, &mut answers, one, 18, run.id()).await);
    assert!(!claim(&hand, &mut answers, other, 17, run.id()).await);
    // It vanishes: neither is the message settled nor is a heartbeat sent.
    drop(task);
    let again = hand.next(1).await;
    assert!(!claim(&hand, &mut answers, other, 18, run.id()).await);
    again.ack().await?;
    while let Some(event) = within(events.next()).await? {
        if let RunEventKind::Parked(..) = event.kind {
            break;
        }
    }
    hand.nothing_comes().await;
    let parked = log(&shared, run.id()).await;
    let lost = |kind: &RecordKind| matches!(kind, RecordKind::Lost { .. });
    assert!(!parked.iter().any(|record| lost(&record.kind)));
    run.rule("work", Ruling::retry("ann")).await?;
    let task = hand.next(2).await;
    // What the first would tell now is late.
    hand.tell(run.id(), 0, 1, json!({ "output": 100 })).await;
    hand.tell(run.id(), 0, 2, json!({ "output": 2 })).await;
    task.ack().await?;
    assert_eq!(within(run.result()).await?, 2);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_granted_and_not_begun_is_given_back() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let mut hand = Hand::start(&shared).await;
    let runtime = shared.runtime().start().await?;
    let queue = QueueName::new("reply.by-hand")?;
    shared
        .bus
        .declare(QueueSpec::temporary(queue.clone()))
        .await?;
    let mut answers = shared.bus.subscribe(Subscription::queue(queue)).await?;
    let run = runtime.submit(&WORK, 1).await?;
    let task = hand.next(1).await;
    let one = "0192d3c0-9c41-7d10-8a3e-5f6f2d1c0b7a";
    assert!(claim(&hand, &mut answers, one, 1, run.id()).await);
    let release = |claim: Option<u64>| {
        let mut body = json!({
            "incarnation": one,
            "lease_ms": 10_000,
            "attempts": [{ "run": run.id(), "task": 0, "attempt": 1 }],
        });
        body["claim"] = json!(claim);
        body
    };
    // Other claims, and copies that were not claimed, say nothing of this one.
    for other in [None, Some(2)] {
        let before = log(&shared, run.id()).await;
        hand.send("release", &release(other)).await;
        hand.is_heard().await;
        assert_eq!(log(&shared, run.id()).await, before);
    }
    hand.send("release", &release(Some(1))).await;
    task.ack().await?;
    let task = hand.next(2).await;
    hand.tell(run.id(), 0, 2, json!({ "output": 2 })).await;
    task.ack().await?;
    assert_eq!(within(run.result()).await?, 2);
    let report = run.report().await?;
    assert!(!report.tasks[0].by_person);
    runtime.shutdown().await
}
