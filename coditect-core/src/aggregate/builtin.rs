//! The aggregators that every runtime knows.
//!
//! They work on JSON values, so that one registration serves every type: the typed functions below
//! only fix the types at the place where a plan is written.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::catalogue::AggregatorCatalogue;
use super::{Aggregation, ResultAggregator, TaskOutcome, Verdict};
use crate::agent::AgentError;
use crate::failure::Failure;

const COLLECT_ALL: &str = "coditect.collect_all";
const COLLECT_SUCCEEDED: &str = "coditect.collect_succeeded";
const QUORUM: &str = "coditect.quorum";
const MAJORITY: &str = "coditect.majority_vote";

/// Collects every task's output in the order of the plan; one failed task fails it.
#[must_use]
pub fn collect_all<T>() -> Aggregation<T, Vec<T>> {
    Aggregation::named(COLLECT_ALL)
}

/// Collects the outputs of the tasks that succeeded, in the order of the plan.
#[must_use]
pub fn collect_succeeded<T>() -> Aggregation<T, Vec<T>> {
    Aggregation::named(COLLECT_SUCCEEDED)
}

/// Takes the first output that comes and cancels the other tasks; fails when all have failed.
#[must_use]
pub fn first_success<T>() -> Aggregation<T, T> {
    Aggregation::named("coditect.first_success")
}

/// Takes the first `needed` outputs, in the order of the plan, and cancels the other tasks.
///
/// It fails as soon as so many tasks have failed that `needed` cannot be reached any more.
#[must_use]
pub fn quorum<T>(needed: usize) -> Aggregation<T, Vec<T>> {
    let config = to_raw_value(&QuorumConfig { needed }).map(Arc::from);
    Aggregation::configured(QUORUM, config.expect("a number is valid JSON"))
}

/// Takes the output that more than half of all the tasks agree on, compared as JSON, and cancels
/// the other tasks; fails as soon as no output can reach a majority any more.
#[must_use]
pub fn majority_vote<T>() -> Aggregation<T, T> {
    Aggregation::named(MAJORITY)
}

/// Makes an aggregator that folds every output into a value with a function.
///
/// The function is given outputs in the order in which tasks succeed, so it should not depend on
/// that order. A failed task fails it.
///
/// # Examples
///
/// ```
/// use coditect_core::prelude::*;
/// use coditect_core::aggregate::reduce;
///
/// # let _ =
/// Runtime::builder().aggregator("sum", || reduce(0_u64, |sum, x: u64| sum + x));
/// ```
pub fn reduce<I, O, F>(initial: O, fold: F) -> Reducer<I, O, F>
where
    F: FnMut(O, I) -> O + Send + 'static,
{
    Reducer {
        value: Some(initial),
        fold,
        failure: None,
        input: std::marker::PhantomData,
    }
}

pub(super) fn register(catalogue: &mut AggregatorCatalogue) {
    catalogue.insert(COLLECT_ALL, || Collect::new(None, false));
    catalogue.insert(COLLECT_SUCCEEDED, || Collect::new(None, true));
    catalogue.insert("coditect.first_success", || First(None, Vec::new()));
    catalogue.insert_configured(QUORUM, |config| {
        let text = config.map_or("null", RawValue::get);
        let config: QuorumConfig = serde_json::from_str(text)?;
        Ok(Collect::new(Some(config.needed), true))
    });
    catalogue.insert(MAJORITY, Majority::default);
}

#[derive(Serialize, Deserialize)]
struct QuorumConfig {
    needed: usize,
}

/// Collects outputs in the order of the plan: all of them, those that succeed, or a quorum.
struct Collect {
    needed: Option<usize>,
    expected: usize,
    tolerant: bool,
    outputs: Vec<(u32, Box<RawValue>)>,
    failures: Vec<Failure>,
}

impl Collect {
    fn new(needed: Option<usize>, tolerant: bool) -> Self {
        Self {
            needed,
            expected: 0,
            tolerant,
            outputs: Vec::new(),
            failures: Vec::new(),
        }
    }

    fn is_out_of_reach(&self) -> bool {
        match self.needed {
            Some(needed) => self.expected.saturating_sub(self.failures.len()) < needed,
            None => !self.tolerant && !self.failures.is_empty(),
        }
    }
}

impl ResultAggregator for Collect {
    type Input = Box<RawValue>;
    type Output = Vec<Box<RawValue>>;

    fn begin(&mut self, expected: usize) {
        self.expected = expected;
    }

    fn absorb(&mut self, outcome: TaskOutcome<Box<RawValue>>) -> Verdict {
        match outcome.result {
            Ok(output) => self.outputs.push((outcome.task.get(), output)),
            Err(failure) => self.failures.push(failure.with_task(&*outcome.key)),
        }
        let reached = self
            .needed
            .is_some_and(|needed| self.outputs.len() >= needed);
        if reached || self.is_out_of_reach() {
            Verdict::Enough
        } else {
            Verdict::Continue
        }
    }

    async fn finish(mut self) -> Result<Self::Output, AgentError> {
        if self.is_out_of_reach() {
            let wanted = self.needed.unwrap_or(self.expected);
            return Err(too_few(&self.failures, wanted, self.expected));
        }
        self.outputs.sort_by_key(|(task, _)| *task);
        Ok(self.outputs.into_iter().map(|(_, output)| output).collect())
    }
}

/// Takes the first output.
struct First(Option<Box<RawValue>>, Vec<Failure>);

impl ResultAggregator for First {
    type Input = Box<RawValue>;
    type Output = Box<RawValue>;

    fn absorb(&mut self, outcome: TaskOutcome<Box<RawValue>>) -> Verdict {
        match outcome.result {
            Ok(output) => {
                self.0.get_or_insert(output);
                Verdict::Enough
            }
            Err(failure) => {
                self.1.push(failure.with_task(&*outcome.key));
                Verdict::Continue
            }
        }
    }

    async fn finish(self) -> Result<Self::Output, AgentError> {
        self.0.ok_or_else(|| too_few(&self.1, 1, self.1.len()))
    }
}

/// Counts equal outputs until one has more than half.
#[derive(Default)]
struct Majority {
    expected: usize,
    counts: Vec<(Value, usize)>,
    failures: Vec<Failure>,
}

impl Majority {
    fn winner(&self) -> Option<&Value> {
        let needed = self.expected / 2 + 1;
        self.counts
            .iter()
            .find(|(_, count)| *count >= needed)
            .map(|(value, _)| value)
    }
}

impl ResultAggregator for Majority {
    type Input = Value;
    type Output = Value;

    fn begin(&mut self, expected: usize) {
        self.expected = expected;
    }

    fn absorb(&mut self, outcome: TaskOutcome<Value>) -> Verdict {
        match outcome.result {
            Ok(output) => match self.counts.iter_mut().find(|(value, _)| *value == output) {
                Some((_, count)) => *count += 1,
                None => self.counts.push((output, 1)),
            },
            Err(failure) => self.failures.push(failure.with_task(&*outcome.key)),
        }
        let told = self.counts.iter().map(|(_, count)| count).sum::<usize>() + self.failures.len();
        let best = self
            .counts
            .iter()
            .map(|(_, count)| *count)
            .max()
            .unwrap_or(0);
        let open = self.expected.saturating_sub(told);
        if self.winner().is_some() || best + open <= self.expected / 2 {
            Verdict::Enough
        } else {
            Verdict::Continue
        }
    }

    async fn finish(self) -> Result<Value, AgentError> {
        if let Some(winner) = self.winner() {
            return Ok(winner.clone());
        }
        let mut counts: Vec<_> = self.counts.iter().map(|(_, count)| *count).collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        Err(AgentError::permanent(format!(
            "no majority among {} votes: the best counts are {counts:?}, {} tasks failed",
            self.expected,
            self.failures.len(),
        )))
    }
}

/// An aggregator made of a function by [`reduce`].
pub struct Reducer<I, O, F> {
    value: Option<O>,
    fold: F,
    failure: Option<Failure>,
    input: std::marker::PhantomData<fn(I)>,
}

impl<I, O, F> fmt::Debug for Reducer<I, O, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reducer").finish_non_exhaustive()
    }
}

impl<I, O, F> ResultAggregator for Reducer<I, O, F>
where
    I: DeserializeOwned + Send + 'static,
    O: Serialize + Send + 'static,
    F: FnMut(O, I) -> O + Send + 'static,
{
    type Input = I;
    type Output = O;

    fn absorb(&mut self, outcome: TaskOutcome<I>) -> Verdict {
        match outcome.result {
            Ok(input) => {
                self.value = self.value.take().map(|value| (self.fold)(value, input));
                Verdict::Continue
            }
            Err(failure) => {
                self.failure = Some(failure.with_task(&*outcome.key));
                Verdict::Enough
            }
        }
    }

    async fn finish(self) -> Result<O, AgentError> {
        match (self.failure, self.value) {
            (None, Some(value)) => Ok(value),
            (Some(failure), _) => Err(AgentError::permanent(failure.to_string())),
            (None, None) => Err(AgentError::permanent("the reducing function panicked")),
        }
    }
}

fn too_few(failures: &[Failure], wanted: usize, expected: usize) -> AgentError {
    let first = failures
        .first()
        .map_or_else(String::new, |failure| format!("; first: {failure}"));
    AgentError::permanent(format!(
        "{} of {expected} tasks failed, {wanted} had to succeed{first}",
        failures.len(),
    ))
}
