//! One run in memory: its graphs, its scheduler, what its tasks answered; moved by records alone.

use std::sync::Arc;

use bytes::Bytes;
use coditect_bus::Priority;
use coditect_dag::journal::{Record, RecordKind, Settlement};
use coditect_dag::{
    Action, Applied, Attempt, Cause, Class, Event, Expansion, Join, LossReason, Options, Scheduler,
    TaskId, TaskSpec, TaskState, Timestamp,
};
use coditect_registry::Requirement;
use coditect_resilience::RetryPolicy;
use rustc_hash::{FxHashMap, FxHashSet};

use super::outputs::Outputs;
use super::scope::{Conclusion, Scope};
use crate::aggregate::AggregatorCatalogue;
use crate::failure::{Failure, FailureKind};
use crate::plan::spec::TaskSpec as PlannedTask;
use crate::plan::{FailurePolicy, PreparedPlan, TaskSettings};
use crate::run::RunTerms;

/// How often an attempt may be lost with its worker where the plan says nothing.
const DEFAULT_MAX_LOSSES: u32 = 10;

/// What a record led to.
#[derive(Debug)]
pub(crate) enum Effect {
    /// The scheduler wants this done, or tells it.
    Act(Action),
    /// A scope's aggregator has enough; none is the run's own scope.
    Enough(Option<TaskId>),
}

/// Gives a requirement the number under which its tasks queue.
pub(crate) type Intern<'a> = &'a mut dyn FnMut(&Requirement) -> Class;

/// One run, rebuilt from its records or kept up to date by them.
pub(crate) struct RunMachine {
    priority: Priority,
    scheduler: Scheduler<u8>,
    scopes: Vec<Scope>,
    /// The scope that each task belongs to.
    scope_of: Vec<u32>,
    /// The scope into which each expanded task expanded.
    expanded: FxHashMap<TaskId, u32>,
    outputs: Outputs,
    failures: FxHashMap<TaskId, Failure>,
    unserved: FxHashSet<TaskId>,
    redriven: FxHashSet<TaskId>,
    /// When tasks were first dispatched whose retries are limited in time.
    dispatched: FxHashMap<TaskId, Timestamp>,
    failed_fast: FxHashSet<Option<TaskId>>,
    cancel_reason: Option<Arc<str>>,
    settled: bool,
    actions: Vec<Action>,
}

impl RunMachine {
    /// Builds the run as it was submitted. Without a catalogue no aggregator is told anything, which
    /// is enough to follow a run.
    pub(crate) fn new(
        plan: Arc<PreparedPlan>,
        terms: &RunTerms,
        intern: Intern<'_>,
        catalogue: Option<&AggregatorCatalogue>,
    ) -> Result<Self, Failure> {
        let priority = terms.priority;
        let classes: Vec<Class> = plan.requirements().iter().map(intern).collect();
        let options = Options::default()
            .with_policy(plan.spec().policy)
            .with_limits(terms.limits.to_scheduler());
        let scheduler = Scheduler::new(
            plan.graph(),
            |id, ()| schedule(&plan, &classes, priority, id),
            options,
        )
        .map_err(|error| Failure::new(FailureKind::InvalidPlan, error.to_string()))?;
        let scope_of = vec![0; plan.spec().tasks.len()];
        Ok(Self {
            priority,
            scheduler,
            scopes: vec![Scope::new(None, 0, plan, classes, catalogue)?],
            dispatched: FxHashMap::default(),
            scope_of,
            expanded: FxHashMap::default(),
            outputs: Outputs::default(),
            failures: FxHashMap::default(),
            unserved: FxHashSet::default(),
            redriven: FxHashSet::default(),
            failed_fast: FxHashSet::default(),
            cancel_reason: None,
            settled: false,
            actions: Vec::new(),
        })
    }

    pub(crate) fn scheduler(&self) -> &Scheduler<u8> {
        &self.scheduler
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.settled
    }

    pub(crate) fn cancel_reason(&self) -> Option<&Arc<str>> {
        self.cancel_reason.as_ref()
    }

    /// Takes a record in and tells what it led to; says whether it changed anything.
    pub(crate) fn apply(
        &mut self,
        record: &Record,
        intern: Intern<'_>,
        catalogue: Option<&AggregatorCatalogue>,
        effects: &mut Vec<Effect>,
    ) -> Result<bool, Failure> {
        self.catch_up(record, effects);
        let Some(event) = self.event(record, intern, catalogue)? else {
            return Ok(true);
        };
        let mut actions = std::mem::take(&mut self.actions);
        let applied = self.scheduler.apply(&event, &mut actions);
        match applied {
            Ok(Applied::Changed) => {}
            Ok(Applied::Ignored) => {
                self.actions = actions;
                // The end of a run is kept even where every task had ended before it.
                return Ok(matches!(record.kind, RecordKind::Settled(_)));
            }
            Ok(Applied::Refused(error)) => self.refuse(&event, &error),
            Err(error) => {
                actions.clear();
                self.actions = actions;
                return Err(Failure::new(FailureKind::InvalidPlan, error.to_string()));
            }
        }
        self.keep(record, &event);
        for action in actions.drain(..) {
            self.take_note(action, effects);
        }
        self.actions = actions;
        Ok(true)
    }

    /// Lets the backoff end that must have ended before a task was dispatched: it has no record.
    fn catch_up(&mut self, record: &Record, effects: &mut Vec<Effect>) {
        if let RecordKind::Dispatched { task, .. } = record.kind
            && self.scheduler.state(task) == Some(TaskState::Backoff)
        {
            self.due(record.at, effects);
        }
    }

    /// The scheduler's event for a record; none where it has no say.
    fn event(
        &mut self,
        record: &Record,
        intern: Intern<'_>,
        catalogue: Option<&AggregatorCatalogue>,
    ) -> Result<Option<Event<u8>>, Failure> {
        Ok(Some(match &record.kind {
            RecordKind::Started => Event::Started,
            RecordKind::Dispatched { task, .. } => {
                if !self.unserved.is_empty() {
                    self.unserved.remove(task);
                }
                Event::Dispatched { task: *task }
            }
            RecordKind::Succeeded { task, attempt, .. } => Event::Succeeded {
                task: *task,
                attempt: *attempt,
            },
            RecordKind::Failed {
                task,
                attempt,
                retry_at,
                ..
            } => Event::Failed {
                task: *task,
                attempt: *attempt,
                retry_at: *retry_at,
            },
            RecordKind::Lost { task, attempt, .. } => Event::Lost {
                task: *task,
                attempt: *attempt,
                reason: LossReason::WorkerGone,
            },
            RecordKind::Snoozed {
                task,
                attempt,
                until,
            } => Event::Snoozed {
                task: *task,
                attempt: *attempt,
                until: *until,
            },
            RecordKind::Expanded {
                task,
                attempt,
                plan,
            } => {
                if self.is_current(*task, *attempt) {
                    let expansion = self.expand(*task, plan, intern, catalogue)?;
                    Event::Expanded {
                        task: *task,
                        attempt: *attempt,
                        expansion: Box::new(expansion),
                    }
                } else {
                    return Ok(None);
                }
            }
            RecordKind::Resolved { task, .. } => Event::Resolved { task: *task },
            RecordKind::ScopeFailed { task, .. } => Event::ScopeFailed { task: *task },
            RecordKind::Expired { task } => Event::Expired { task: *task },
            RecordKind::Cancelled { task } => Event::Cancelled { task: *task },
            RecordKind::RunCancelled { reason } => {
                self.cancel_reason = Some(Arc::clone(reason));
                Event::RunCancelled
            }
            RecordKind::Redriven { task } => {
                self.settled = false;
                Event::Redriven { task: *task }
            }
            RecordKind::Settled(settlement) => {
                self.settled = true;
                match settlement {
                    Settlement::Succeeded { .. } => Event::RunResolved,
                    Settlement::Failed { .. } => Event::RunFailed,
                    Settlement::Cancelled { .. } => Event::RunCancelled,
                }
            }
            RecordKind::Unserved { task } => {
                self.unserved.insert(*task);
                return Ok(None);
            }
            RecordKind::Claimed { .. } => return Ok(None),
        }))
    }

    /// Opens the scope of a task that answered with a plan.
    fn expand(
        &mut self,
        task: TaskId,
        plan: &[u8],
        intern: Intern<'_>,
        catalogue: Option<&AggregatorCatalogue>,
    ) -> Result<Expansion<u8>, Failure> {
        let invalid = |error: &dyn std::error::Error| {
            let mut failure = Failure::new(FailureKind::InvalidPlan, error.to_string());
            failure
                .chain
                .extend(error.source().map(ToString::to_string));
            failure
        };
        let plan = PreparedPlan::from_json(plan).map_err(|error| invalid(&error))?;
        let plan = Arc::new(plan);
        let priority = self.priority;
        let classes: Vec<Class> = plan.requirements().iter().map(intern).collect();
        let expansion = Expansion::new(
            plan.graph(),
            |id, ()| schedule(&plan, &classes, priority, id),
            plan.spec().policy,
        );
        self.scheduler
            .check_expansion(task, &expansion)
            .map_err(|error| invalid(&error))?;
        let offset = u32::try_from(self.scope_of.len()).unwrap_or(u32::MAX);
        let scope = u32::try_from(self.scopes.len()).unwrap_or(u32::MAX);
        let count = plan.spec().tasks.len();
        self.scopes
            .push(Scope::new(Some(task), offset, plan, classes, catalogue)?);
        self.scope_of.resize(self.scope_of.len() + count, scope);
        self.expanded.insert(task, scope);
        Ok(expansion)
    }

    fn refuse(&mut self, event: &Event<u8>, error: &coditect_dag::Error) {
        if let Event::Expanded { task, .. } = event {
            let failure = Failure::new(FailureKind::InvalidPlan, error.to_string());
            self.failures.insert(*task, failure);
        }
    }

    /// Keeps what a record carries beside its event.
    fn keep(&mut self, record: &Record, event: &Event<u8>) {
        match &record.kind {
            RecordKind::Succeeded { task, output, .. } | RecordKind::Resolved { task, output } => {
                self.outputs.insert(*task, output.clone());
            }
            RecordKind::Failed { task, failure, .. }
            | RecordKind::ScopeFailed { task, failure } => {
                self.failures.insert(*task, decode_failure(failure));
            }
            RecordKind::Lost { task, reason, .. } => {
                let failure =
                    Failure::new(FailureKind::Lost, format!("the attempt was lost: {reason}"));
                self.failures.insert(*task, failure);
            }
            RecordKind::Redriven { task } => {
                self.failures.remove(task);
                self.outputs.remove(*task);
                self.redriven.insert(*task);
            }
            RecordKind::Started => self.scopes[0].opened_at = record.at,
            RecordKind::Expanded { task, .. } => {
                if let Some(scope) = self.expanded.get(task) {
                    self.scopes[*scope as usize].opened_at = record.at;
                }
            }
            RecordKind::Dispatched { task, .. }
                if self.retry_policy(*task).max_elapsed().is_some() =>
            {
                self.dispatched.entry(*task).or_insert(record.at);
            }
            RecordKind::Expired { task } => {
                let failure = self.missed_deadline(*task);
                self.failures.insert(*task, failure);
            }
            _ => debug_assert!(!matches!(event, Event::Succeeded { .. })),
        }
    }

    /// Why a task failed whose deadline has passed.
    pub(crate) fn missed_deadline(&self, task: TaskId) -> Failure {
        if self.unserved.contains(&task) {
            return Failure::new(
                FailureKind::Unserved,
                format!(
                    "no agent offers `{}`, and the deadline has passed",
                    self.requirement(task)
                ),
            );
        }
        let state = self.scheduler.state(task).unwrap_or(TaskState::Pending);
        let mut failure = Failure::new(
            FailureKind::DeadlineExceeded,
            format!(
                "the deadline passed after {} attempts ({state})",
                self.scheduler.attempt(task)
            ),
        );
        failure
            .chain
            .extend(self.failures.get(&task).map(ToString::to_string));
        failure
    }

    fn take_note(&mut self, action: Action, effects: &mut Vec<Effect>) {
        effects.push(Effect::Act(action));
        match action {
            Action::Settled { task, state, cause } => {
                if let Cause::FailFast(_) = cause {
                    let scope = self.scope_index(task);
                    self.failed_fast.insert(self.scopes[scope].task);
                }
                let scope = self.scope_index(task);
                let output = self.outputs.get(task);
                let failures = &self.failures;
                let failure = || explain(failures, task, state, cause);
                if self.scopes[scope].absorb(task, state, output, failure) {
                    effects.push(Effect::Enough(self.scopes[scope].task));
                }
            }
            Action::ScopeSettled { task, failed } if failed => {
                let scope = self
                    .expanded
                    .get(&task)
                    .map(|scope| &self.scopes[*scope as usize]);
                if scope.is_some_and(|scope| scope.plan.spec().policy == FailurePolicy::FailFast) {
                    self.failed_fast.insert(Some(task));
                }
            }
            _ => {}
        }
    }

    /// What a scope has come to, once it has settled or its aggregator has enough.
    pub(super) fn conclude(&mut self, task: Option<TaskId>) -> Conclusion {
        let failed_fast =
            self.failed_fast.contains(&task) || (task.is_none() && self.failed_fast_at_top());
        let index = task
            .and_then(|task| self.expanded.get(&task).copied())
            .unwrap_or(0);
        let failures = &self.failures;
        let explain = |task| explain(failures, task, TaskState::Failed, Cause::NotRetryable);
        self.scopes[index as usize].conclude(&self.outputs, failed_fast, explain)
    }

    fn failed_fast_at_top(&self) -> bool {
        let top = &self.scopes[0];
        top.plan.spec().policy == FailurePolicy::FailFast && top.first_failed.is_some()
    }

    fn scope_index(&self, task: TaskId) -> usize {
        self.scope_of[task.index()] as usize
    }

    fn scope(&self, task: TaskId) -> &Scope {
        &self.scopes[self.scope_index(task)]
    }

    /// Says whether the attempt is the one that runs.
    pub(crate) fn is_current(&self, task: TaskId, attempt: Attempt) -> bool {
        self.scheduler.state(task) == Some(TaskState::Running)
            && self.scheduler.attempt(task) == attempt
            && !self.scheduler.is_expanded(task)
    }

    pub(crate) fn task(&self, task: TaskId) -> &PlannedTask {
        self.scope(task).spec(task)
    }

    pub(crate) fn settings(&self, task: TaskId) -> &TaskSettings {
        let scope = self.scope(task);
        scope.plan.settings(scope.spec(task))
    }

    pub(crate) fn requirement(&self, task: TaskId) -> &Requirement {
        let scope = self.scope(task);
        scope.plan.requirement(scope.spec(task))
    }

    /// The input of a task, made of the outputs of its upstreams.
    pub(crate) fn input(&self, task: TaskId) -> Bytes {
        self.scope(task).input(task, &self.outputs)
    }

    /// The tasks of the scope into which a task expanded, or of the run's own graph.
    pub(crate) fn tasks_of(&self, task: Option<TaskId>) -> std::ops::Range<u32> {
        let index = task
            .and_then(|task| self.expanded.get(&task).copied())
            .unwrap_or(0);
        let scope = &self.scopes[index as usize];
        let count = u32::try_from(scope.plan.spec().tasks.len()).unwrap_or(u32::MAX);
        scope.offset..scope.offset.saturating_add(count)
    }

    /// The keys from the run's own graph down to the task, joined by `/`.
    pub(crate) fn path(&self, task: TaskId) -> String {
        let mut keys = vec![&*self.task(task).key];
        let mut scope = self.scope(task);
        while let Some(parent) = scope.task {
            keys.push(&self.task(parent).key);
            scope = self.scope(parent);
        }
        keys.reverse();
        keys.join("/")
    }

    /// Why a task ended as it did.
    pub(crate) fn explain(&self, task: TaskId, state: TaskState, cause: Cause) -> Failure {
        explain(&self.failures, task, state, cause)
    }

    /// The tasks of the same plan that a task waits for.
    pub(crate) fn upstream(&self, task: TaskId) -> Vec<TaskId> {
        let scope = self.scope(task);
        let position = TaskId::new(task.get() - scope.offset);
        let upstream = scope.plan.graph().upstream(position);
        upstream
            .map(|id| TaskId::new(scope.offset + id.get()))
            .collect()
    }

    pub(crate) fn was_redriven(&self, task: TaskId) -> bool {
        self.redriven.contains(&task)
    }

    pub(crate) fn is_unserved(&self, task: TaskId) -> bool {
        self.unserved.contains(&task)
    }

    pub(crate) fn retry_policy(&self, task: TaskId) -> RetryPolicy {
        self.settings(task).retry.unwrap_or_default()
    }

    pub(crate) fn priority(&self) -> Priority {
        self.priority
    }

    /// The queue in which a task waits.
    pub(crate) fn class(&self, task: TaskId) -> Class {
        let scope = self.scope(task);
        scope.classes[scope.spec(task).call as usize]
    }

    /// When a task's own deadline passes: its plan's settings count from the moment it was taken up.
    pub(crate) fn deadline(&self, task: TaskId) -> Option<Timestamp> {
        let span = self.settings(task).deadline_span()?;
        Some(self.scope(task).opened_at.saturating_add(span))
    }

    /// The deadlines of the tasks of a plan.
    pub(crate) fn deadlines(&self, scope: Option<TaskId>) -> Vec<(TaskId, Timestamp)> {
        let index = scope
            .and_then(|task| self.expanded.get(&task).copied())
            .unwrap_or(0);
        let settings = &self.scopes[index as usize].plan.spec().settings;
        if settings
            .iter()
            .all(|settings| settings.deadline_ms.is_none())
        {
            return Vec::new();
        }
        let tasks = self.tasks_of(scope).map(TaskId::new);
        tasks
            .filter_map(|task| Some((task, self.deadline(task)?)))
            .collect()
    }

    /// The deadlines of all tasks that have not ended.
    pub(crate) fn all_deadlines(&self) -> Vec<(TaskId, Timestamp)> {
        let mut deadlines: Vec<_> = self
            .scopes
            .iter()
            .flat_map(|scope| self.deadlines(scope.task))
            .collect();
        deadlines.retain(|(task, _)| {
            self.scheduler
                .state(*task)
                .is_some_and(|state| !state.is_final())
        });
        deadlines
    }

    /// The tasks that are in a state.
    pub(crate) fn tasks_in(&self, state: TaskState) -> impl Iterator<Item = TaskId> + '_ {
        let count = u32::try_from(self.scheduler.len()).unwrap_or(u32::MAX);
        (0..count)
            .map(TaskId::new)
            .filter(move |task| self.scheduler.state(*task) == Some(state))
    }

    /// The attempts that were handed out and have not ended.
    pub(crate) fn open_attempts(&self) -> impl Iterator<Item = (TaskId, Attempt)> + '_ {
        self.tasks_in(TaskState::Running)
            .filter(|task| !self.scheduler.is_expanded(*task))
            .map(|task| (task, self.scheduler.attempt(task)))
    }

    /// Lets backoffs end that are due by `now`.
    pub(crate) fn due(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let mut actions = std::mem::take(&mut self.actions);
        // `Due` fits every state of a run.
        let _ = self.scheduler.apply(&Event::Due { now }, &mut actions);
        for action in actions.drain(..) {
            self.take_note(action, effects);
        }
        self.actions = actions;
    }

    /// Why a run failed whose deadline has passed.
    pub(crate) fn missed_run_deadline(&self) -> Failure {
        let waits = |task: &TaskId| self.scheduler.state(*task) == Some(TaskState::Ready);
        if let Some(task) = self.unserved.iter().copied().filter(waits).min() {
            return Failure::new(
                FailureKind::Unserved,
                format!(
                    "the run's deadline passed, and no agent offers `{}`",
                    self.requirement(task)
                ),
            )
            .with_task(self.path(task));
        }
        let (running, ready) = (
            self.scheduler.count(TaskState::Running),
            self.scheduler.count(TaskState::Ready),
        );
        Failure::new(
            FailureKind::DeadlineExceeded,
            format!(
                "the run's deadline passed; {running} tasks were running and {ready} waiting for a slot"
            ),
        )
    }

    /// When the first attempt of a task that has not ended was handed out.
    pub(crate) fn first_dispatched(&self, task: TaskId) -> Timestamp {
        self.dispatched
            .get(&task)
            .copied()
            .unwrap_or(Timestamp::MAX)
    }
}

/// Describes a planned task to the scheduler.
fn schedule(
    plan: &PreparedPlan,
    classes: &[Class],
    priority: Priority,
    id: TaskId,
) -> TaskSpec<u8> {
    let task = plan.task(id.index());
    let settings = plan.settings(task);
    let join = if settings.run_after_failure {
        Join::AllSettled
    } else {
        Join::AllSucceeded
    };
    TaskSpec::new(
        classes[task.call as usize],
        settings.priority.unwrap_or(priority) as u8,
    )
    .with_max_attempts(settings.retry.unwrap_or_default().max_attempts())
    .with_max_losses(settings.max_losses.unwrap_or(DEFAULT_MAX_LOSSES))
    .with_join(join)
}

/// Why a task ended as it did, from what is known of it.
fn explain(
    failures: &FxHashMap<TaskId, Failure>,
    task: TaskId,
    state: TaskState,
    cause: Cause,
) -> Failure {
    if let (TaskState::Failed, Some(failure)) = (state, failures.get(&task)) {
        return failure.clone();
    }
    match state {
        TaskState::Skipped => Failure::new(
            FailureKind::Upstream,
            "a task that this one needs did not succeed",
        ),
        TaskState::Cancelled => Failure::new(FailureKind::Cancelled, "the task was cancelled"),
        _ => Failure::new(FailureKind::Error, format!("the task failed: {cause:?}")),
    }
}

pub(crate) fn decode_failure(json: &[u8]) -> Failure {
    serde_json::from_slice(json).unwrap_or_else(|error| {
        Failure::new(
            FailureKind::Error,
            format!("the task failed for a reason that cannot be read: {error}"),
        )
    })
}
