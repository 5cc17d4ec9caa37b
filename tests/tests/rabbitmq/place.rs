//! A place on the broker for one test, with coordinators and workers of the test's own process.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::bus::{DeadLetter, DeadLetterFilter, MessageBus, Page, QueueName};
use coditect_core::prelude::*;
use coditect_core::{Error, Failure, RuntimeBuilder};
use coditect_harness::{RabbitMq, Vhost, required};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::process::{PATIENCE, until};

pub(crate) const WORK: Call<u64, u64> = Call::new("work");
/// The queue of `work`, on the bus and at the broker.
pub(crate) const QUEUE: &str = "capability.work.v1";

/// A virtual host of the shared broker; none where servers are left out.
pub(crate) async fn vhost() -> Option<Vhost<'static>> {
    let broker = required(RabbitMq::shared()).await?;
    Some(broker.vhost().await.expect("a virtual host"))
}

/// What the broker calls one of the queues behind a queue of the bus.
pub(crate) fn at_broker(queue: &str, priority: usize) -> String {
    format!("coditect.{queue}.p{priority}.v1")
}

pub(crate) fn queue(name: &str) -> QueueName {
    QueueName::new(name).expect("a name")
}

/// A runtime that ends soon when it is told to.
pub(crate) fn runtime(url: String) -> RuntimeBuilder {
    let soon = Duration::from_secs(1);
    Runtime::builder().bus(url).drain_limit(soon).grace(soon)
}

pub(crate) async fn coordinator(vhost: &Vhost<'_>) -> Runtime {
    let started = runtime(vhost.url()).start().await;
    started.expect("a coordinator")
}

/// A worker that serves `work` in so many slots, and holds each task until the gate lets it through.
pub(crate) async fn worker(vhost: &Vhost<'_>, slots: usize, gate: &Gate) -> Runtime {
    let builder = runtime(vhost.url()).worker_only();
    let started = builder.agent(work(slots, gate)).start().await;
    started.expect("a worker")
}

pub(crate) fn work(slots: usize, gate: &Gate) -> impl Agent {
    let gate = gate.clone();
    let handler = move |context: TaskContext, number: u64| {
        let gate = gate.clone();
        async move {
            gate.begun.lock().push(number);
            let stopped = || AgentError::retryable("it was stopped");
            let passed = context.token().run_until_cancelled(gate.open.acquire());
            passed.await.ok_or_else(stopped)?.expect("open").forget();
            Ok::<_, AgentError>(number)
        }
    };
    agent("work", handler).with_concurrency(slots)
}

/// Holds handlers until they are let through, and knows which have begun.
#[derive(Clone)]
pub(crate) struct Gate {
    begun: Arc<Mutex<Vec<u64>>>,
    open: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn closed() -> Self {
        Self {
            begun: Arc::default(),
            open: Arc::new(Semaphore::new(0)),
        }
    }

    pub(crate) fn open() -> Self {
        let gate = Self::closed();
        gate.let_through(Semaphore::MAX_PERMITS / 2);
        gate
    }

    pub(crate) fn let_through(&self, count: usize) {
        self.open.add_permits(count);
    }

    /// What has begun, in order.
    pub(crate) fn begun(&self) -> Vec<u64> {
        self.begun.lock().clone()
    }

    pub(crate) async fn has_begun(&self, count: usize) {
        until("handlers begin", async || self.begun.lock().len() >= count).await;
    }
}

/// A plan of so many tasks side by side.
pub(crate) fn numbers(count: u64) -> Plan<Vec<u64>> {
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..count)
        .map(|number| plan.task(number.to_string(), &WORK, number))
        .collect();
    plan.aggregate(collect_all(), tasks).expect("a plan")
}

pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it hangs")
}

/// Why a run ended without a result.
pub(crate) fn failure<T: std::fmt::Debug>(result: Result<T, Error>) -> Failure {
    let error = result.expect_err("there is no result");
    let failure = error.failure().cloned();
    failure.unwrap_or_else(|| panic!("{error:?} is no failure of a run"))
}

/// Waits until so many messages of a queue were set aside, and returns them.
pub(crate) async fn set_aside(
    bus: &dyn MessageBus,
    queue: &QueueName,
    count: usize,
) -> Vec<DeadLetter> {
    let mut letters = Vec::new();
    until("messages are set aside", async || {
        let all = DeadLetterFilter::all();
        let page = bus.dead_letters(queue, &all, Page::default()).await;
        letters = page.map(|page| page.letters).unwrap_or_default();
        letters.len() >= count
    })
    .await;
    assert_eq!(letters.len(), count, "{letters:?}");
    letters
}
