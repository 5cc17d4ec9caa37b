//! One graph of a run: the run's own, or one into which a task expanded.

use std::sync::Arc;

use bytes::Bytes;
use coditect_dag::{Class, TaskId, TaskRanges, TaskState, Timestamp};
use parking_lot::Mutex;

use super::outputs::Outputs;
use crate::aggregate::{Absorbed, AggregatorCatalogue, ErasedAggregator};
use crate::failure::{Failure, FailureKind};
use crate::plan::PreparedPlan;
use crate::plan::spec::{Binding, ResultSpec, TaskSpec};

/// A graph within a run, with what its result will be made of.
pub(super) struct Scope {
    /// The task that expanded into it; none for the run's own graph.
    pub(super) task: Option<TaskId>,
    /// Where the plan's tasks are in the run.
    pub(super) tasks: TaskRanges,
    pub(super) plan: Arc<PreparedPlan>,
    /// The queue of each capability that the plan calls.
    pub(super) classes: Vec<Class>,
    /// When the plan was taken up.
    pub(super) opened_at: Timestamp,
    aggregation: Aggregation,
    /// The first task that failed, for the failure of the scope.
    pub(super) first_failed: Option<TaskId>,
    /// The aggregator has said that it has enough, and is told no more.
    has_enough: bool,
}

enum Aggregation {
    /// The result is made of outputs, or the aggregator has been taken away to finish.
    None,
    Running {
        /// Only ever reached through `&mut`; the lock makes the scope `Sync`.
        aggregator: Mutex<Box<dyn ErasedAggregator>>,
        /// Which tasks it is told of, by position in the plan.
        members: Vec<bool>,
    },
    Broken(Failure),
}

/// What a scope whose tasks have ended, or whose aggregator has enough, comes to.
pub(super) enum Conclusion {
    Result(Result<Bytes, Failure>),
    /// The aggregator makes the result; it may take its time.
    Finish(Box<dyn ErasedAggregator>),
    /// The aggregator is at it already.
    Pending,
}

impl Aggregation {
    fn begin(
        plan: &PreparedPlan,
        catalogue: Option<&AggregatorCatalogue>,
    ) -> Result<Self, Failure> {
        Ok(match (&plan.spec().result, catalogue) {
            (ResultSpec::Aggregate { name, config, over }, Some(catalogue)) => {
                let mut aggregator = catalogue.make(name, config.as_deref())?;
                let mut members = vec![false; plan.spec().tasks.len()];
                for position in over {
                    members[*position as usize] = true;
                }
                aggregator.begin(members.iter().filter(|member| **member).count())?;
                Self::Running {
                    aggregator: Mutex::new(aggregator),
                    members,
                }
            }
            _ => Self::None,
        })
    }
}

impl Scope {
    pub(super) fn new(
        task: Option<TaskId>,
        offset: u32,
        plan: Arc<PreparedPlan>,
        classes: Vec<Class>,
        catalogue: Option<&AggregatorCatalogue>,
    ) -> Result<Self, Failure> {
        let aggregation = Aggregation::begin(&plan, catalogue)?;
        let count = u32::try_from(plan.spec().tasks.len()).unwrap_or(u32::MAX);
        Ok(Self {
            task,
            tasks: TaskRanges::new(offset, count),
            plan,
            classes,
            opened_at: Timestamp::EPOCH,
            aggregation,
            first_failed: None,
            has_enough: false,
        })
    }

    /// Forgets what was made of the tasks so far.
    pub(super) fn begin_anew(&mut self, catalogue: Option<&AggregatorCatalogue>) {
        self.first_failed = None;
        self.has_enough = false;
        self.aggregation =
            Aggregation::begin(&self.plan, catalogue).unwrap_or_else(Aggregation::Broken);
    }

    pub(super) fn spec(&self, task: TaskId) -> &TaskSpec {
        self.plan.task(self.position(task))
    }

    /// Where a task of the scope stands in its plan.
    pub(super) fn position(&self, task: TaskId) -> usize {
        let position = self.tasks.position(task);
        position.expect("whoever asks has looked up the scope of the task") as usize
    }

    fn output<'a>(&self, outputs: &'a Outputs, position: u32) -> Option<&'a Bytes> {
        outputs.get(self.tasks.task(position)?)
    }

    /// Tells the aggregator how a task ended; says whether it has enough.
    pub(super) fn absorb(
        &mut self,
        task: TaskId,
        state: TaskState,
        output: Option<&Bytes>,
        failure: impl FnOnce() -> Failure,
    ) -> bool {
        if state == TaskState::Failed {
            self.first_failed.get_or_insert(task);
        }
        let position = self.position(task);
        let Aggregation::Running {
            aggregator,
            members,
        } = &mut self.aggregation
        else {
            return false;
        };
        // What was added later is no member.
        if self.has_enough || members.get(position) != Some(&true) {
            return false;
        }
        let key = &self.plan.task(position).key;
        let result = output.map(|output| &**output).ok_or_else(failure);
        match aggregator.get_mut().absorb(task, key, result) {
            Absorbed::Continue => false,
            Absorbed::Enough => {
                self.has_enough = true;
                true
            }
            Absorbed::Broken(failure) => {
                self.aggregation = Aggregation::Broken(failure);
                true
            }
        }
    }

    /// What the scope comes to. `failed_fast` says that its policy let the first failure decide.
    pub(super) fn conclude(
        &mut self,
        outputs: &Outputs,
        limit: usize,
        failed_fast: bool,
        failure_of: impl Fn(TaskId) -> Failure,
    ) -> Conclusion {
        if failed_fast {
            self.aggregation = Aggregation::None;
            return Conclusion::Result(Err(self.failure(&failure_of)));
        }
        match std::mem::replace(&mut self.aggregation, Aggregation::None) {
            Aggregation::Running { aggregator, .. } => Conclusion::Finish(aggregator.into_inner()),
            Aggregation::Broken(failure) => Conclusion::Result(Err(failure)),
            Aggregation::None => match &self.plan.spec().result {
                ResultSpec::Output(binding) => {
                    Conclusion::Result(self.resolve(binding, outputs, limit, &failure_of))
                }
                ResultSpec::Aggregate { .. } => Conclusion::Pending,
            },
        }
    }

    /// The input of a task as JSON, unless it has more than `limit` bytes.
    pub(super) fn input(
        &self,
        task: TaskId,
        outputs: &Outputs,
        limit: usize,
    ) -> Result<Bytes, Failure> {
        let output = |position: u32| self.output(outputs, position).cloned();
        self.spec(task).input.resolve(&output, limit)
    }

    fn resolve(
        &self,
        binding: &Binding,
        outputs: &Outputs,
        limit: usize,
        failure_of: &impl Fn(TaskId) -> Failure,
    ) -> Result<Bytes, Failure> {
        let output = |position: u32| self.output(outputs, position).cloned();
        let mut missing = None;
        binding.for_each_task(&mut |position| {
            if missing.is_none() && output(position).is_none() {
                missing = Some(position);
            }
        });
        if missing.is_some() {
            return Err(self.failure(failure_of));
        }
        binding.resolve(&output, limit)
    }

    fn failure(&self, failure_of: &impl Fn(TaskId) -> Failure) -> Failure {
        match self.first_failed {
            Some(task) => {
                let failure = failure_of(task);
                let inner = failure.task.as_deref().map(|inner| format!("/{inner}"));
                let key = format!("{}{}", self.spec(task).key, inner.unwrap_or_default());
                failure.with_task(key)
            }
            None => Failure::new(
                FailureKind::Cancelled,
                "a task that the result needs was cancelled",
            ),
        }
    }
}
