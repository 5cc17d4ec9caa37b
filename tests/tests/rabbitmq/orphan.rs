//! Workers whose coordinator is dead, and processes that are told to end while there is no broker.

use std::time::Duration;

use coditect_core::bus::{DeadLetterReason, MessageBus, RabbitMqBus};
use coditect_harness::{RabbitMq, required};

use crate::place::{queue, set_aside, vhost};
use crate::process::{Ledger, Process, until};

const WAIT: &str = "capability.wait.v1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_for_a_dead_coordinator_is_set_aside_with_its_reason() {
    let Some(vhost) = vhost().await else { return };
    let ledger = Ledger::new();
    let worker = Process::worker(&vhost.url(), &ledger).await;
    let mut coordinator = Process::coordinator(&vhost.url(), &ledger).await;
    until("its tasks are worked on", async || {
        ledger.count("wait ") == 2
    })
    .await;
    coordinator.kill().await;
    until("its outcome queue is gone", async || {
        let queues = vhost.queues().await.unwrap();
        !queues
            .iter()
            .any(|queue| queue.starts_with("coditect.outcome.") && !queue.contains(".dead."))
    })
    .await;
    ledger.go();
    let bus = RabbitMqBus::connect(vhost.url()).await.unwrap();
    let letters = set_aside(&bus, &queue(WAIT), 2).await;
    for letter in letters {
        let DeadLetterReason::Rejected(words) = &letter.reason else {
            panic!("{:?}", letter.reason)
        };
        assert!(words.contains("nobody takes its outcome"), "{words}");
    }
    assert_eq!(worker.count("wait "), 2, "each was done once");
    bus.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_end_in_time_while_there_is_no_broker() {
    let Some(broker) = required(RabbitMq::private(&[])).await else {
        return;
    };
    let ledger = Ledger::new();
    let mut worker = Process::worker(&broker.url(), &ledger).await;
    let mut coordinator = Process::coordinator(&broker.url(), &ledger).await;
    until("its tasks are worked on", async || {
        ledger.count("wait ") == 2
    })
    .await;
    broker.kill().await.unwrap();
    let soon = Duration::from_secs(15);
    for process in [&mut worker, &mut coordinator] {
        process.signal("INT").await;
        // Whether it could end in order is another question.
        process.ended(soon).await;
    }
}
