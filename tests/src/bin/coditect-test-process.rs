//! A process that tests start, pause and kill: `coditect-test-process ROLE URL FILE`.
//!
//! URL is that of the bus; for a worker that of a registry may follow after a space.
//!
//! It writes what it does to the end of FILE, a line each, and ends with whoever started it: when its standard input
//! does. As a `worker` it serves `work`, which answers what it was given after a few milliseconds, and `wait`, which
//! answers when FILE has a neighbour called `go`. As a `coordinator` it submits a run of two `wait`s.
//!
//! As a `keeper` its URL is that of a state, and after a space perhaps that of a bus: it submits the runs of
//! `coditect_tests::keeping` one after the other, and goes on with the numbers after those in FILE. Without a bus it
//! does their steps itself; with one a `stepper` does.
//!
//! As a `sharer` its URL is that of a state, and after a space how many milliseconds lie between its calls of an agent that fails
//! while FILE has a neighbour called `broken`; it also calls another as often as the rate allows.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use coditect_core::bus::{MessageBus, RabbitMqBus};
use coditect_core::prelude::*;
use coditect_core::resilience::{BreakerPolicy, RatePolicy};
use coditect_core::{ErrorKind, RateLimits};
use coditect_tests::keeping;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// How many tasks a worker does at once.
const SLOTS: usize = 16;
/// How long a process is believed in that shares a registry.
const LEASE: Duration = Duration::from_secs(2);
/// How soon the outcome queues of a dead coordinator go.
const EXPIRY: Duration = Duration::from_secs(2);
/// How long a keeper waits for the end of a run.
const SETTLED: Duration = Duration::from_secs(1);
/// How many runs a keeper leaves open.
const OPEN: usize = 6;
/// How often a handler that waits looks whether it may go on.
const LOOK: Duration = Duration::from_millis(20);

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, url, file] = &arguments[..] else {
        return Err("usage: coditect-test-process ROLE URL FILE".into());
    };
    // A thread of its own, which nothing that happens in the runtime can hold up.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(3);
    });
    let _telemetry = match std::env::var("RUST_LOG") {
        Ok(_) => Some(coditect_core::telemetry::Telemetry::builder().install()?),
        Err(_) => None,
    };
    let ledger = Ledger::open(file)?;
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    tokio.block_on(async {
        match role.as_str() {
            "worker" => worker(url, ledger).await,
            "coordinator" => coordinator(url, ledger).await,
            "sharer" => sharer(url, ledger).await,
            "keeper" => keeper(url, ledger).await,
            "stepper" => stepper(url, ledger).await,
            _ => Err(format!("no role is called {role}").into()),
        }
    })
}

async fn worker(url: &str, ledger: Ledger) -> Result<(), Failed> {
    let mut builder = Runtime::builder();
    let mut bus = url;
    if let Some((first, registry)) = url.split_once(' ') {
        bus = first;
        builder = builder.registry(registry).leases(LEASE, LEASE);
    }
    let runtime = builder
        .bus(bus)
        .worker_only()
        .drain_limit(Duration::from_secs(2))
        .grace(Duration::from_secs(1))
        .agent(work(ledger.clone()))
        .agent(wait(ledger.clone()))
        .start()
        .await?;
    ledger.note("up");
    runtime.shutdown_on_signal().await?;
    ledger.note("down");
    Ok(())
}

fn work(ledger: Ledger) -> impl Agent {
    let handler = move |number: u64| {
        let ledger = ledger.clone();
        async move {
            ledger.note(format_args!("work {number}"));
            tokio::time::sleep(Duration::from_millis(1 + number % 4)).await;
            Ok::<_, AgentError>(number)
        }
    };
    agent("work", handler).with_concurrency(SLOTS)
}

fn wait(ledger: Ledger) -> impl Agent {
    let handler = move |context: TaskContext, number: u64| {
        let ledger = ledger.clone();
        async move {
            ledger.note(format_args!("wait {number}"));
            let go = ledger.folder().join("go");
            while !go.exists() {
                if context.is_cancelled() {
                    ledger.note(format_args!("stopped {number}"));
                    return Err(AgentError::retryable("it was stopped"));
                }
                tokio::time::sleep(LOOK).await;
            }
            ledger.note(format_args!("done {number}"));
            Ok::<_, AgentError>(number)
        }
    };
    agent("wait", handler).with_concurrency(SLOTS)
}

async fn coordinator(url: &str, ledger: Ledger) -> Result<(), Failed> {
    const WAIT: Call<u64, u64> = Call::new("wait");
    let bus = RabbitMqBus::builder(url).with_temporary_expiry(EXPIRY);
    let bus: Arc<dyn MessageBus> = Arc::new(bus.connect().await?);
    let runtime = Runtime::builder()
        .bus(bus)
        .drain_limit(Duration::from_secs(2))
        .start()
        .await?;
    ledger.note("up");
    let mut plan = Plan::builder();
    let tasks: Vec<_> = (0..2_u64)
        .map(|number| plan.task(number.to_string(), &WAIT, number))
        .collect();
    runtime
        .submit_plan(plan.aggregate(collect_all(), tasks)?)
        .await?;
    ledger.note("submitted");
    runtime.shutdown_on_signal().await?;
    ledger.note("down");
    Ok(())
}

/// The rate that sharers share, a second, and how many of them there are.
const RATE: (u32, u32) = (30, 3);

async fn sharer(url: &str, ledger: Ledger) -> Result<(), Failed> {
    const FRAGILE: Call<(), ()> = Call::new("fragile");
    const LIMITED: Call<(), ()> = Call::new("limited");
    let (state, pause) = url.split_once(' ').ok_or("a sharer needs a pause")?;
    let pause = Duration::from_millis(pause.parse()?);
    let rate = RatePolicy::new(RATE.0, Duration::from_secs(1))?.with_burst(1)?;
    let limits = RateLimits::requests(rate).with_processes(RATE.1);
    let breaker = BreakerPolicy::builder().consecutive_failures(20).build()?;
    let calls = ledger.clone();
    let fragile = move |(): ()| {
        let broken = calls.folder().join("broken").exists();
        calls.note(if broken { "failed" } else { "fine" });
        std::future::ready(match broken {
            true => Err(AgentError::retryable("out of order")),
            false => Ok(()),
        })
    };
    let limited = async |(): ()| Ok::<_, AgentError>(());
    let runtime = Runtime::builder()
        .state(state)
        .worker_only()
        .rate_limit("limited", limits)
        .agent(agent("fragile", fragile).with_breaker(breaker))
        .agent(agent("limited", limited))
        .start()
        .await?;
    ledger.note("up");
    let often = async {
        loop {
            if runtime.request(&LIMITED, ()).await.is_ok() {
                ledger.note("limited");
            }
        }
    };
    let again = async {
        loop {
            let began = tokio::time::Instant::now();
            let refused = match runtime.request(&FRAGILE, ()).await {
                Err(error) => error.kind() == ErrorKind::Unavailable,
                Ok(()) => false,
            };
            if refused {
                ledger.note("refused");
            }
            ledger.note(format_args!("took {}", began.elapsed().as_millis()));
            tokio::time::sleep(pause).await;
        }
    };
    tokio::join!(often, again).0
}

async fn keeper(places: &str, ledger: Ledger) -> Result<(), Failed> {
    let mut builder = keeping::on(places);
    if !places.contains(' ') {
        builder = builder.agent(keeping::step());
    }
    let runtime = builder.start().await?;
    let mut number = ledger.numbered()?;
    ledger.note("up");
    let mut open = VecDeque::new();
    loop {
        match keeping::submit(&runtime, number).await {
            Ok(run) => {
                ledger.note(format_args!("accepted {number} {}", run.id()));
                open.push_back(run);
                number += 1;
            }
            Err(error) => {
                ledger.note(format_args!("refused {number} {error}"));
                tokio::time::sleep(LOOK).await;
            }
        }
        if open.len() > OPEN
            && let Some(run) = open.pop_front()
        {
            // Whether it has ended is for others to judge, and where the disk is full it does not.
            drop(tokio::time::timeout(SETTLED, run.settled()).await);
        }
    }
}

async fn stepper(places: &str, ledger: Ledger) -> Result<(), Failed> {
    let runtime = keeping::on(places).worker_only().agent(keeping::step());
    let runtime = runtime.start().await?;
    ledger.note("up");
    Ok(runtime.shutdown_on_signal().await?)
}

/// Where a process writes down what it does, so that it is known even of one that was killed.
#[derive(Clone)]
struct Ledger {
    file: Arc<File>,
    path: PathBuf,
}

impl Ledger {
    fn open(path: &str) -> Result<Self, Failed> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            file: Arc::new(file),
            path: path.into(),
        })
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// The number after those that are written down; each file has a million, by the digits at the end of its name.
    fn numbered(&self) -> Result<u64, Failed> {
        let name = self.path.file_name().unwrap_or_default();
        let name = name.to_string_lossy();
        let digits = name.rsplit(|letter: char| !letter.is_ascii_digit()).next();
        let slot: u64 = digits.unwrap_or_default().parse().unwrap_or_default();
        let text = std::fs::read_to_string(&self.path)?;
        let accepted = text.lines().filter(|line| line.starts_with("accepted "));
        Ok(slot * 1_000_000 + accepted.count() as u64)
    }

    /// Adds a line, in one piece.
    fn note(&self, line: impl std::fmt::Display) {
        let line = format!("{line}\n");
        if let Err(error) = (&*self.file).write_all(line.as_bytes()) {
            eprintln!("the ledger cannot be written: {error}");
            std::process::exit(4);
        }
    }
}
