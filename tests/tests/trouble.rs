//! Silence, full queues and queues that vanish: what must not stop, and what must not be done twice.

#[path = "trouble/holders.rs"]
mod holders;
#[path = "trouble/nested.rs"]
mod nested;
#[path = "trouble/queue.rs"]
mod queue;
#[path = "trouble/silence.rs"]
mod silence;

mod stage;

use std::time::Duration;

use coditect_core::RuntimeBuilder;
use coditect_core::bus::{Envelope, QueueName};
use coditect_core::prelude::*;

use stage::{Count, Gate};

const WORK: Call<u64, u64> = Call::new("work");
const SOON: Duration = Duration::from_secs(60);

/// An agent that holds so many tasks at once until the gate is opened, or it is told to stop.
fn work(gate: &Gate, calls: &Count, slots: usize) -> impl Agent {
    let (gate, calls) = (gate.clone(), calls.clone());
    agent("work", move |context: TaskContext, x: u64| {
        let gate = gate.clone();
        calls.add();
        async move {
            tokio::select! {
                () = gate.pass() => Ok(x + 1),
                () = context.cancelled() => Err(AgentError::retryable("told to stop")),
            }
        }
    })
    .with_concurrency(slots)
}

/// A process that claims what lasts, after a minute.
fn worker(builder: RuntimeBuilder, gate: &Gate, calls: &Count) -> RuntimeBuilder {
    let builder = builder.worker_only().claim_after(SOON);
    builder.agent(work(gate, calls, 128))
}

fn is(envelope: &Envelope, kind: &str) -> bool {
    envelope.header("coditect-kind") == Some(kind)
}

fn queue() -> QueueName {
    QueueName::for_capability("work.v1").expect("a name")
}
