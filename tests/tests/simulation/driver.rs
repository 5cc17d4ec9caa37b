//! One simulation from its seed to its end: nodes, clients, and somebody who does them harm.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use coditect_core::bus::MessageBus;
use coditect_core::dag::journal::{RunJournal, RunState};
use coditect_core::{Ruling, RunId};
use coditect_harness::Random;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::approval;
use crate::faults::Faults;
use crate::meddle;
use crate::node::{Cluster, LEFT_ALONE, Setup};
use crate::planted::Planted;
use crate::scenario::Scenario;
use crate::schedules;
use crate::world::{NOBODY, World};

/// For how long faults happen.
const FAULTY: Duration = Duration::from_secs(5);
/// How long it may take after that until all runs have ended.
const PATIENCE: Duration = Duration::from_secs(180);
/// What a task has answered of which somebody says that it was done.
const RULED: u64 = 1_000_000;
/// How long it may take until nothing is left in the queues.
const SETTLING: Duration = Duration::from_secs(60);

/// What came of a simulation.
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    pub(crate) fingerprint: u64,
    pub(crate) violations: Vec<String>,
    pub(crate) runs: usize,
    pub(crate) completions: u64,
    pub(crate) virtual_time: Duration,
    pub(crate) world: Arc<World>,
    setup: Setup,
    scenario: Arc<Scenario>,
}

impl Outcome {
    /// All that is needed to understand what went wrong.
    pub(crate) fn explain(&self, events: usize) -> String {
        let mut text = format!(
            "seed {} broke the promise; replay it with CODITECT_SIM_SEED={}\n{:#?}\n{:#?}\n{:#?}\n",
            self.seed, self.seed, self.setup, self.world.faults, self.scenario
        );
        text.push_str(&self.world.last_events(events));
        for violation in &self.violations {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  * {violation}");
        }
        text
    }
}

thread_local! {
    static PANICS: Cell<u64> = const { Cell::new(0) };
}

/// Counts the panics of a thread: a task that panics ends without a word otherwise.
pub(crate) fn count_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            loud(panic);
        }));
    });
}

/// Carries a simulation out.
pub(crate) fn simulate(seed: u64, planted: Option<Planted>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime can be built");
    PANICS.set(0);
    let mut outcome = runtime.block_on(play(seed, planted));
    drop(runtime);
    if PANICS.get() > 0 {
        let text = format!("{} panics", PANICS.get());
        outcome.violations.push(text);
    }
    outcome
}

async fn play(seed: u64, planted: Option<Planted>) -> Outcome {
    let mut random = Random::seeded(seed);
    // One world in eight has no faults at all, and more is expected of it.
    let is_calm = planted.is_none() && random.below(8) == 0;
    let setup = Setup::drawn(&mut random);
    let scenario = Scenario::drawn(&mut random);
    let faults = if is_calm { Faults::calm } else { Faults::drawn };
    let world = Arc::new(World::new(random, faults));
    let cluster = Cluster::new(Arc::clone(&world), scenario, setup, planted);
    let began = Instant::now();
    let mut nodes = JoinSet::new();
    nodes.spawn(rule(Arc::clone(&cluster)));
    nodes.spawn(signal_on(Arc::clone(&cluster)));
    nodes.spawn(approval::decide(Arc::clone(&cluster)));
    nodes.spawn(Arc::clone(&cluster).watch_breakers());
    for node in 0..cluster.setup.nodes.len() {
        nodes.spawn(Arc::clone(&cluster).keep(node));
    }
    let schedule = tokio::spawn(schedules::keep(
        Arc::clone(&cluster),
        began + FAULTY + PATIENCE,
    ));
    let mut clients = JoinSet::new();
    for number in 0..cluster.scenario.runs.len() {
        clients.spawn(client(Arc::clone(&cluster), number));
    }
    if is_calm {
        sleep(FAULTY).await;
    } else {
        harm(&cluster).await;
    }
    world.calm_down();
    for node in 0..cluster.setup.nodes.len() {
        if let Some(life) = cluster.life(node) {
            life.resume();
        }
    }
    let mut runs = Vec::new();
    let patience = Instant::now() + PATIENCE;
    while let Ok(Some(run)) = timeout_at(patience, clients.join_next()).await {
        runs.extend(run.ok());
    }
    if runs.len() < cluster.scenario.runs.len() {
        world.violated("a client could not submit its run".to_owned());
    }
    if timeout_at(patience + SETTLING, schedule).await.is_err() {
        world.violated("the schedule does not end".to_owned());
    }
    for run in &runs {
        end_of(&cluster, *run, patience).await;
    }
    let children = cluster.witness.children();
    let occurrences: Vec<_> = cluster.witness.occurrences(|known| known.runs().collect());
    let others: BTreeSet<RunId> = children.into_iter().chain(occurrences).collect();
    for run in others {
        end_of(&cluster, run, patience).await;
    }
    cluster.witness.check_answers();
    if world.violations().is_empty() {
        nothing_is_left(&cluster).await;
    }
    // An agent whose breaker opens gives back what it was sent, and a partition may be left before all of that is recorded.
    if is_calm && !world.happened().contains(LEFT_ALONE) {
        cluster.witness.expect_each_attempt_once();
    }
    Outcome {
        seed,
        fingerprint: world.fingerprint(),
        violations: world.violations(),
        runs: runs.len(),
        completions: cluster.witness.completions(),
        virtual_time: began.elapsed(),
        setup: cluster.setup.clone(),
        scenario: Arc::clone(&cluster.scenario),
        world,
    }
}

/// Submits a run until it is accepted, and cancels it if that is its part.
async fn client(cluster: Arc<Cluster>, number: usize) -> RunId {
    let world = Arc::clone(&cluster.world);
    let mut script = cluster.scenario.runs[number].clone();
    if cluster.planted == Some(Planted::LimitsIgnored) {
        script.max_concurrency = None;
    }
    sleep(script.submit_after).await;
    let starts_at = script.starts_after.map(|span| world.elapsed() + span);
    if let Some(at) = starts_at {
        cluster.scenario.may_start(number as u64, at);
    }
    let run = loop {
        let Some(runtime) = cluster.any_runtime() else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let submitted = script.submit(&runtime, number, starts_at);
        if let Ok(Ok(run)) = timeout(Duration::from_secs(2), submitted).await {
            break run;
        }
        sleep(Duration::from_millis(20 + world.below(200))).await;
    };
    world.note(NOBODY, "a run is accepted", [number as u64, 0]);
    if let Some(span) = script.cancel_after {
        sleep(span).await;
        for _ in 0..5 {
            let Some(runtime) = cluster.any_runtime() else {
                sleep(Duration::from_millis(300)).await;
                continue;
            };
            let handle = runtime.attach::<()>(run);
            let cancelled = handle.cancel("the client has changed its mind");
            if let Ok(Ok(())) = timeout(Duration::from_secs(1), cancelled).await {
                world.note(NOBODY, "a run is cancelled", [number as u64, 0]);
                break;
            }
        }
    }
    meddle::meddle(&cluster, number, run).await;
    run
}

/// Brings what tasks wait for, as others would who look now and then.
async fn signal_on(cluster: Arc<Cluster>) {
    let world = &cluster.world;
    loop {
        sleep(Duration::from_millis(400)).await;
        for (run, name) in cluster.witness.waiting() {
            if world.below(4) == 0 {
                meddle::signal(&cluster, run, name, 5_000 + world.below(1_000)).await;
            }
        }
    }
}

/// Rules about what is parked, as a person would who looks now and then.
async fn rule(cluster: Arc<Cluster>) {
    let world = &cluster.world;
    loop {
        sleep(Duration::from_millis(300)).await;
        for (run, task) in cluster.witness.parked() {
            // People take their time.
            if world.below(4) > 0 {
                continue;
            }
            let Some(runtime) = cluster.any_runtime() else {
                continue;
            };
            let ruling = match world.below(4) {
                0 => Ruling::fail("the operator"),
                1 => match Ruling::complete("the operator", RULED + u64::from(task)) {
                    Ok(ruling) => ruling,
                    Err(_) => continue,
                },
                _ => Ruling::retry("the operator"),
            };
            let handle = runtime.attach::<()>(run);
            let path = format!("task-{task}");
            let ruled = timeout(Duration::from_secs(2), handle.rule(&path, ruling)).await;
            if let Ok(Ok(())) = ruled {
                let number = cluster.scenario.number_of(run);
                world.note(NOBODY, "somebody rules", [number, u64::from(task)]);
            }
        }
    }
}

/// Kills, pauses, severs and sends away nodes for a while.
async fn harm(cluster: &Arc<Cluster>) {
    let world = &cluster.world;
    let end = Instant::now() + FAULTY;
    let kinds = 1 + world.below(15);
    loop {
        let span = Duration::from_millis(50 + world.below(900));
        if Instant::now() + span >= end {
            break;
        }
        sleep(span).await;
        let node = world.below(cluster.setup.nodes.len() as u64) as usize;
        let kind = world.below(4);
        let Some(life) = cluster.life(node).filter(|_| kinds & (1 << kind) != 0) else {
            continue;
        };
        match kind {
            0 => life.kill(),
            1 => {
                life.pause();
                let span = Duration::from_millis(100 + world.below(3_500));
                tokio::spawn(async move {
                    sleep(span).await;
                    life.resume();
                });
            }
            2 => life.sever(),
            _ => cluster.leave(node),
        }
    }
    tokio::time::sleep_until(end).await;
}

/// Waits for the end of a run.
async fn end_of(cluster: &Cluster, run: RunId, patience: Instant) {
    let (world, witness) = (&cluster.world, &cluster.witness);
    let settled = async {
        // A memory journal that is there answers.
        let mut watch = cluster.journal.watch(run).await.ok()?;
        loop {
            let summary = cluster.journal.run(run).await.ok()??;
            if summary.state.is_settled() {
                return Some(summary);
            }
            watch.changed().await;
        }
    };
    match timeout_at(patience, settled).await {
        Ok(Some(summary)) => {
            debug_assert_ne!(summary.state, RunState::Running);
            witness.ended(run, summary.settlement.as_ref());
        }
        Ok(None) => world.violated(format!(
            "run {run} was accepted, and the journal has lost it"
        )),
        Err(_) => world.violated(format!(
            "run {} {run} does not end: {}",
            cluster.scenario.number_of(run),
            witness.describe(run)
        )),
    }
}

/// Waits until no queue holds anything: whatever was confirmed was taken, and has been settled.
async fn nothing_is_left(cluster: &Cluster) {
    let end = Instant::now() + SETTLING;
    loop {
        let mut left = Vec::new();
        for queue in cluster.witness.queues() {
            if let Ok(stats) = cluster.bus.stats(&queue).await
                && stats.ready() + stats.delayed + stats.unacked > 0
            {
                left.push(format!("{queue}: {stats:?}"));
            }
        }
        if left.is_empty() {
            return;
        }
        if Instant::now() >= end {
            let text = left.join("; ");
            return cluster
                .world
                .violated(format!("messages are left for nobody: {text}"));
        }
        sleep(Duration::from_millis(500)).await;
    }
}
