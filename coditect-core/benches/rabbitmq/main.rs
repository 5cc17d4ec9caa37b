//! Measures runs over RabbitMQ against hand-written `lapin` loops: same broker, queue kind, persistence, confirms and payload, in
//! the same run and turn by turn.
//!
//! `cargo bench -p coditect-core --features rabbitmq --bench rabbitmq` starts a private broker and a worker process, and
//! prints medians and ratios; an argument (`memory`, `dispatch`, `throughput`) picks one. Nothing here passes or fails.
//!
//! `cargo bench -p coditect-core --features rabbitmq,redis --bench rabbitmq -- durable` does so with the journal on a private Redis.
#![allow(missing_docs, reason = "a program, not a library")]
#![allow(
    clippy::unwrap_used,
    reason = "a program that ends when something is wrong"
)]

mod dispatch;
#[cfg(feature = "redis")]
mod durable;
mod memory;
mod plain;
mod throughput;
mod usage;

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coditect_core::dag::journal::{MemoryConfig, MemoryJournal, PartitionCount, RunJournal};
use coditect_core::prelude::*;
use coditect_core::state::{MemoryStore, StateStore};
use coditect_core::{Dispatch, RuntimeBuilder};
use coditect_harness::{RabbitMq, Vhost};
use serde::{Deserialize, Serialize};

/// Names the broker to a process that is to work.
const WORKER: &str = "CODITECT_BENCH_WORKER";
/// How many tasks a worker does at once, and the prefetch of those that are written by hand.
const SLOTS: usize = 64;

/// Answers with how long it was on its way, in microseconds.
const STAMP: Call<Stamped, u64> = Call::new("stamp");
/// Answers with what it was given.
const ECHO: Call<String, String> = Call::new("echo");

/// When it was sent, and what makes it as long as the others.
#[derive(Serialize, Deserialize)]
struct Stamped {
    at: u64,
    padding: String,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    if let Ok(url) = std::env::var(WORKER) {
        return work(&url).await;
    }
    let picked = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let picks = |name: &str| picked.as_ref().is_none_or(|picked| name.contains(picked));
    let broker = RabbitMq::start().await.unwrap();
    // First, while this process has no memory that was used and given back.
    if picks("memory") {
        memory::measure(&broker).await;
    }
    if picks("dispatch") {
        dispatch::measure(&broker).await;
    }
    if picks("throughput") {
        throughput::measure(&broker).await;
    }
    #[cfg(feature = "redis")]
    if picks("durable") {
        durable::measure(&broker).await;
    }
}

/// The worker process: works until the end of its standard input.
async fn work(url: &str) {
    let runtime = Runtime::builder()
        .bus(url)
        .worker_only()
        .agent(agent("stamp", stamp).with_concurrency(SLOTS))
        .agent(
            agent("echo", async |text: String| Ok::<_, AgentError>(text)).with_concurrency(SLOTS),
        )
        .start()
        .await
        .unwrap();
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()))
        .await
        .unwrap()
        .unwrap();
    runtime.shutdown().await.unwrap();
}

async fn stamp(stamped: Stamped) -> Result<u64, AgentError> {
    Ok(now().saturating_sub(stamped.at))
}

/// Microseconds since the epoch.
fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    u64::try_from(since.as_micros()).unwrap()
}

/// A coordinator of this process and a worker process, on a virtual host of their own.
struct Pair {
    runtime: Runtime,
    worker: Child,
}

impl Pair {
    /// Starts both. The journal keeps few runs that have ended, so that what it keeps is no growth.
    async fn start(vhost: &Vhost<'_>) -> Self {
        let config = MemoryConfig::default()
            .with_max_settled(4)
            .with_partitions(PartitionCount::new(1).unwrap());
        let journal: Arc<dyn RunJournal> = Arc::new(MemoryJournal::new(config));
        let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
        Self::start_with(vhost, &|builder| {
            let state = (Arc::clone(&journal), Arc::clone(&store));
            builder.state(state).dispatch(Dispatch::Bus)
        })
        .await
    }

    /// Starts both, with a coordinator that is described further.
    async fn start_with(
        vhost: &Vhost<'_>,
        describe: &dyn Fn(RuntimeBuilder) -> RuntimeBuilder,
    ) -> Self {
        let worker = Command::new(std::env::current_exe().unwrap())
            .env(WORKER, vhost.url())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let builder = describe(Runtime::builder().bus(vhost.url()));
        let runtime = builder.start().await.unwrap();
        let pair = Self { runtime, worker };
        pair.run(64).await;
        pair
    }

    /// Runs a plan of so many echoes side by side.
    async fn run(&self, tasks: usize) {
        let mut plan = Plan::builder();
        let text = "a".repeat(plain::PAYLOAD.len() - 2);
        for number in 0..tasks {
            plan.task(number.to_string(), &ECHO, text.clone());
        }
        let run = self
            .runtime
            .submit_plan(plan.output(()).unwrap())
            .await
            .unwrap();
        let ended = run.settled().await.unwrap();
        assert!(ended.state.is_settled());
    }

    async fn end(mut self) {
        self.runtime.shutdown().await.unwrap();
        self.runtime.bus().close().await.unwrap();
        drop(self.worker.stdin.take());
        self.worker.wait().unwrap();
    }
}

fn report(name: &str, ours: f64, theirs: f64) {
    let ratio = ours / theirs;
    println!("{name:44} {ours:>9.0}   by hand {theirs:>9.0}   ratio {ratio:.2}");
}

fn median(mut samples: Vec<f64>) -> f64 {
    quantile(&mut samples, 0.5)
}

fn quantile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[((samples.len() - 1) as f64 * share) as usize]
}

/// Calls something so many times a second, for as long as is said.
async fn at_rate(per_second: u32, during: Duration, mut what: impl FnMut(u32)) {
    let count = u32::try_from(during.as_millis()).unwrap() * per_second / 1_000;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
    for number in 0..count {
        ticks.tick().await;
        what(number);
    }
}
