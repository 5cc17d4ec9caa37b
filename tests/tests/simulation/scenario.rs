//! All that happens in a simulation by plan: its runs, its schedule, its outage.

use std::collections::BTreeMap;
use std::time::Duration;

use coditect_core::RunId;
use coditect_harness::Random;
use parking_lot::Mutex;

use crate::outage::Outage;
use crate::schedules::ScheduleScript;
use crate::workload::{RunScript, one_in, run};

/// How far the clocks of two nodes may be apart.
const SKEW: Duration = Duration::from_millis(700);

/// All runs of a simulation.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) runs: Vec<RunScript>,
    pub(crate) schedule: Option<ScheduleScript>,
    pub(crate) outage: Option<Outage>,
    numbers: Mutex<BTreeMap<RunId, u64>>,
    /// The earliest instant at which each delayed run was ever to start.
    starts: Mutex<BTreeMap<u64, Duration>>,
}

impl Scenario {
    pub(crate) fn drawn(random: &mut Random) -> Self {
        let count = 1 + random.below(5);
        Self {
            runs: (0..count).map(|_| run(random)).collect(),
            schedule: one_in(random, 4).then(|| ScheduleScript::drawn(random)),
            outage: one_in(random, 4).then(|| Outage::drawn(random)),
            numbers: Mutex::default(),
            starts: Mutex::default(),
        }
    }

    /// A delayed run may start from this instant on, or from one that was said before, whichever is earlier.
    pub(crate) fn may_start_at(&self, run: RunId, at: Duration) {
        self.may_start(self.number_of(run), at);
    }

    pub(crate) fn may_start(&self, number: u64, at: Duration) {
        let mut starts = self.starts.lock();
        let known = starts.entry(number).or_insert(at);
        *known = (*known).min(at);
    }

    /// From which instant on a run may do anything.
    pub(crate) fn starts_at(&self, run: RunId) -> Duration {
        let starts = self.starts.lock();
        let start = starts.get(&self.number_of(run));
        start.copied().unwrap_or_default().saturating_sub(SKEW)
    }

    pub(crate) fn script_of(&self, run: RunId) -> Option<&RunScript> {
        self.runs.get(self.number_of(run) as usize)
    }

    /// The key by which the submission of a run is recognised.
    pub(crate) fn key_of(number: usize) -> String {
        format!("run-{number}")
    }

    /// A submission with a key has this id.
    pub(crate) fn known_as(&self, run: RunId, key: Option<&str>) {
        let number = key.and_then(|key| key.strip_prefix("run-")?.parse().ok());
        self.numbers.lock().insert(run, number.unwrap_or(u64::MAX));
    }

    /// Says whether a task of a run must not be begun twice.
    pub(crate) fn is_irreversible(&self, run: RunId, task: u32) -> bool {
        let script = self.runs.get(self.number_of(run) as usize);
        let task = script.and_then(|script| script.tasks.get(task as usize));
        task.is_some_and(|task| task.irreversible)
    }

    pub(crate) fn number_of(&self, run: RunId) -> u64 {
        self.numbers.lock().get(&run).copied().unwrap_or(u64::MAX)
    }
}
