//! The holes that the design closes, one test each, and results that change nothing.
//!
//! The tests are the worker: they take tasks from the queue and tell outcomes as [the wire's page](../../docs/wire.md) says, so
//! that nothing happens in between. What of it happens to real workers, at random points and on real servers, is in
//! `simulation`, `kills`, `takeover` and `rabbitmq`.
//!
//! | hole | test | and |
//! |---|---|---|
//! | an outcome confirmed while its coordinator was dead | [`coordinator`] | `takeover` |
//! | a coordinator killed between append and publish | [`coordinator`] | `simulation` |
//! | a coordinator killed between publish and confirm | [`coordinator`] | `simulation` |
//! | a task message dead-lettered by the broker | [`letters`] | `takeover` |
//! | a redriven stale attempt | [`letters`] | |
//! | an irreversible task whose worker vanished after its claim | [`claim`] | `effects` |
//! | a parent waiting for a child with every slot taken | [`nested`] | `life`, `trouble` |
//! | a late, doubled or forged result | [`results`] | the scheduler's own tests |

#[path = "holes/claim.rs"]
mod claim;
#[path = "holes/coordinator.rs"]
mod coordinator;
#[path = "holes/letters.rs"]
mod letters;
#[path = "holes/nested.rs"]
mod nested;
#[path = "holes/results.rs"]
mod results;

mod stage;

use std::time::Duration;

use coditect_core::bus::{
    Consumer, Delivery, Destination, Envelope, QueueName, QueueSpec, Subscription,
};
use coditect_core::dag::journal::{Record, RecordKind};
use coditect_core::prelude::*;
use coditect_core::registry::{AgentRecord, Capability, Incarnation, Registration};
use coditect_core::{Attempt, RunId};
use serde_json::{Value, json};

use stage::{Shared, within};

const WORK: Call<u64, u64> = Call::new("work");

/// An agent whose every move the test makes.
struct Hand {
    shared: Shared,
    queue: QueueName,
    tasks: Consumer,
    _registration: Registration,
}

impl Hand {
    async fn start(shared: &Shared) -> Self {
        let version = "1.0.0".parse().expect("a version");
        let capability = Capability::new("work", version).expect("a capability");
        let record = AgentRecord::new("by-hand".parse().expect("an id"), Incarnation::fresh())
            .with_capabilities([capability]);
        let queue = QueueName::for_capability("work.v1").expect("a queue");
        let declared = shared.bus.declare(QueueSpec::new(queue.clone())).await;
        declared.expect("declared");
        let tasks = Subscription::queue(queue.clone());
        let tasks = shared.bus.subscribe(tasks).await.expect("subscribed");
        let lease = Duration::from_secs(7_200);
        let registration = shared.registry.register(record, lease).await;
        Self {
            shared: shared.clone(),
            queue,
            tasks,
            _registration: registration.expect("registered"),
        }
    }

    /// The next task, which is this attempt.
    async fn next(&mut self, attempt: u32) -> Delivery {
        let task = within(self.tasks.recv()).await.expect("the bus is open");
        assert_eq!(header(&task, "coditect-attempt"), attempt.to_string());
        task
    }

    /// Says that nothing comes for a long time.
    async fn nothing_comes(&mut self) {
        let long = Duration::from_secs(600);
        let came = tokio::time::timeout(long, self.tasks.recv()).await;
        assert!(came.is_err(), "{came:?}");
    }

    /// Tells what came of an attempt, and waits until its owner has taken that in.
    async fn tell(&self, run: RunId, task: u32, attempt: u32, outcome: Value) {
        self.say(run, task, attempt, outcome).await;
        self.is_heard().await;
    }

    /// Tells what came of an attempt; returns once the bus has it.
    async fn say(&self, run: RunId, task: u32, attempt: u32, outcome: Value) {
        let body = json!({ "run": run, "task": task, "attempt": attempt, "outcome": outcome });
        self.send("outcome", &body).await;
    }

    async fn send(&self, kind: &'static str, body: &Value) {
        let envelope = Envelope::json(body).expect("JSON");
        self.publish(envelope.with_header("coditect-kind", kind))
            .await;
    }

    async fn publish(&self, envelope: Envelope) {
        let to = Destination::Queue(outcomes());
        let published = self.shared.bus.publish(&to, envelope).await;
        published.expect("published");
    }

    /// Waits until nothing waits for the owner.
    async fn is_heard(&self) {
        within(async {
            loop {
                let stats = self.shared.bus.stats(&outcomes()).await.expect("declared");
                if stats.ready() + stats.delayed + stats.unacked == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
    }
}

/// Where outcomes go: the journals of these tests have one partition.
fn outcomes() -> QueueName {
    "outcome.0".parse().expect("a name")
}

fn header<'a>(task: &'a Delivery, name: &str) -> &'a str {
    task.envelope().header(name).expect("it is set")
}

/// All that the journal knows of a run.
async fn log(shared: &Shared, run: RunId) -> Vec<Record> {
    let log = shared.journal.load(run).await.expect("readable");
    log.expect("the run is known").tail
}

/// The attempts that were handed out, and how often one was lost, or a task completed.
async fn history(shared: &Shared, run: RunId) -> (Vec<Attempt>, usize, usize) {
    let log = log(shared, run).await;
    let handed_out = log.iter().filter_map(|record| match record.kind {
        RecordKind::Dispatched { attempt, .. } => Some(attempt),
        _ => None,
    });
    let count = |is: fn(&RecordKind) -> bool| log.iter().filter(|one| is(&one.kind)).count();
    (
        handed_out.collect(),
        count(|kind| matches!(kind, RecordKind::Lost { .. })),
        count(|kind| matches!(kind, RecordKind::Succeeded { .. })),
    )
}
