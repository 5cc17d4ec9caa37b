//! What goes to one queue holds up nothing that goes elsewhere, and what went with a queue is done again, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use coditect_core::bus::{
    Capabilities, Consumer, DeadLetterFilter, DeadLetterPage, Destination, Envelope, ErrorKind,
    MemoryBus, MessageBus, Page, PublishError, QueueName, QueueSpec, QueueStats, Subscription,
};
use coditect_core::prelude::*;
use coditect_core::{Dispatch, Error};

mod stage;

use stage::{Count, Gate, Meddled, Shared, within};

type OfBus<T> = Result<T, coditect_core::bus::Error>;

const WORK: Call<u64, u64> = Call::new("work");
const QUICK: Call<u64, u64> = Call::new("quick");
/// After how long a worker claims.
const SOON: Duration = Duration::from_secs(60);

/// An agent that counts its calls, does one at a time, and answers once it is let through.
fn work(gate: &Gate, calls: &Count) -> impl Agent {
    let (gate, calls) = (gate.clone(), calls.clone());
    let work = agent("work", move |context: TaskContext, x: u64| {
        let gate = gate.clone();
        calls.add();
        async move {
            tokio::select! {
                () = gate.pass() => Ok(x + 1),
                () = context.cancelled() => Err(AgentError::retryable("told to stop")),
            }
        }
    });
    work.with_concurrency(1)
}

fn is(envelope: &Envelope, kind: &str) -> bool {
    envelope.header("coditect-kind") == Some(kind)
}

fn queue() -> QueueName {
    QueueName::for_capability("work.v1").expect("a name")
}

async fn one_queue_is_full(cancels: bool) -> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let (gate, calls) = (Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let worker = shared.runtime().worker_only();
    let _worker = worker.agent(work(&gate, &calls)).start().await?;
    let quick = agent("quick", async |x: u64| Ok::<_, AgentError>(x));
    let _quick = shared.runtime().worker_only().agent(quick).start().await?;
    let stuck = coordinator.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    assert_eq!(within(coordinator.run(&QUICK, 7)).await?, 7);
    let to = Destination::Queue(queue());
    let request = || Envelope::new("1").with_header("coditect-kind", "request");
    let is_full = async {
        loop {
            let filler = (0..1_000).map(|_| request()).collect();
            if shared.bus.publish_batch(&to, filler).await.is_err() {
                break;
            }
        }
    };
    within(is_full).await;
    let _second = coordinator.submit(&WORK, 2).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    if cancels {
        stuck.cancel("not needed").await?;
        // The handler stops, and the worker goes on with the next.
        gate.arrived(1).await;
    }
    let quick = coordinator.submit(&QUICK, 8).await?;
    let result = tokio::time::timeout(SOON, quick.result()).await;
    let result = result.expect("one full queue holds up another");
    assert_eq!(result?, 8);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_holds_up_no_other_capability() -> Result<(), Error> {
    one_queue_is_full(false).await
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_holds_up_no_cancel() -> Result<(), Error> {
    one_queue_is_full(true).await
}

async fn a_worker_falls_silent(own_journal: bool) -> Result<(), Error> {
    let silent = Arc::new(AtomicBool::new(false));
    let muted = Arc::clone(&silent);
    let bus = Meddled::new().on_publish(move |envelope| {
        let arrives = !(is(envelope, "heartbeat") && muted.load(Ordering::SeqCst));
        Box::pin(std::future::ready(arrives))
    });
    let shared = Shared::on(Arc::new(bus));
    let (gate, calls) = (Gate::new(), Count::default());
    let coordinator = match own_journal {
        true => Runtime::builder()
            .bus(Arc::clone(&shared.bus))
            .registry(Arc::clone(&shared.registry))
            .dispatch(Dispatch::Bus),
        false => shared.runtime(),
    };
    let coordinator = coordinator.start().await?;
    let worker = shared.runtime().worker_only().claim_after(SOON);
    let _worker = worker.agent(work(&gate, &calls)).start().await?;
    let _run = coordinator.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    tokio::time::sleep(2 * SOON).await;
    silent.store(true, Ordering::SeqCst);
    gate.arrived(1).await;
    assert!(calls.get() > 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn silence_is_noticed_with_a_shared_journal() -> Result<(), Error> {
    a_worker_falls_silent(false).await
}

#[tokio::test(start_paused = true)]
async fn silence_is_noticed_with_a_journal_of_its_own() -> Result<(), Error> {
    a_worker_falls_silent(true).await
}

/// Starts 20 tasks with 8 workers, each of which has one, and takes their queue away.
async fn the_queue_is_deleted(after: Duration, times: usize) -> Result<usize, Error> {
    let shared = Shared::new().with_partitions(1);
    let (gate, calls) = (Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let mut workers = Vec::new();
    for _ in 0..8 {
        let worker = shared.runtime().worker_only();
        workers.push(worker.agent(work(&gate, &calls)).start().await?);
    }
    let mut runs = Vec::new();
    for x in 0..20 {
        runs.push(coordinator.submit(&WORK, x).await?);
    }
    gate.arrived(8).await;
    for _ in 0..times {
        shared.bus.delete(&queue()).await.expect("the bus is there");
        tokio::time::sleep(after).await;
    }
    gate.open(1_000_000);
    for run in &runs {
        within(run.result()).await?;
    }
    tokio::time::sleep(SOON).await;
    Ok(calls.get())
}

#[tokio::test(start_paused = true)]
async fn what_went_with_a_queue_is_done_again_once() -> Result<(), Error> {
    let calls = the_queue_is_deleted(Duration::from_secs(4), 1).await?;
    assert!(calls <= 8 + 20, "{calls} calls of 20 tasks");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_when_a_queue_goes_again_and_again() -> Result<(), Error> {
    for after in [100, 300, 1_000, 2_300, 3_000] {
        the_queue_is_deleted(Duration::from_millis(after), 3).await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_finds_its_queue_gone_is_published_once() -> Result<(), Error> {
    let shared = Shared::new().with_partitions(1);
    let (gate, calls) = (Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let worker = shared.runtime().worker_only();
    let _worker = worker.agent(work(&gate, &calls)).start().await?;
    gate.open(1_000_000);
    within(coordinator.run(&WORK, 0)).await?;
    shared.bus.delete(&queue()).await.expect("the bus is there");
    // Before its consumer is back.
    let mut runs = Vec::new();
    for x in 0..20 {
        runs.push(coordinator.submit(&WORK, x).await?);
    }
    for run in &runs {
        within(run.result()).await?;
    }
    tokio::time::sleep(SOON).await;
    assert_eq!(calls.get(), 1 + 20);
    Ok(())
}

/// A bus that fails the second subscription to the queue of a capability, as while a broker comes back.
#[derive(Clone)]
struct FailsOnce {
    inner: MemoryBus,
    subscriptions: Arc<AtomicUsize>,
}

#[async_trait]
impl MessageBus for FailsOnce {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn handle(&self) -> Arc<dyn MessageBus> {
        Arc::new(self.clone())
    }

    async fn declare(&self, spec: QueueSpec) -> OfBus<()> {
        self.inner.declare(spec).await
    }

    async fn delete(&self, queue: &QueueName) -> OfBus<bool> {
        self.inner.delete(queue).await
    }

    async fn publish(&self, to: &Destination, envelope: Envelope) -> Result<(), PublishError> {
        self.inner.publish(to, envelope).await
    }

    async fn publish_batch(
        &self,
        to: &Destination,
        envelopes: Vec<Envelope>,
    ) -> Result<(), PublishError> {
        self.inner.publish_batch(to, envelopes).await
    }

    async fn subscribe(&self, subscription: Subscription) -> OfBus<Consumer> {
        let is_work = format!("{subscription:?}").contains("capability.");
        if is_work && self.subscriptions.fetch_add(1, Ordering::SeqCst) == 1 {
            let kind = ErrorKind::Unavailable;
            return Err(coditect_core::bus::Error::new(kind, "the broker is away"));
        }
        self.inner.subscribe(subscription).await
    }

    async fn stats(&self, queue: &QueueName) -> OfBus<QueueStats> {
        self.inner.stats(queue).await
    }

    async fn dead_letters(
        &self,
        queue: &QueueName,
        filter: &DeadLetterFilter,
        page: Page,
    ) -> OfBus<DeadLetterPage> {
        self.inner.dead_letters(queue, filter, page).await
    }

    async fn redrive(&self, queue: &QueueName, filter: &DeadLetterFilter) -> OfBus<u64> {
        self.inner.redrive(queue, filter).await
    }

    async fn purge_dead_letters(&self, queue: &QueueName, filter: &DeadLetterFilter) -> OfBus<u64> {
        self.inner.purge_dead_letters(queue, filter).await
    }

    async fn close(&self) -> OfBus<()> {
        self.inner.close().await
    }
}

#[tokio::test(start_paused = true)]
async fn handlers_that_wait_for_their_kind_get_their_answers_though_a_subscription_fails()
-> Result<(), Error> {
    let bus = FailsOnce {
        inner: MemoryBus::new(),
        subscriptions: Arc::default(),
    };
    let shared = Shared::on(Arc::new(bus.clone()));
    let coordinator = shared.runtime().start().await?;
    let nested = agent("work", async |context: TaskContext, x: u64| {
        if x == 0 {
            return Ok(1);
        }
        Ok::<_, AgentError>(1 + context.request("child", &WORK, x - 1).await?)
    });
    let worker = shared.runtime().worker_only();
    let _worker = worker.agent(nested.with_concurrency(1)).start().await?;
    assert_eq!(within(coordinator.run(&WORK, 5)).await?, 6);
    assert!(bus.subscriptions.load(Ordering::SeqCst) > 2);
    Ok(())
}
