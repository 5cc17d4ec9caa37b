//! Outcomes that this release cannot read: the attempt has ended all the same.

use std::time::Duration;

use coditect_core::bus::{
    Consumer, Delivery, Destination, Envelope, QueueName, QueueSpec, Subscription,
};
use coditect_core::prelude::*;
use coditect_core::registry::{AgentRecord, Capability, Incarnation, Registration};
use coditect_core::{Error, FailureKind, RunId};
use serde_json::{Value, json};

use crate::stage::{Shared, failure, within};

const FOREIGN: Call<u64, u64> = Call::new("foreign");

/// An agent of another release.
struct Foreign {
    shared: Shared,
    tasks: Consumer,
    _registration: Registration,
}

impl Foreign {
    async fn start(shared: &Shared) -> Self {
        let version = "1.0.0".parse().expect("a version");
        let capability = Capability::new("foreign", version).expect("a capability");
        let record = AgentRecord::new("foreign".parse().expect("an id"), Incarnation::fresh())
            .with_capabilities([capability]);
        let queue = QueueName::for_capability("foreign.v1").expect("a queue");
        let declared = shared.bus.declare(QueueSpec::new(queue.clone())).await;
        declared.expect("declared");
        let tasks = shared.bus.subscribe(Subscription::queue(queue)).await;
        let lease = Duration::from_secs(7_200);
        let registration = shared.registry.register(record, lease).await;
        Self {
            shared: shared.clone(),
            tasks: tasks.expect("subscribed"),
            _registration: registration.expect("registered"),
        }
    }

    async fn next(&mut self) -> Delivery {
        within(self.tasks.recv()).await.expect("the bus is open")
    }

    /// Ends an attempt with what it holds to be an outcome.
    async fn tell(&self, task: Delivery, run: RunId, outcome: Value) {
        let header = |name: &str| task.envelope().header(name).expect("set").to_owned();
        let attempt: u32 = header("coditect-attempt").parse().expect("a number");
        let body = json!({ "run": run, "task": 0, "attempt": attempt, "outcome": outcome });
        let queue = task.envelope().reply_to().expect("set").clone();
        let queue = Destination::Queue(queue);
        let envelope = Envelope::json(&body).expect("JSON");
        let envelope = envelope.with_header("coditect-kind", "outcome");
        let published = self.shared.bus.publish(&queue, envelope).await;
        published.expect("published");
        task.ack().await.expect("acknowledged");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_an_unknown_kind_is_tried_again() -> Result<(), Error> {
    let shared = Shared::new();
    let mut foreign = Foreign::start(&shared).await;
    let runtime = shared.runtime().start().await?;
    let run = runtime.submit(&FOREIGN, 1).await?;
    let task = foreign.next().await;
    let newer = json!({ "kind": "quota_exceeded", "message": "from a newer release" });
    let outcome = json!({ "failure": { "failure": newer } });
    foreign.tell(task, run.id(), outcome).await;

    let task = foreign.next().await;
    assert_eq!(task.envelope().header("coditect-attempt"), Some("2"));
    foreign.tell(task, run.id(), json!({ "output": 2 })).await;
    assert_eq!(within(run.result()).await?, 2);
    runtime.shutdown().await
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_cannot_be_read_fails_its_attempt() -> Result<(), Error> {
    for outcome in [
        json!({ "applause": 3 }),
        json!(null),
        json!({ "failure": 7 }),
    ] {
        let shared = Shared::new();
        let mut foreign = Foreign::start(&shared).await;
        let runtime = shared.runtime().start().await?;
        let run = runtime.submit(&FOREIGN, 1).await?;
        let task = foreign.next().await;
        foreign.tell(task, run.id(), outcome).await;
        let why = failure(within(run.result()).await);
        assert_eq!(why.kind, FailureKind::Permanent);
        assert!(why.message.contains("cannot be read"), "{}", why.message);
        runtime.shutdown().await?;
    }
    Ok(())
}
