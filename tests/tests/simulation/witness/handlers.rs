//! What handlers were seen doing.

use std::collections::{BTreeMap, BTreeSet};

use coditect_core::RunId;

use super::Attempted;
use super::run::RunModel;

#[derive(Default)]
pub(super) struct Handlers {
    /// How often each attempt was begun by a handler.
    begun: BTreeMap<(RunId, u32, u32), u32>,
    /// What each attempt has answered.
    answers: BTreeSet<(RunId, u32, u32, u64)>,
    /// Attempts that say that they have done nothing.
    harmless: BTreeSet<(RunId, u32, u32)>,
    /// What the steps of tasks have given.
    steps: BTreeMap<(RunId, u32), u64>,
    /// The positions of tasks, by the keys that were given to handlers.
    positions: BTreeMap<(RunId, String), u32>,
}

impl Handlers {
    pub(super) fn begin(&mut self, by: Attempted, key: &str) {
        let Attempted { run, task, attempt } = by;
        *self.begun.entry((run, task, attempt)).or_default() += 1;
        self.positions.insert((run, key.to_owned()), task);
    }

    pub(super) fn answer(&mut self, by: Attempted, value: u64) {
        self.answers.insert((by.run, by.task, by.attempt, value));
    }

    pub(super) fn excuse(&mut self, by: Attempted) {
        self.harmless.insert((by.run, by.task, by.attempt));
    }

    /// Takes in what a step has given; says what it gave before.
    pub(super) fn step(&mut self, by: Attempted, value: u64) -> u64 {
        *self.steps.entry((by.run, by.task)).or_insert(value)
    }

    pub(super) fn has_begun(&self, run: RunId, task: u32, attempt: u32) -> bool {
        self.begun.contains_key(&(run, task, attempt))
    }

    pub(super) fn has_answered(&self, run: RunId, task: u32, attempt: u32, value: u64) -> bool {
        self.answers.contains(&(run, task, attempt, value))
    }

    /// Where in its plan a task is that some handler was given.
    pub(super) fn position_of(&self, run: RunId, key: &str) -> Option<u32> {
        self.positions.get(&(run, key.to_owned())).copied()
    }

    /// The attempts that were begun more or less often than once.
    pub(super) fn not_once(&self) -> impl Iterator<Item = (RunId, u32, u32, u32)> {
        let begun = self.begun.iter().filter(|(_, count)| **count != 1);
        begun.map(|((run, task, attempt), count)| (*run, *task, *attempt, *count))
    }

    /// Checks that an attempt that begins was granted, and that those of its task that had begun before, or ought to have,
    /// have done nothing, or somebody has ruled about them.
    pub(super) fn check_begun_once(
        &self,
        by: Attempted,
        model: Option<&RunModel>,
    ) -> Result<(), String> {
        let Attempted { run, task, attempt } = by;
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
