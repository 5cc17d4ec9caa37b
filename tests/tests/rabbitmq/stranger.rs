//! What strangers put into our queues, and queues that they have made under our names.

use std::time::Duration;

use coditect_core::bus::{
    DeadLetter, DeadLetterReason, MessageBus, QueueKind, QueueSpec, RabbitMqBus, Subscription,
};
use coditect_core::prelude::*;
use coditect_core::{ErrorKind, FailureKind};
use coditect_harness::Vhost;
use serde_json::json;

use crate::place::{
    Gate, QUEUE, WORK, at_broker, coordinator, failure, numbers, queue, runtime, set_aside, vhost,
    within, work, worker,
};
use crate::process::until;

/// The reason that was given for setting a message aside.
fn words(letter: &DeadLetter) -> &str {
    match &letter.reason {
        DeadLetterReason::Rejected(words) => words,
        other => panic!("{other:?}"),
    }
}

async fn shut_down(runtimes: impl IntoIterator<Item = Runtime>) {
    for runtime in runtimes {
        within(runtime.shutdown()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_task_is_set_aside_with_its_reason_and_work_goes_on() {
    let Some(vhost) = vhost().await else { return };
    let worker = worker(&vhost, 4, &Gate::open()).await;
    let coordinator = coordinator(&vhost).await;
    let at = at_broker(QUEUE, 1);
    let newer = json!({
        "headers": {
            "coditect-kind": "task",
            "coditect-run": "0192d3c0-7a5e-7cc3-98c4-dc0c0c07398f",
            "coditect-task": "beyond/7",
            "coditect-attempt": "1",
        },
        "reply_to": "outcome.0",
    });
    let cases = [
        (json!({}), &[0_u8, 255, 7][..], "kind None"),
        (
            json!({"headers": {"coditect-kind": "riddle"}}),
            b"{}",
            "riddle",
        ),
        (
            json!({"headers": {"coditect-kind": "task"}}),
            b"1",
            "coditect-run",
        ),
        (newer, b"1", "coditect-task"),
    ];
    for (properties, payload, _) in &cases {
        vhost
            .publish(&at, properties.clone(), payload)
            .await
            .unwrap();
    }
    let run = coordinator.submit_plan(numbers(20)).await.unwrap();
    assert_eq!(within(run.result()).await.unwrap().len(), 20);
    let letters = set_aside(&**worker.bus(), &queue(QUEUE), cases.len()).await;
    for (_, _, reason) in cases {
        let told = letters.iter().any(|letter| words(letter).contains(reason));
        assert!(told, "{reason}: {letters:?}");
    }
    shut_down([coordinator, worker]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_outcome_is_set_aside_with_its_reason_and_the_run_goes_on() {
    let Some(vhost) = vhost().await else { return };
    let gate = Gate::closed();
    let worker = worker(&vhost, 4, &gate).await;
    let coordinator = coordinator(&vhost).await;
    let run = coordinator.submit_plan(numbers(8)).await.unwrap();
    gate.has_begun(4).await;
    let (at, name) = outcome_queue(&vhost).await;
    let stray = br#"{"run":"0192d3c0-7a5e-7cc3-98c4-dc0c0c07398f","task":0,"attempt":1,"outcome":{"output":1}}"#;
    let headers = json!({"headers": {"coditect-kind": "outcome"}});
    vhost.publish(&at, json!({}), &[0, 255, 7]).await.unwrap();
    vhost
        .publish(&at, headers.clone(), b"{\"run\": 7}")
        .await
        .unwrap();
    // Of a run that nobody knows: it is done with.
    vhost.publish(&at, headers, stray).await.unwrap();
    gate.let_through(8);
    assert_eq!(within(run.result()).await.unwrap().len(), 8);
    let letters = set_aside(&**coordinator.bus(), &queue(&name), 2).await;
    for letter in &letters {
        assert!(words(letter).contains("does not decode"), "{letter:?}");
    }
    until("the stray outcome is gone", async || {
        vhost.depth(&at).await.unwrap() == 0
    })
    .await;
    shut_down([coordinator, worker]).await;
}

/// The only outcome queue that there is: at the broker, and on the bus.
async fn outcome_queue(vhost: &Vhost<'_>) -> (String, String) {
    let queues = vhost.queues().await.unwrap();
    let mut outcomes = queues.iter().filter_map(|at| {
        let name = at.strip_prefix("coditect.")?.strip_suffix(".p1.v1")?;
        name.starts_with("outcome.")
            .then(|| (at.clone(), name.to_owned()))
    });
    outcomes.next().expect("an outcome queue")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_on_the_control_fanout_is_survived_and_cancels_get_through() {
    let Some(vhost) = vhost().await else { return };
    let gate = Gate::closed();
    let worker = worker(&vhost, 4, &gate).await;
    let coordinator = coordinator(&vhost).await;
    let run = coordinator.submit_plan(numbers(4)).await.unwrap();
    gate.has_begun(4).await;
    for payload in [
        &[0_u8, 255, 7][..],
        b"{}",
        b"{\"owner\": \"\", \"token\": -1}",
        b"[[[[",
    ] {
        let path = format!(
            "/api/exchanges/{}/coditect.fanout.p1.v1/publish",
            vhost.name()
        );
        let body = json!({
            "properties": {}, "routing_key": "control", "payload_encoding": "string",
            "payload": String::from_utf8_lossy(payload),
        });
        let answer = vhost.broker().manage("POST", &path, Some(&body)).await;
        assert_eq!(answer.unwrap()["routed"], json!(true));
    }
    run.cancel("enough").await.unwrap();
    let told = failure(within(run.result()).await);
    assert_eq!(told.kind, FailureKind::Cancelled);
    // Only a cancel that has got through ends these handlers.
    within(worker.shutdown())
        .await
        .expect("its handlers have ended");
    within(coordinator.shutdown()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_does_not_start_on_a_queue_that_somebody_made_differently() {
    let Some(vhost) = vhost().await else { return };
    let theirs = json!({"x-queue-type": "classic", "x-max-length": 7});
    vhost
        .declare_queue(&at_broker(QUEUE, 0), theirs)
        .await
        .unwrap();
    let builder = runtime(vhost.url()).worker_only();
    let started = builder.agent(work(1, &Gate::open())).start();
    let error = within(started).await.expect_err("it starts");
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
    assert!(
        text.contains(QUEUE) && text.contains("other arguments"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_fails_with_its_reason_where_its_queue_was_made_differently() {
    let Some(vhost) = vhost().await else { return };
    // Somebody who was told to use queues of another kind.
    let builder = RabbitMqBus::builder(vhost.url()).with_queue_kind(QueueKind::Classic);
    let theirs = builder.connect().await.unwrap();
    theirs.declare(QueueSpec::new(queue(QUEUE))).await.unwrap();
    let _consumer = theirs
        .subscribe(Subscription::queue(queue(QUEUE)))
        .await
        .unwrap();
    let coordinator = coordinator(&vhost).await;
    let run = coordinator.submit(&WORK, 1).await.unwrap();
    let told = failure(within(run.result()).await);
    let text = told.to_string();
    assert!(
        text.contains(QUEUE) && text.contains("other arguments"),
        "{text}"
    );
    within(coordinator.shutdown()).await.unwrap();
    theirs.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_somebody_replaces_is_used_again_when_they_take_theirs_away() {
    let Some(vhost) = vhost().await else { return };
    let worker = worker(&vhost, 4, &Gate::open()).await;
    let coordinator = coordinator(&vhost).await;
    assert_eq!(within(coordinator.run(&WORK, 1)).await.unwrap(), 1);
    for priority in 0..3 {
        vhost
            .delete_queue(&at_broker(QUEUE, priority))
            .await
            .unwrap();
    }
    let theirs = json!({"x-queue-type": "classic", "x-max-length": 7});
    until("they are quicker than the worker", async || {
        // It declares its queues in this order, and might have been the first.
        let _ = vhost.delete_queue(&at_broker(QUEUE, 0)).await;
        vhost
            .declare_queue(&at_broker(QUEUE, 0), theirs.clone())
            .await
            .is_ok()
    })
    .await;
    let run = coordinator
        .submit(&WORK, 2)
        .deadline(Duration::from_secs(5))
        .await
        .unwrap();
    let told = failure(within(run.result()).await);
    assert!(
        matches!(
            told.kind,
            FailureKind::Permanent | FailureKind::DeadlineExceeded
        ),
        "{told:?}"
    );
    vhost.delete_queue(&at_broker(QUEUE, 0)).await.unwrap();
    assert_eq!(within(coordinator.run(&WORK, 3)).await.unwrap(), 3);
    shut_down([coordinator, worker]).await;
}
