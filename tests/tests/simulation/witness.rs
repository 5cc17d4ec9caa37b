//! The witness of the promise: sees what is appended and what handlers do, and says what may not have been.
//!
//! It has a model of its own of what a journal may hold, far simpler than the scheduler: an attempt is handed out, one
//! after the other, and ends once; a task completes once, with what a handler of that attempt has answered; a run ends
//! once, and nothing follows.

mod end;
mod handlers;
mod names;
mod run;
mod task;
mod wait;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coditect_core::RunId;
use coditect_core::bus::QueueName;
use coditect_core::dag::journal::{Partition, PartitionLease, Record, RecordKind};
use parking_lot::Mutex;

use self::handlers::Handlers;
use self::run::RunModel;
use crate::scenario::Scenario;
use crate::schedules::Occurrences;
use crate::world::World;

/// What was seen of one world.
pub(crate) struct Witness {
    world: Arc<World>,
    scenario: Arc<Scenario>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    leases: BTreeMap<u16, PartitionLease>,
    runs: BTreeMap<RunId, RunModel>,
    queues: BTreeSet<String>,
    handlers: Handlers,
    occurrences: Occurrences,
    /// Patches of which somebody was told that they are applied.
    told: BTreeSet<(RunId, String)>,
}

/// An attempt that a handler works on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempted {
    pub(crate) run: RunId,
    pub(crate) task: u32,
    pub(crate) attempt: u32,
}

impl Witness {
    pub(crate) fn new(world: &Arc<World>, scenario: &Arc<Scenario>) -> Self {
        Self {
            world: Arc::clone(world),
            scenario: Arc::clone(scenario),
            state: Mutex::default(),
        }
    }

    /// A run is submitted under a key.
    pub(crate) fn submitted(&self, run: RunId, key: Option<&str>) {
        self.scenario.known_as(run, key);
        let mut state = self.state.lock();
        let State {
            occurrences, runs, ..
        } = &mut *state;
        let has_ended = |run: RunId| runs.get(&run).is_some_and(RunModel::is_settled);
        let script = self.scenario.schedule.as_ref();
        let submitted = occurrences.submitted(run, key, script, has_ended);
        if let Err(text) = submitted {
            self.world.violated(text);
        }
    }

    /// A partition has a new owner.
    pub(crate) fn claimed(&self, lease: &PartitionLease) {
        let partition = lease.partition();
        let former = self
            .state
            .lock()
            .leases
            .insert(partition.get(), lease.clone());
        if former.is_some_and(|former| former.token() >= lease.token()) {
            self.world
                .violated(format!("the token of {partition} did not grow"));
        }
    }

    pub(crate) fn current_lease(&self, partition: Partition) -> Option<PartitionLease> {
        self.state.lock().leases.get(&partition.get()).cloned()
    }

    /// Records were appended.
    pub(crate) fn appended(&self, node: u8, lease: &PartitionLease, records: &[(RunId, Record)]) {
        let mut state = self.state.lock();
        let partition = lease.partition();
        let current = state.leases.get(&partition.get());
        if current.is_none_or(|current| current.token() != lease.token()) {
            self.world.violated(format!(
                "node {node} has appended to partition {partition} under a stale token"
            ));
        }
        for (run, record) in records {
            let State { runs, handlers, .. } = &mut *state;
            let script = self.scenario.script_of(*run);
            let model = runs.entry(*run).or_default();
            let mut applied = model.apply(record, *run, script, handlers);
            let begins = matches!(
                record.kind,
                RecordKind::Dispatched { .. } | RecordKind::Waiting { .. }
            );
            if begins && self.world.elapsed() < self.scenario.starts_at(*run) {
                applied = Err("it is before its start".to_owned());
            }
            let number = self.scenario.number_of(*run);
            let task = record.kind.task().map_or(99, |task| u64::from(task.get()));
            self.world
                .note(node, names::name_of(&record.kind), [number, task]);
            if let Err(text) = applied {
                self.world
                    .violated(format!("run {number} {run}: {text}: {:?}", record.kind));
            }
        }
        // What is dispatched and parked in one batch was never under way, and one that was taken for lost and is heard of
        // again may be one too many until another ends.
        let dispatches = records
            .iter()
            .filter(|(_, record)| matches!(record.kind, RecordKind::Dispatched { .. }));
        let runs: BTreeSet<_> = dispatches.map(|(run, _)| *run).collect();
        for run in runs {
            let script = self.scenario.script_of(run);
            let checked = state.runs.get(&run).map(|model| model.check_limit(script));
            if let Some(Err(text)) = checked {
                self.world.violated(format!("run {run}: {text}"));
            }
        }
    }

    /// A message went to a queue.
    pub(crate) fn published_to(&self, queue: &QueueName) {
        let mut state = self.state.lock();
        if !state.queues.contains(queue.as_str()) {
            state.queues.insert(queue.as_str().to_owned());
        }
    }

    pub(crate) fn queues(&self) -> Vec<QueueName> {
        let state = self.state.lock();
        let queues = state.queues.iter().map(|name| QueueName::new(name.clone()));
        queues.filter_map(Result::ok).collect()
    }

    /// A handler begins. It must have been told to by what is committed, and be given what upstream has answered.
    pub(crate) fn began(&self, by: Attempted, key: &str, takes: &[u32], taken: &[u64]) {
        let Attempted { run, task, attempt } = by;
        let mut state = self.state.lock();
        state.handlers.begin(by, key);
        let model = state.runs.get(&run);
        let dispatched = model.map_or(0, |model| model.attempt_of(task));
        if attempt > dispatched {
            self.world.violated(format!(
                "attempt {attempt} of task {task} runs, and {dispatched} was the last that was handed out"
            ));
        }
        if self.scenario.is_irreversible(run, task)
            && let Err(text) = state.handlers.check_begun_once(by, state.runs.get(&run))
        {
            self.world.violated(text);
        }
        let model = state.runs.get(&run);
        let upstream: Vec<_> = takes
            .iter()
            .filter_map(|task| model.and_then(|model| model.output_of(*task)))
            .collect();
        // One that is no longer open was given what there was then.
        let is_open = model.is_some_and(|model| model.is_open(task, attempt));
        if is_open && upstream != taken {
            self.world.violated(format!(
                "task {task} is given {taken:?}, and its upstream has answered {upstream:?}"
            ));
        }
    }

    /// A handler says that another may begin, as it has done nothing.
    pub(crate) fn has_done_nothing(&self, by: Attempted) {
        self.state.lock().handlers.excuse(by);
    }

    /// Tasks that wait for a ruling, by their runs.
    pub(crate) fn parked(&self) -> Vec<(RunId, u32)> {
        let state = self.state.lock();
        let runs = state.runs.iter();
        runs.flat_map(|(run, model)| model.parked().map(|task| (*run, task)))
            .collect()
    }

    /// Signals that tasks wait for, by their runs.
    pub(crate) fn waiting(&self) -> Vec<(RunId, u32)> {
        let state = self.state.lock();
        let runs = state.runs.iter().flat_map(|(run, model)| {
            let script = self.scenario.script_of(*run);
            let waiting = script.map_or_else(BTreeSet::new, |script| model.waiting(script));
            waiting.into_iter().map(|name| (*run, name))
        });
        runs.collect()
    }

    /// The runs in which an approval is waited for.
    pub(crate) fn undecided(&self) -> Vec<RunId> {
        let state = self.state.lock();
        let undecided = state.runs.iter().filter(|(run, model)| {
            let script = self.scenario.script_of(**run);
            script.is_some_and(|script| model.is_undecided(script))
        });
        undecided.map(|(run, _)| *run).collect()
    }

    pub(crate) fn has_settled(&self, run: RunId) -> bool {
        let state = self.state.lock();
        state.runs.get(&run).is_some_and(RunModel::is_settled)
    }

    /// How often a run was opened again.
    pub(crate) fn openings(&self, run: RunId) -> u32 {
        let state = self.state.lock();
        state.runs.get(&run).map_or(0, RunModel::openings)
    }

    /// Somebody was told that a patch is applied.
    pub(crate) fn told_of_patch(&self, run: RunId, patch: &str) {
        self.state.lock().told.insert((run, patch.to_owned()));
    }

    /// Looks at the runs of the schedule's occurrences.
    pub(crate) fn occurrences<T>(&self, look: impl FnOnce(&Occurrences) -> T) -> T {
        look(&self.state.lock().occurrences)
    }

    /// Checks that what people were told is so.
    pub(crate) fn check_answers(&self) {
        let state = self.state.lock();
        for (run, patch) in &state.told {
            let model = state.runs.get(run);
            if !model.is_some_and(|model| model.was_patched(patch)) {
                let text = format!("somebody was told that {patch} is applied, and it is not");
                self.world.violated(text);
            }
        }
    }

    /// A handler answers.
    pub(crate) fn answers(&self, by: Attempted, value: u64) {
        self.state.lock().handlers.answer(by, value);
    }

    /// A handler was given the result of a step that is kept.
    pub(crate) fn stepped(&self, by: Attempted, value: u64) {
        let kept = self.state.lock().handlers.step(by, value);
        if kept != value {
            let task = by.task;
            self.world.violated(format!(
                "a step of task {task} gave {kept} to one attempt, and {value} to another"
            ));
        }
    }

    /// What is true of every world without faults: each attempt was begun exactly once.
    pub(crate) fn expect_each_attempt_once(&self) {
        let state = self.state.lock();
        for (run, task, attempt, count) in state.handlers.not_once() {
            let number = self.scenario.number_of(run);
            self.world.violated(format!(
                "attempt {attempt} of task {task} of run {number} was begun {count} times without a fault"
            ));
        }
    }

    /// The end of a run, as its journal tells it.
    pub(crate) fn ended(
        &self,
        run: RunId,
        settlement: Option<&coditect_core::dag::journal::Settlement>,
    ) {
        let state = self.state.lock();
        let number = self.scenario.number_of(run);
        let model = state.runs.get(&run);
        let script = self.scenario.runs.get(number as usize);
        let checked = match model {
            Some(model) => model.check_end(run, settlement, script, &state.handlers),
            None => Err("it has ended, and nobody has carried it out".to_owned()),
        };
        if let Err(text) = checked {
            self.world.violated(format!("run {number} {run}: {text}"));
        }
    }

    /// Runs that handlers have asked for.
    pub(crate) fn children(&self) -> Vec<RunId> {
        let state = self.state.lock();
        let children = state
            .runs
            .keys()
            .filter(|run| self.scenario.number_of(**run) == u64::MAX);
        children.copied().collect()
    }

    /// What a run was last seen doing.
    pub(crate) fn describe(&self, run: RunId) -> String {
        let state = self.state.lock();
        match state.runs.get(&run) {
            Some(model) => format!("{model:#?}"),
            None => "nothing was ever appended to it".to_owned(),
        }
    }

    /// How many completions were accepted.
    pub(crate) fn completions(&self) -> u64 {
        let state = self.state.lock();
        state.runs.values().map(RunModel::completions).sum()
    }
}
