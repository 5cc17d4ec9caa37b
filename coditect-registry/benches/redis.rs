//! What a registry on Redis costs with 10,000 agents and 50,000 capability entries:
//! `cargo bench -p coditect-registry --features redis --bench redis`.
//!
//! Everything is in one process but the server, which is private: several registries stand for as many processes. Prints the rate of
//! registrations, the server's memory for each agent, the share of one core that renewals cost the server, and how long a change takes to
//! reach every watcher. `CODITECT_BENCH_AGENTS` and `CODITECT_BENCH_SECONDS` make it smaller or longer.
#![allow(
    clippy::unwrap_used,
    reason = "this is a benchmark: a failure is a panic"
)]

use std::env;
use std::sync::Arc;
use std::time::Duration;

use coditect_harness::Redis;
use coditect_registry::{
    AgentRecord, Capability, Change, Health, Incarnation, Load, RedisRegistry, Registration,
    Registry, Watch,
};
use futures::stream::{self, StreamExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, sleep};

/// How many processes register agents, and how many watch.
const PROCESSES: usize = 10;
const LEASE: Duration = Duration::from_secs(10);
const CAPABILITIES: usize = 5;
/// How many changes are timed.
const CHANGES: usize = 300;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run());
}

fn setting(name: &str, otherwise: usize) -> usize {
    let given = env::var(name).ok().and_then(|text| text.parse().ok());
    given.unwrap_or(otherwise)
}

async fn run() {
    let agents = setting("CODITECT_BENCH_AGENTS", 10_000);
    let seconds = Duration::from_secs(setting("CODITECT_BENCH_SECONDS", 20) as u64);
    let redis = Redis::private(&[]).await.unwrap();
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        // On a machine that is busy with other things a slow answer is no fault.
        let patient = Duration::from_secs(60);
        let registry = RedisRegistry::builder(redis.url())
            .with_response_timeout(patient)
            .with_patience(patient)
            .with_stale_after(patient);
        processes.push(Arc::new(registry.connect().await.unwrap()));
    }

    let empty = memory(&redis).await;
    let begun = Instant::now();
    let registering = stream::iter(0..agents).map(|number| {
        let registry = Arc::clone(&processes[number % PROCESSES]);
        async move {
            registry
                .register(record(number), LEASE * 100)
                .await
                .unwrap()
        }
    });
    let registered: Vec<_> = registering.buffered(256).collect().await;
    let rate = agents as f64 / begun.elapsed().as_secs_f64();
    println!(
        "{agents} agents, {} capability entries, {PROCESSES} processes",
        agents * CAPABILITIES
    );
    println!("register: {rate:.0}/s, 256 at once");

    let log = number(&redis.cli(&["MEMORY", "USAGE", &key("log")]).await.unwrap());
    let kept = memory(&redis).await - empty - log;
    let each = kept / agents as f64;
    println!(
        "memory: {each:.0} bytes an agent ({} of it its JSON), log {:.1} MiB",
        json_bytes(),
        log / 1_048_576.0
    );

    let mut watches = Vec::new();
    let begun = Instant::now();
    for process in &processes {
        let mut watch = process.watch().await.unwrap();
        watch.next().await.unwrap();
        watches.push(watch);
    }
    let each = begun.elapsed() / PROCESSES as u32;
    println!("first copy of all records: {each:.0?} a process");

    println!(
        "server's CPU, idle with {PROCESSES} watching: {:.1} % of a core",
        cpu(&redis, seconds / 2).await
    );
    propagate(&processes, &mut watches, "nothing else going on").await;

    for changing in [false, true] {
        let renewing = renewals(&processes, &registered, changing);
        // The first round is not counted: it has to find its rhythm.
        sleep(LEASE / 3).await;
        let share = cpu(&redis, seconds).await;
        let what = if changing {
            "each with another load"
        } else {
            "none with news"
        };
        let rate = agents as f64 / (LEASE / 3).as_secs_f64();
        println!("renewals, {rate:.0}/s, {what}: server's CPU {share:.1} % of a core");
        propagate(&processes, &mut watches, &format!("renewals, {what}")).await;
        drop(renewing);
    }
}

fn key(name: &str) -> String {
    format!("{{coditect:coditect}}:registry:{name}")
}

/// An agent with five capabilities out of a thousand, one of them with a schema.
fn record(number: usize) -> AgentRecord {
    let capability = |index: usize| {
        let name = format!("capability-{}", (number * 7 + index * 131) % 1000);
        Capability::new(name, "1.2.0".parse().unwrap()).unwrap()
    };
    let schema = serde_json::json!({
        "type": "object",
        "properties": { "text": { "type": "string" }, "limit": { "type": "integer" } },
        "required": ["text"],
    });
    let mut capabilities: Vec<_> = (0..CAPABILITIES).map(capability).collect();
    capabilities[0] = capabilities[0].clone().with_input_schema(schema);
    let agent = format!("agent-{number}").parse().unwrap();
    AgentRecord::new(agent, Incarnation::fresh())
        .with_capabilities(capabilities)
        .with_load(Load::idle(8))
}

fn json_bytes() -> usize {
    serde_json::to_string(&record(1234)).unwrap().len()
}

/// Renews every agent each third of its lease, evenly spread, until it is dropped.
fn renewals(
    processes: &[Arc<RedisRegistry>],
    registered: &[Registration],
    changing: bool,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let (period, begun) = (LEASE / 3, Instant::now());
    for (number, registration) in registered.iter().enumerate() {
        let registry = Arc::clone(&processes[number % PROCESSES]);
        let registration = registration.clone();
        let first = begun + period.mul_f64(number as f64 / registered.len() as f64);
        tasks.spawn(async move {
            let mut ticks = interval_at(first, period);
            let mut load = Load::idle(8);
            loop {
                ticks.tick().await;
                if changing {
                    load.in_flight = (load.in_flight + 1) % 8;
                }
                let renewed = registry.renew(&registration, load, Health::Ready).await;
                renewed.unwrap();
            }
        });
    }
    tasks
}

/// Times changes from the call to when each watcher has them.
async fn propagate(processes: &[Arc<RedisRegistry>], watches: &mut Vec<Watch>, while_: &str) {
    let mut listeners = JoinSet::new();
    let (seen, mut heard) = tokio::sync::mpsc::channel(1024);
    for mut watch in watches.drain(..) {
        let seen = seen.clone();
        listeners.spawn(async move {
            loop {
                tokio::select! {
                    event = watch.next() => {
                        let event = event.expect("the watch goes on");
                        if let Change::Added(record) = &event.change
                            && record.agent().as_str().starts_with("timed")
                            && seen.send(Instant::now()).await.is_err() {
                                return watch;
                            }
                    }
                    () = seen.closed() => return watch,
                }
            }
        });
    }
    let mut times = Vec::new();
    let registry = &processes[0];
    for number in 0..CHANGES {
        let mut timed = record(number);
        timed.instance.agent = format!("timed-{number}").parse().unwrap();
        let begun = Instant::now();
        let registration = registry.register(timed, LEASE).await.unwrap();
        for _ in 0..processes.len() {
            times.push(heard.recv().await.unwrap() - begun);
        }
        registry.deregister(&registration).await.unwrap();
        sleep(Duration::from_millis(10)).await;
    }
    drop(heard);
    watches.extend(listeners.join_all().await);
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "change to each of {} watchers, {while_}: p50 {:.1?}, p99 {:.1?}, longest {:.1?}",
        processes.len(),
        at(0.5),
        at(0.99),
        at(1.0),
    );
}

/// The server's CPU time over some wall time, in percent of one core.
async fn cpu(redis: &Redis, over: Duration) -> f64 {
    let (before, begun) = (cpu_seconds(redis).await, Instant::now());
    sleep(over).await;
    (cpu_seconds(redis).await - before) / begun.elapsed().as_secs_f64() * 100.0
}

async fn cpu_seconds(redis: &Redis) -> f64 {
    let info = redis.cli(&["INFO", "cpu"]).await.unwrap();
    field(&info, "used_cpu_user") + field(&info, "used_cpu_sys")
}

async fn memory(redis: &Redis) -> f64 {
    field(
        &redis.cli(&["INFO", "memory"]).await.unwrap(),
        "used_memory",
    )
}

fn field(info: &str, name: &str) -> f64 {
    let lines = info.lines().filter_map(|line| line.split_once(':'));
    let mut found = lines.filter(|(key, _)| *key == name);
    number(found.next().unwrap().1)
}

fn number(text: &str) -> f64 {
    text.trim().parse().unwrap()
}
