//! The witness of the promise: sees what is appended and what handlers do, and says what may not have been.
//!
//! It has a model of its own of what a journal may hold, far simpler than the scheduler: an attempt is handed out, one
//! after the other, and ends once; a task completes once, with what a handler of that attempt has answered; a run ends
//! once, and nothing follows.

mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coditect_core::RunId;
use coditect_core::bus::QueueName;
use coditect_core::dag::journal::{Partition, PartitionLease, Record};
use parking_lot::Mutex;

use self::run::RunModel;
use crate::workload::Scenario;
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
    /// How often each attempt was begun by a handler.
    begun: BTreeMap<(RunId, u32, u32), u32>,
    /// What each attempt has answered.
    answers: BTreeSet<(RunId, u32, u32, u64)>,
    /// Attempts that say that they have done nothing.
    harmless: BTreeSet<(RunId, u32, u32)>,
    /// What the steps of tasks have given.
    steps: BTreeMap<(RunId, u32), u64>,
}

/// An attempt that a handler works on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempted {
    pub(crate) run: RunId,
    pub(crate) task: u32,
    pub(crate) attempt: u32,
}

impl State {
    /// Checks that an attempt that begins was granted, and that those of its task that had begun before, or ought to have,
    /// have done nothing, or somebody has ruled about them.
    fn check_begun_once(&self, by: Attempted) -> Result<(), String> {
        let Attempted { run, task, attempt } = by;
        let model = self.runs.get(&run);
        if !model.is_some_and(|model| model.was_granted(task, attempt)) {
            return Err(format!(
                "attempt {attempt} of irreversible task {task} begins, and was not granted"
            ));
        }
        let begun = self.begun.range((run, task, 0)..=(run, task, u32::MAX));
        let begun: Vec<_> = begun
            .map(|((.., attempt), count)| (*attempt, *count))
            .collect();
        let last = begun.last().map_or(0, |(attempt, _)| *attempt);
        for (attempt, count) in begun {
            let excused = self.harmless.contains(&(run, task, attempt))
                || model.is_some_and(|model| model.was_ruled(task, attempt));
            if count > 1 || (attempt < last && !excused) {
                return Err(format!(
                    "irreversible task {task} was begun twice, and nobody had ruled about attempt {attempt}"
                ));
            }
        }
        Ok(())
    }
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
            let State { runs, answers, .. } = &mut *state;
            let answered = |task, attempt, value| answers.contains(&(*run, task, attempt, value));
            let applied = runs.entry(*run).or_default().apply(record, answered);
            let number = self.scenario.number_of(*run);
            let task = record.kind.task().map_or(99, |task| u64::from(task.get()));
            self.world
                .note(node, run::name_of(&record.kind), [number, task]);
            if let Err(text) = applied {
                self.world
                    .violated(format!("run {number} {run}: {text}: {:?}", record.kind));
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
    pub(crate) fn began(&self, by: Attempted, takes: &[u32], taken: &[u64]) {
        let Attempted { run, task, attempt } = by;
        let mut state = self.state.lock();
        *state.begun.entry((run, task, attempt)).or_default() += 1;
        let model = state.runs.get(&run);
        let dispatched = model.map_or(0, |model| model.attempt_of(task));
        if attempt > dispatched {
            self.world.violated(format!(
                "attempt {attempt} of task {task} runs, and {dispatched} was the last that was handed out"
            ));
        }
        if self.scenario.is_irreversible(run, task)
            && let Err(text) = state.check_begun_once(by)
        {
            self.world.violated(text);
        }
        let model = state.runs.get(&run);
        let upstream: Vec<_> = takes
            .iter()
            .filter_map(|task| model.and_then(|model| model.output_of(*task)))
            .collect();
        if upstream != taken {
            self.world.violated(format!(
                "task {task} is given {taken:?}, and its upstream has answered {upstream:?}"
            ));
        }
    }

    /// A handler says that another may begin, as it has done nothing.
    pub(crate) fn has_done_nothing(&self, by: Attempted) {
        let attempted = (by.run, by.task, by.attempt);
        self.state.lock().harmless.insert(attempted);
    }

    /// Tasks that wait for a ruling, by their runs.
    pub(crate) fn parked(&self) -> Vec<(RunId, u32)> {
        let state = self.state.lock();
        let runs = state.runs.iter();
        runs.flat_map(|(run, model)| model.parked().map(|task| (*run, task)))
            .collect()
    }

    /// A handler answers.
    pub(crate) fn answers(&self, by: Attempted, value: u64) {
        let answer = (by.run, by.task, by.attempt, value);
        self.state.lock().answers.insert(answer);
    }

    /// A handler was given the result of a step that is kept.
    pub(crate) fn stepped(&self, by: Attempted, value: u64) {
        let Attempted { run, task, .. } = by;
        let kept = *self.state.lock().steps.entry((run, task)).or_insert(value);
        if kept != value {
            self.world.violated(format!(
                "a step of task {task} gave {kept} to one attempt, and {value} to another"
            ));
        }
    }

    /// What is true of every world without faults: each attempt was begun exactly once.
    pub(crate) fn expect_each_attempt_once(&self) {
        let state = self.state.lock();
        for ((run, task, attempt), count) in &state.begun {
            if *count != 1 {
                let number = self.scenario.number_of(*run);
                self.world.violated(format!(
                    "attempt {attempt} of task {task} of run {number} was begun {count} times without a fault"
                ));
            }
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
            Some(model) => model.check_end(settlement, script),
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
