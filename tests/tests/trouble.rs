//! Silence, full queues and queues that vanish: what must not stop, and what must not be done twice.

use coditect_core::bus::{Destination, Envelope, MemoryBus, MessageBus, QueueName, QueueSpec};
use coditect_core::prelude::*;
use coditect_core::{Dispatch, Error, RuntimeBuilder};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
mod stage;
use stage::{Count, Gate, Meddled, Shared, within};
const WORK: Call<u64, u64> = Call::new("work");
const QUICK: Call<u64, u64> = Call::new("quick");
const SOON: Duration = Duration::from_secs(60);
fn work(gate: &Gate, calls: &Count) -> impl Agent {
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
}
fn work1(gate: &Gate, calls: &Count) -> impl Agent {
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
    .with_concurrency(1)
}
fn worker(b: RuntimeBuilder, gate: &Gate, calls: &Count) -> RuntimeBuilder {
    b.worker_only().claim_after(SOON).agent(work(gate, calls))
}
fn is(e: &Envelope, kind: &str) -> bool {
    e.header("coditect-kind") == Some(kind)
}
fn queue() -> QueueName {
    QueueName::for_capability("work.v1").expect("a name")
}

async fn silent_worker(private: bool) -> Result<(), Error> {
    let silent = Arc::new(AtomicBool::new(false));
    let muted = Arc::clone(&silent);
    let echoes = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&echoes);
    let bus = Meddled::new().on_publish(move |e| {
        if is(e, "echo") {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        Box::pin(std::future::ready(
            !(is(e, "heartbeat") && muted.load(Ordering::SeqCst)),
        ))
    });
    let shared = Shared::on(Arc::new(bus));
    let (gate, calls) = (Gate::new(), Count::default());
    let mut c = shared.runtime();
    if private {
        c = Runtime::builder()
            .bus(Arc::clone(&shared.bus))
            .registry(Arc::clone(&shared.registry))
            .dispatch(Dispatch::Bus);
    }
    let coordinator = c.start().await?;
    let _worker = worker(shared.runtime(), &gate, &calls).start().await?;
    let _run = coordinator.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    tokio::time::sleep(2 * SOON).await;
    silent.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(1800)).await;
    println!("echoes on the bus: {}", echoes.load(Ordering::SeqCst));
    assert!(
        calls.get() > 1,
        "the claim of a silent worker was never given up"
    );
    Ok(())
}
#[tokio::test(start_paused = true)]
async fn a_silent_worker_is_noticed_by_the_owner_of_a_shared_journal() {
    silent_worker(false).await.unwrap()
}
#[tokio::test(start_paused = true)]
async fn a_silent_worker_is_noticed_by_the_owner_of_a_private_journal() {
    silent_worker(true).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_before_the_echo_keeps_the_timer() -> Result<(), Error> {
    let silent = Arc::new(AtomicBool::new(false));
    let late = Arc::new(AtomicBool::new(false));
    let (s, l) = (Arc::clone(&silent), Arc::clone(&late));
    let bus = Meddled::new().on_publish(move |e| {
        if is(e, "echo") && l.swap(false, Ordering::SeqCst) {
            // The broker is back: heartbeats come, the echo 4 s later, once.
            s.store(false, Ordering::SeqCst);
            return Box::pin(async {
                tokio::time::sleep(Duration::from_secs(4)).await;
                true
            });
        }
        Box::pin(std::future::ready(
            !(is(e, "heartbeat") && s.load(Ordering::SeqCst)),
        ))
    });
    let shared = Shared::on(Arc::new(bus));
    let (gate, calls) = (Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let _worker = worker(shared.runtime(), &gate, &calls).start().await?;
    let _run = coordinator.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    tokio::time::sleep(2 * SOON).await;
    late.store(true, Ordering::SeqCst);
    silent.store(true, Ordering::SeqCst);
    tokio::time::sleep(SOON).await;
    assert!(!silent.load(Ordering::SeqCst) && calls.get() == 1);
    silent.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(calls.get() >= 2, "nobody notices that the worker is silent");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_takeover_respects_the_workers_own_lease() -> Result<(), Error> {
    let (shared, gate, calls) = (Shared::new(), Gate::new(), Count::default());
    let first = shared.runtime().start().await?;
    let w = worker(shared.runtime(), &gate, &calls)
        .leases(Duration::from_secs(5), Duration::from_secs(60));
    let worker = w.start().await?;
    let _run = worker.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    tokio::time::sleep(3 * SOON + Duration::from_secs(1)).await;
    drop(first);
    let _second = shared.runtime().start().await?;
    tokio::time::sleep(10 * SOON).await;
    assert_eq!(
        calls.get(),
        1,
        "a living worker lost its claim at the takeover"
    );
    Ok(())
}

async fn full(cancel: bool) -> Result<(), Error> {
    let (shared, gate, calls) = (
        Shared::new().with_partitions(1),
        Gate::new(),
        Count::default(),
    );
    let coordinator = shared.runtime().start().await?;
    let _w = shared
        .runtime()
        .worker_only()
        .agent(work1(&gate, &calls))
        .start()
        .await?;
    let _q = shared
        .runtime()
        .worker_only()
        .agent(agent("quick", async |x: u64| Ok::<_, AgentError>(x)))
        .start()
        .await?;
    let stuck = coordinator.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    assert_eq!(within(coordinator.run(&QUICK, 7)).await?, 7);
    let to = Destination::Queue(queue());
    let mut n = 0;
    while n < 100_500 {
        let filler = (0..1000)
            .map(|_| Envelope::new("1").with_header("coditect-kind", "request"))
            .collect();
        n += 1000;
        if shared.bus.publish_batch(&to, filler).await.is_err() {
            println!("full at {n}");
            break;
        }
    }
    println!("{:?}", shared.bus.stats(&queue()).await?);
    let _second = coordinator.submit(&WORK, 2).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let t = tokio::time::Instant::now();
    if cancel {
        stuck.cancel("not needed").await?;
    }
    let quick = coordinator.submit(&QUICK, 8).await?;
    let r = tokio::time::timeout(Duration::from_secs(600), quick.result()).await;
    println!(
        "quick: {r:?} after {:?}, {:?}, calls {}",
        t.elapsed(),
        shared.bus.stats(&queue()).await?,
        calls.get()
    );
    assert!(r.is_ok(), "a full queue of one capability stops all others");
    Ok(())
}
#[tokio::test(start_paused = true)]
async fn one_full_queue_lets_cancels_through() {
    full(true).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_closed_bus_is_not_asked_for_ever() -> Result<(), Error> {
    let told = Arc::new(AtomicUsize::new(0));
    let n = Arc::clone(&told);
    let bus = Meddled::new().on_publish(move |e| {
        if is(e, "outcome") {
            n.fetch_add(1, Ordering::SeqCst);
        }
        Box::pin(std::future::ready(true))
    });
    let shared = Shared::on(Arc::new(bus));
    let (gate, calls) = (Gate::new(), Count::default());
    let coordinator = shared.runtime().start().await?;
    let _worker = worker(shared.runtime(), &gate, &calls).start().await?;
    let _run = coordinator.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    tokio::time::sleep(2 * SOON).await;
    shared.bus.close().await?;
    gate.open(1);
    let before = tokio::time::Instant::now();
    for _ in 0..20_000 {
        tokio::task::yield_now().await;
    }
    println!(
        "{} tries in {:?}",
        told.load(Ordering::SeqCst),
        before.elapsed()
    );
    let n = told.load(Ordering::SeqCst);
    gate.open(10);
    assert!(n < 100, "a hot loop: {n} tries in {:?}", before.elapsed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_deleted_queue_is_published_again_once() -> Result<(), Error> {
    let (shared, gate, calls) = (
        Shared::new().with_partitions(1),
        Gate::new(),
        Count::default(),
    );
    let coordinator = shared.runtime().start().await?;
    let mut workers = Vec::new();
    for _ in 0..8 {
        workers.push(
            shared
                .runtime()
                .worker_only()
                .agent(work1(&gate, &calls))
                .start()
                .await?,
        );
    }
    let mut runs = Vec::new();
    for x in 0..20 {
        runs.push(coordinator.submit(&WORK, x).await?);
    }
    gate.arrived(8).await;
    shared.bus.delete(&queue()).await?;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let s = shared.bus.stats(&queue()).await?;
    println!("20 tasks; calls {}, now in queue {s:?}", calls.get());
    gate.open(1_000_000);
    for r in &runs {
        within(r.result()).await?;
    }
    tokio::time::sleep(SOON).await;
    println!("calls in the end: {}", calls.get());
    assert!(calls.get() <= 8 + 20, "{} calls of 20 tasks", calls.get());
    let _ = (MemoryBus::new(), QueueSpec::new(queue()));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn two_holders_do_not_fill_the_journal() -> Result<(), Error> {
    use coditect_core::dag::journal::RecordKind;
    let (shared, gate, calls) = (
        Shared::new().with_partitions(1),
        Gate::new(),
        Count::default(),
    );
    let coordinator = shared.runtime().start().await?;
    let _worker = worker(shared.runtime(), &gate, &calls).start().await?;
    let run = coordinator.submit(&WORK, 1).await?;
    gate.arrived(1).await;
    tokio::time::sleep(2 * SOON).await;
    let body = format!(
        r#"{{"incarnation":"0192d3c0-9c41-7d10-8a3e-5f6f2d1c0b7a","lease_ms":10000,"attempts":[{{"run":"{}","task":0,"attempt":1}}]}}"#,
        run.id()
    );
    let to = Destination::Queue("outcome.0".parse().unwrap());
    for _ in 0..1000 {
        let e = Envelope::new(body.clone()).with_header("coditect-kind", "heartbeat");
        shared.bus.publish(&to, e).await.unwrap();
        tokio::time::sleep(Duration::from_millis(3333)).await;
    }
    let log = shared.journal.load(run.id()).await?.unwrap();
    let n = log
        .tail
        .iter()
        .filter(|r| matches!(r.kind, RecordKind::Claimed { .. }))
        .count();
    println!("{n} Claimed records in 55 min");
    assert!(n < 10);
    Ok(())
}

/// The first further subscription to the work queue fails, as while a broker comes back.
#[derive(Clone)]
struct Once(MemoryBus, Arc<AtomicUsize>);
#[async_trait::async_trait]
impl MessageBus for Once {
    fn capabilities(&self) -> coditect_core::bus::Capabilities {
        self.0.capabilities()
    }
    fn handle(&self) -> Arc<dyn MessageBus> {
        Arc::new(self.clone())
    }
    async fn declare(&self, s: QueueSpec) -> Result<(), coditect_core::bus::Error> {
        self.0.declare(s).await
    }
    async fn delete(&self, q: &QueueName) -> Result<bool, coditect_core::bus::Error> {
        self.0.delete(q).await
    }
    async fn publish(
        &self,
        to: &Destination,
        e: Envelope,
    ) -> Result<(), coditect_core::bus::PublishError> {
        self.0.publish(to, e).await
    }
    async fn publish_batch(
        &self,
        to: &Destination,
        e: Vec<Envelope>,
    ) -> Result<(), coditect_core::bus::PublishError> {
        self.0.publish_batch(to, e).await
    }
    async fn subscribe(
        &self,
        s: coditect_core::bus::Subscription,
    ) -> Result<coditect_core::bus::Consumer, coditect_core::bus::Error> {
        if format!("{s:?}").contains("capability.") && self.1.fetch_add(1, Ordering::SeqCst) == 1 {
            println!("refused {s:?}");
            return Err(coditect_core::bus::Error::new(
                coditect_core::bus::ErrorKind::Unavailable,
                "broker is away",
            ));
        }
        self.0.subscribe(s).await
    }
    async fn stats(
        &self,
        q: &QueueName,
    ) -> Result<coditect_core::bus::QueueStats, coditect_core::bus::Error> {
        self.0.stats(q).await
    }
    async fn dead_letters(
        &self,
        q: &QueueName,
        f: &coditect_core::bus::DeadLetterFilter,
        p: coditect_core::bus::Page,
    ) -> Result<coditect_core::bus::DeadLetterPage, coditect_core::bus::Error> {
        self.0.dead_letters(q, f, p).await
    }
    async fn redrive(
        &self,
        q: &QueueName,
        f: &coditect_core::bus::DeadLetterFilter,
    ) -> Result<u64, coditect_core::bus::Error> {
        self.0.redrive(q, f).await
    }
    async fn purge_dead_letters(
        &self,
        q: &QueueName,
        f: &coditect_core::bus::DeadLetterFilter,
    ) -> Result<u64, coditect_core::bus::Error> {
        self.0.purge_dead_letters(q, f).await
    }
    async fn close(&self) -> Result<(), coditect_core::bus::Error> {
        self.0.close().await
    }
}

async fn nest(fails: bool) -> Result<(), Error> {
    let shared = Shared::on(Arc::new(Once(
        MemoryBus::new(),
        Arc::new(AtomicUsize::new(if fails { 0 } else { 100 })),
    )));
    let coordinator = shared.runtime().start().await?;
    let nested = agent("work", async |context: TaskContext, x: u64| {
        if x == 0 {
            return Ok(1);
        }
        Ok::<_, AgentError>(1 + context.request("child", &WORK, x - 1).await?)
    })
    .with_concurrency(1);
    let _w = shared.runtime().worker_only().agent(nested).start().await?;
    assert_eq!(within(coordinator.run(&WORK, 5)).await?, 6);
    Ok(())
}
#[tokio::test(start_paused = true)]
async fn nested_requests_of_one_agent_come_to_an_end() {
    nest(false).await.unwrap()
}
#[tokio::test(start_paused = true)]
async fn nested_requests_come_to_an_end_though_a_subscription_fails_once() {
    nest(true).await.unwrap()
}
