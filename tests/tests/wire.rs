//! An agent in another language: it knows the bus, JSON, and the page that describes the wire.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use coditect_core::bus::{
    Consumer, Delivery, Destination, Envelope, MemoryBus, MessageBus, QueueName, QueueSpec,
    Subscription,
};
use coditect_core::prelude::*;
use coditect_core::registry::{
    AgentRecord, Capability, Incarnation, MemoryRegistry, Registration, Registry,
};
use coditect_core::{Error, ErrorKind, FailureKind};
use serde_json::{Value, json};

/// What an agent of another language has of this one: names.
struct Foreign {
    bus: Arc<dyn MessageBus>,
    tasks: Consumer,
    // Deregistered by nobody: its lease outlives the test.
    _registration: Registration,
}

impl Foreign {
    async fn register(bus: &Arc<dyn MessageBus>, registry: &Arc<dyn Registry>) -> Self {
        let queue = QueueName::new("capability.summarize.v1").unwrap();
        bus.declare(QueueSpec::new(queue.clone())).await.unwrap();
        let subscription = Subscription::queue(queue).with_prefetch(NonZeroUsize::MIN);
        let tasks = bus.subscribe(subscription).await.unwrap();
        let version = "1.4.2".parse().unwrap();
        let record = AgentRecord::new("foreign".parse().unwrap(), Incarnation::fresh())
            .with_capabilities([Capability::new("summarize", version).unwrap()]);
        let lease = Duration::from_secs(3600);
        Self {
            bus: Arc::clone(bus),
            tasks,
            _registration: registry.register(record, lease).await.unwrap(),
        }
    }

    async fn next(&mut self) -> Delivery {
        self.tasks.recv().await.unwrap()
    }

    /// Publishes how a task ended, then acknowledges it.
    async fn tell(&self, task: Delivery, outcome: Value) {
        let header = |name: &str| task.envelope().header(name).unwrap().to_owned();
        let number = |name: &str| header(name).parse::<u64>().unwrap();
        let body = json!({
            "run": header("coditect-run"),
            "task": number("coditect-task"),
            "attempt": number("coditect-attempt"),
            "outcome": outcome,
        });
        let to = Destination::Queue(task.envelope().reply_to().unwrap().clone());
        let envelope = Envelope::json(&body).unwrap();
        let envelope = envelope.with_header("coditect-kind", "outcome");
        self.bus.publish(&to, envelope).await.unwrap();
        task.ack().await.unwrap();
    }

    /// Answers the next request.
    async fn answer(&mut self, body: Value) {
        let question = self.next().await;
        let envelope = question.envelope();
        assert_eq!(envelope.header("coditect-kind"), Some("request"));
        let to = Destination::Queue(envelope.reply_to().unwrap().clone());
        let correlation = envelope.correlation_id().unwrap().clone();
        let reply = Envelope::json(&body).unwrap();
        let reply = reply.with_header("coditect-kind", "reply");
        let reply = reply.with_correlation_id(correlation);
        self.bus.publish(&to, reply).await.unwrap();
        question.ack().await.unwrap();
    }
}

async fn world() -> (Runtime, Foreign) {
    let bus: Arc<dyn MessageBus> = Arc::new(MemoryBus::new());
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let runtime = Runtime::builder()
        .bus(Arc::clone(&bus))
        .registry(Arc::clone(&registry))
        .start();
    let runtime = runtime.await.unwrap();
    let changed = runtime.agents().changed();
    let foreign = Foreign::register(&bus, &registry).await;
    changed.await;
    (runtime, foreign)
}

fn summarize() -> Call<Value, Value> {
    call("summarize@^1.2")
}

#[tokio::test]
async fn an_agent_made_of_the_page_alone_does_its_task() -> Result<(), Error> {
    let (runtime, mut foreign) = world().await;
    let run = runtime.submit(&summarize(), json!({ "pages": 3 })).await?;

    let task = foreign.next().await;
    assert_eq!(task.envelope().header("coditect-kind"), Some("task"));
    assert_eq!(task.envelope().header("coditect-attempt"), Some("1"));
    assert_eq!(task.envelope().decode::<Value>()?, json!({ "pages": 3 }));
    let failure = json!({ "kind": "error", "message": "not now" });
    let failure = json!({ "failure": failure, "retry_after_ms": 1 });
    foreign.tell(task, json!({ "failure": failure })).await;

    let task = foreign.next().await;
    assert_eq!(task.envelope().header("coditect-attempt"), Some("2"));
    foreign
        .tell(task, json!({ "output": { "words": 4 } }))
        .await;

    assert_eq!(run.result().await?, json!({ "words": 4 }));
    runtime.shutdown().await
}

#[tokio::test]
async fn an_agent_made_of_the_page_alone_answers_with_a_plan() -> Result<(), Error> {
    let (runtime, mut foreign) = world().await;
    let run = runtime.submit(&summarize(), json!(null)).await?;
    let plan = json!({
        "calls": ["summarize"],
        "settings": [],
        "tasks": [
            { "key": "one", "call": 0, "input": { "value": 1 } },
            { "key": "two", "call": 0, "input": { "list": [{ "task": 0 }] } },
        ],
        "result": { "output": { "task": 1 } },
    });
    let task = foreign.next().await;
    foreign.tell(task, json!({ "plan": plan })).await;
    for (input, output) in [(json!(1), json!("a")), (json!(["a"]), json!("b"))] {
        let task = foreign.next().await;
        assert_eq!(task.envelope().decode::<Value>()?, input);
        foreign.tell(task, json!({ "output": output })).await;
    }
    assert_eq!(run.result().await?, json!("b"));
    runtime.shutdown().await
}

#[tokio::test]
async fn an_agent_made_of_the_page_alone_answers_a_request() -> Result<(), Error> {
    let (runtime, mut foreign) = world().await;
    let call = summarize();
    let asked = runtime.request(&call, json!(7)).into_future();
    let (got, ()) = tokio::join!(asked, foreign.answer(json!({ "output": 49 })));
    assert_eq!(got?, json!(49));

    let failure = json!({ "kind": "permanent", "message": "no" });
    let refusal = json!({ "failure": { "failure": failure } });
    let asked = runtime.request(&call, json!(7)).into_future();
    let (got, ()) = tokio::join!(asked, foreign.answer(refusal));
    let error = got.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert_eq!(error.failure().unwrap().kind, FailureKind::Permanent);
    runtime.shutdown().await
}
