//! A schedule of a simulation: each of its occurrences is one run, whoever dies at which moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coditect_core::prelude::*;
use coditect_core::{Error, Missed, Overlap, RunId, Timing};
use coditect_harness::Random;
use tokio::time::{Instant, sleep, timeout};

use crate::node::Cluster;
use crate::planted::Planted;
use crate::workload::{LEAF, LONG};
use crate::world::{NOBODY, World};

/// The time between two occurrences.
const EVERY: Duration = Duration::from_secs(1);
/// What the key of a run begins with that is for an occurrence, which it ends with.
const KEY: &str = "coditect.schedule/";

/// A schedule that ends by itself.
#[derive(Clone, Debug)]
pub(crate) struct ScheduleScript {
    made_after: Duration,
    until: Duration,
    overlap: Overlap,
    /// Whether all is made up for that was missed, so that it is known what there has to be.
    is_whole: bool,
    jitter: Duration,
    /// What the task of a run of it is given, which says how long that takes.
    work: u64,
}

/// The runs that were submitted for each occurrence, by the milliseconds of its time.
#[derive(Debug, Default)]
pub(crate) struct Occurrences(BTreeMap<u64, BTreeSet<RunId>>);

impl ScheduleScript {
    pub(crate) fn drawn(random: &mut Random) -> Self {
        let is_whole = random.below(2) == 0;
        Self {
            made_after: Duration::from_millis(random.below(1_500)),
            until: Duration::from_millis(2_500 + random.below(4_000)),
            overlap: match random.below(4) {
                _ if is_whole => Overlap::Allow,
                0 => Overlap::Skip,
                1 => Overlap::Buffer(2),
                2 => Overlap::CancelPrevious,
                _ => Overlap::Allow,
            },
            is_whole,
            jitter: Duration::from_millis(random.below(400)),
            work: [0, LONG][random.below(2) as usize] + random.below(2_500),
        }
    }

    async fn make(&self, runtime: &Runtime, planted: Option<Planted>) -> Result<(), Error> {
        let timing = Timing::every(EVERY)
            .with_jitter(self.jitter)
            .ending_at(World::epoch() + self.until);
        let missed = match self.is_whole {
            true => Missed::All(100),
            false => Missed::Last,
        };
        let submit = runtime.submit(&LEAF, self.work).on_schedule("tick", timing);
        let overlap = match planted {
            Some(Planted::OverlapsIgnored) => Overlap::Allow,
            _ => self.overlap,
        };
        let made = submit.missed(missed).overlap(overlap).await;
        made.map(drop)
    }
}

impl Occurrences {
    /// A run is submitted that may be for an occurrence; says what is wrong with that.
    pub(crate) fn submitted(
        &mut self,
        run: RunId,
        key: Option<&str>,
        script: Option<&ScheduleScript>,
        has_ended: impl Fn(RunId) -> bool,
    ) -> Result<(), String> {
        let key = key.filter(|key| key.starts_with(KEY));
        let nominal = key.and_then(|key| key.rsplit('/').next()?.parse().ok());
        let Some(nominal) = nominal else {
            return Ok(());
        };
        let before = self
            .runs()
            .find(|known| *known != run && !has_ended(*known));
        let runs = self.0.entry(nominal).or_default();
        let is_new = runs.insert(run);
        if runs.len() > 1 {
            return Err(format!("the occurrence {nominal} has the runs {runs:?}"));
        }
        let waits =
            |script: &ScheduleScript| matches!(script.overlap, Overlap::Skip | Overlap::Buffer(_));
        match before.filter(|_| is_new && script.is_some_and(waits)) {
            Some(before) => Err(format!(
                "the occurrence {nominal} has its run while {before} goes on"
            )),
            None => Ok(()),
        }
    }

    pub(crate) fn runs(&self) -> impl Iterator<Item = RunId> {
        self.0.values().flatten().copied()
    }

    fn has(&self, after_epoch: Duration) -> bool {
        let at = (World::epoch() + after_epoch).duration_since(SystemTime::UNIX_EPOCH);
        let millis = at.map(|at| at.as_millis() as u64);
        millis.is_ok_and(|millis| self.0.contains_key(&millis))
    }
}

/// Makes the schedule until somebody has heard of it, and waits for its occurrences.
pub(crate) async fn keep(cluster: Arc<Cluster>, patience: Instant) {
    let Some(script) = cluster.scenario.schedule.clone() else {
        return;
    };
    let world = &cluster.world;
    sleep(script.made_after).await;
    loop {
        if let Some(runtime) = cluster.any_runtime()
            && let Ok(Ok(())) = timeout(
                Duration::from_secs(2),
                script.make(&runtime, cluster.planted),
            )
            .await
        {
            break;
        }
        sleep(Duration::from_millis(50 + world.below(200))).await;
    }
    let made = world.elapsed();
    world.note(NOBODY, "a schedule is made", [0, 0]);
    if !script.is_whole {
        let left = script.until.saturating_sub(world.elapsed());
        return sleep(left + Duration::from_secs(2)).await;
    }
    // Every full second after it was made.
    let first = made.as_secs() + 1;
    for second in first..=script.until.as_secs() {
        let at = Duration::from_secs(second);
        while !cluster.witness.occurrences(|known| known.has(at)) {
            if Instant::now() > patience {
                return world.violated(format!("the occurrence after {at:?} has no run"));
            }
            sleep(Duration::from_millis(200)).await;
        }
        world.note(NOBODY, "an occurrence has its run", [second, 0]);
    }
}
