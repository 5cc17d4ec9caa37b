//! What people do to a run while it is under way, and after it has ended.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::prelude::*;
use coditect_core::{Error, ErrorKind, Patch, RunId};
use coditect_harness::Random;
use tokio::time::{Instant, sleep, timeout};

use crate::node::Cluster;
use crate::planted::Planted;
use crate::workload::{LEAF, RunScript, SPLIT, WORK, millis, one_in};
use crate::world::{NOBODY, World};

/// How long whoever asks waits for an answer.
const ANSWER: Duration = Duration::from_secs(2);

/// What somebody does, and after which time.
#[derive(Clone, Debug)]
pub(crate) struct Meddling {
    after: Duration,
    what: Meddle,
}

#[derive(Clone, Debug)]
enum Meddle {
    /// Nothing more is handed out for so long.
    Pause(Duration),
    Prioritize(Option<u32>, Priority),
    /// A signal comes several times, each time with another value.
    Signal(u32, u64),
    Patch(PatchScript),
    /// It is to start so long after this.
    Reschedule(Duration),
}

/// A change of the graph: one more task, between two that are there.
#[derive(Clone, Debug)]
pub(crate) struct PatchScript {
    pub(crate) number: u32,
    pub(crate) after: u32,
    pub(crate) before: Option<u32>,
    /// The task that the change before has added is taken out again.
    pub(crate) removes: bool,
}

/// What is done about a run that has failed or was cancelled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Again {
    Retry,
    Redrive(u32),
}

impl Meddling {
    pub(crate) const fn patch(&self) -> Option<&PatchScript> {
        match &self.what {
            Meddle::Patch(patch) => Some(patch),
            _ => None,
        }
    }
}

impl PatchScript {
    pub(crate) fn id(number: u32) -> String {
        format!("patch-{number}")
    }

    /// The key of the task that it adds.
    pub(crate) fn key(number: u32) -> String {
        format!("extra-{number}")
    }
}

/// What people do to a run of so many tasks.
pub(crate) fn drawn(random: &mut Random, tasks: u64, is_delayed: bool) -> Vec<Meddling> {
    let mut patches = 0;
    let count = [0, 0, 1, 2, 4][random.below(5) as usize];
    let meddlings = (0..count).map(|_| {
        let what = match random.below(6) {
            0 | 1 => Meddle::Pause(millis(random, 1_200)),
            2 => {
                let task = (random.below(2) == 0).then(|| random.below(tasks) as u32);
                Meddle::Prioritize(task, priority(random))
            }
            3 => Meddle::Signal(random.below(2) as u32, random.below(1_000)),
            _ if is_delayed && one_in(random, 3) => Meddle::Reschedule(millis(random, 2_500)),
            _ => {
                patches += 1;
                let after = random.below(tasks);
                let before = after + 1 + random.below(4);
                Meddle::Patch(PatchScript {
                    number: patches,
                    after: after as u32,
                    before: (before < tasks).then_some(before as u32),
                    removes: patches > 1 && one_in(random, 2),
                })
            }
        };
        let after = millis(random, 900);
        Meddling { after, what }
    });
    meddlings.collect()
}

pub(crate) fn priority(random: &mut Random) -> Priority {
    [Priority::P0, Priority::P1, Priority::P2][random.below(3) as usize]
}

/// Asks at most so often; none where nobody has answered, so that nobody knows whether it was heard.
pub(crate) async fn ask<T, F>(
    cluster: &Cluster,
    times: usize,
    call: impl Fn(Runtime) -> F,
) -> Option<Result<T, Error>>
where
    F: Future<Output = Result<T, Error>>,
{
    for _ in 0..times {
        let Some(runtime) = cluster.any_runtime() else {
            sleep(Duration::from_millis(150)).await;
            continue;
        };
        match timeout(ANSWER, call(runtime)).await {
            Ok(Err(error)) if !is_about_the_run(&error) => {}
            Ok(answer) => return Some(answer),
            Err(_) => {}
        }
        sleep(Duration::from_millis(20 + cluster.world.below(200))).await;
    }
    None
}

/// Says whether an error is an answer, and not trouble on the way to one.
fn is_about_the_run(error: &Error) -> bool {
    use ErrorKind::{Conflict, Invalid, NotFound};
    matches!(error.kind(), Invalid | Conflict | NotFound)
}

/// Does all that people do to a run.
pub(crate) async fn meddle(cluster: &Arc<Cluster>, number: usize, run: RunId) {
    let script = &cluster.scenario.runs[number];
    for Meddling { after, what } in &script.meddling {
        sleep(*after).await;
        carry_out(cluster, number, run, what).await;
    }
    if let Some(again) = script.again {
        put_back(cluster, number, run, again).await;
    }
}

async fn carry_out(cluster: &Arc<Cluster>, number: usize, run: RunId, what: &Meddle) {
    let world = &cluster.world;
    let note = |what| world.note(NOBODY, what, [number as u64, 0]);
    match what {
        Meddle::Pause(span) => {
            let pause =
                |runtime: Runtime| async move { runtime.attach::<()>(run).pause("wait").await };
            if let Some(Ok(())) = ask(cluster, 3, pause).await {
                note("a run is paused");
            }
            sleep(*span).await;
            // Whether or not it was heard.
            let resume = |runtime: Runtime| async move { runtime.attach::<()>(run).resume().await };
            while ask(cluster, 10, resume).await.is_none() {}
            note("a run is resumed");
        }
        Meddle::Prioritize(task, priority) => {
            let prioritize = |runtime: Runtime| async move {
                let handle = runtime.attach::<()>(run);
                match task {
                    Some(task) => {
                        let path = format!("task-{task}");
                        handle.set_task_priority(&path, *priority).await
                    }
                    None => handle.set_priority(*priority).await,
                }
            };
            if let Some(Ok(())) = ask(cluster, 2, prioritize).await {
                note("a priority is changed");
            }
        }
        Meddle::Signal(name, value) => {
            for time in 0..=world.below(3) {
                signal(cluster, run, *name, value + 1_000 * time).await;
            }
        }
        Meddle::Patch(patch) => patch_it(cluster, number, run, patch).await,
        Meddle::Reschedule(span) => {
            let start = world.elapsed() + *span;
            // It may be heard though nobody says so.
            cluster.scenario.may_start_at(run, start);
            let reschedule = |runtime: Runtime| async move {
                let handle = runtime.attach::<()>(run);
                handle.reschedule(World::epoch() + start).await
            };
            if let Some(Ok(())) = ask(cluster, 2, reschedule).await {
                note("a run is rescheduled");
            }
        }
    }
}

/// Brings a signal, once or not at all.
pub(crate) async fn signal(cluster: &Cluster, run: RunId, name: u32, value: u64) {
    let signal = RunScript::signal(name);
    let send = |runtime: Runtime| {
        let signal = &signal;
        async move { runtime.attach::<()>(run).signal(signal, &value).await }
    };
    if let Some(Ok(())) = ask(cluster, 1, send).await {
        let of = [cluster.scenario.number_of(run), u64::from(name)];
        cluster.world.note(NOBODY, "a signal is sent", of);
    }
}

async fn patch_it(cluster: &Arc<Cluster>, number: usize, run: RunId, script: &PatchScript) {
    let tasks = &cluster.scenario.runs[number].tasks;
    let call = |task: u32| match tasks[task as usize].leaves {
        Some(_) => SPLIT,
        None => WORK,
    };
    let named = |task: u32| format!("task-{task}");
    // Those that wait for signals call nothing, and cannot be named.
    let is_call = |task: u32| cluster.scenario.runs[number].is_call(task);
    let mut patch = Patch::new();
    let id = PatchScript::id(script.number);
    patch.id(id.as_str());
    let value = u64::from(script.number);
    let key = match cluster.planted {
        Some(Planted::PatchesIgnored) => format!("other-{value}"),
        _ => PatchScript::key(script.number),
    };
    let added = patch.task(key, &LEAF, value);
    if is_call(script.after) {
        let after = patch.existing(named(script.after), &call(script.after));
        patch.after(&added, &after);
    }
    if let Some(before) = script.before.filter(|before| is_call(*before)) {
        let before = patch.existing(named(before), &call(before));
        patch.after(&before, &added);
    }
    if script.removes {
        patch.remove_with_downstream(PatchScript::key(script.number - 1));
    }
    let send = |runtime: Runtime| {
        let patch = &patch;
        async move { runtime.attach::<()>(run).patch(patch).await }
    };
    let answer = ask(cluster, 4, send).await;
    let what = match &answer {
        Some(Ok(_)) => "a patch is applied",
        Some(Err(_)) => "a patch is refused",
        None => "a patch is unsure",
    };
    cluster.world.note(NOBODY, what, [number as u64, value]);
    if let Some(Ok(_)) = answer {
        cluster.witness.told_of_patch(run, &id);
    }
}

/// Waits for the end of a run, and opens it again if it has no result.
async fn put_back(cluster: &Arc<Cluster>, number: usize, run: RunId, again: Again) {
    let until = Instant::now() + Duration::from_secs(30);
    while !cluster.witness.has_settled(run) {
        if Instant::now() > until {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let before = cluster.witness.openings(run);
    let put_back = |runtime: Runtime| async move {
        let handle = runtime.attach::<()>(run);
        match again {
            Again::Retry => handle.retry().await,
            Again::Redrive(task) => handle.redrive(&format!("task-{task}")).await,
        }
    };
    let asked = ask(cluster, 2, put_back).await;
    if !matches!(asked, Some(Err(_))) {
        cluster
            .world
            .note(NOBODY, "a run is put back", [number as u64, 0]);
        // Heard or not: whoever looks for its end is to look for the last one.
        let until = Instant::now() + Duration::from_secs(8);
        while cluster.witness.openings(run) == before && Instant::now() < until {
            sleep(Duration::from_millis(100)).await;
        }
    }
}
