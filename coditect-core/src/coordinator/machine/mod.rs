//! One run in memory: its graphs, its scheduler, what its tasks answered; moved by records alone.

mod event;
mod explain;
mod inspect;
mod life;
mod park;
mod patch;
mod redrive;
mod reopen;
mod start;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coditect_bus::Priority;
use coditect_dag::journal::{Record, RecordKind, RunState};
use coditect_dag::{
    Action, Applied, Attempt, Cause, Class, Event, Options, Scheduler, TaskId, TaskState, Timestamp,
};
use coditect_registry::{AgentId, Requirement};
use rustc_hash::{FxHashMap, FxHashSet};

use self::event::schedule;
pub(crate) use self::explain::decode_failure;
use self::explain::explain;
use self::park::Parked;
pub(crate) use self::park::is_ruling;
use self::redrive::Redriven;
pub(crate) use self::wait::approval_signal;
use super::outputs::Outputs;
use super::scope::{Conclusion, Scope};
use crate::aggregate::AggregatorCatalogue;
use crate::aim::Aim;
use crate::failure::{Failure, FailureKind};
use crate::plan::{FailurePolicy, PreparedPlan};
use crate::run::RunTerms;

/// What a record led to.
#[derive(Debug)]
pub(crate) enum Effect {
    /// The scheduler wants this done, or tells it.
    Act(Action),
    /// A scope's aggregator has enough; none is the run's own scope.
    Enough(Option<TaskId>),
}

/// Gives a requirement, or that of one agent alone, the number under which its tasks queue.
pub(crate) type Intern<'a> = &'a mut dyn FnMut(&Requirement, Option<&AgentId>) -> Class;

/// The process that has claimed an attempt.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) incarnation: Arc<str>,
    /// Where that is known.
    pub(crate) lease_ms: Option<u64>,
    /// Which of its claims was granted, for an attempt that is irreversible.
    pub(crate) claim: Option<u64>,
}

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
    /// Who claimed which attempt of a task, as far as the attempt is known to be open.
    claims: FxHashMap<TaskId, (Attempt, Holder)>,
    /// When tasks were opened again, from which their deadlines count anew.
    opened_again: FxHashMap<TaskId, Timestamp>,
    /// When tasks were first dispatched whose retries are limited in time.
    dispatched: FxHashMap<TaskId, Timestamp>,
    failed_fast: FxHashSet<Option<TaskId>>,
    cancel_reason: Option<Arc<str>>,
    /// How the run has ended.
    settled: Option<RunState>,
    /// How often it was opened again after that.
    openings: u32,
    /// When the run is to start, where that is not at once.
    start_at: Option<Timestamp>,
    /// When the run must have ended.
    run_deadline: Option<Timestamp>,
    /// How much time it had when it was taken up.
    run_span: Option<Duration>,
    /// Tasks whose priority was changed one by one.
    priorities: FxHashMap<TaskId, Priority>,
    /// What tasks are given that is not what their plan says.
    inputs: FxHashMap<TaskId, Bytes>,
    /// Whom tasks are to be done by that are not to be done by whom their plan says.
    aims: FxHashMap<TaskId, (Aim, Class)>,
    /// Tasks that were set aside, and put back.
    redriven: FxHashMap<TaskId, Redriven>,
    /// What signals have brought, by their names.
    signals: FxHashMap<Arc<str>, Bytes>,
    /// Since when tasks wait for signals.
    waiting: FxHashMap<TaskId, Timestamp>,
    /// Tasks of which nobody knows what became.
    parked: FxHashMap<TaskId, Parked>,
    times_parked: FxHashMap<TaskId, u32>,
    /// Tasks that were cancelled while nobody knew what became of an attempt that must not be begun twice.
    unclear: FxHashSet<TaskId>,
    /// How often a person has opened the run again, and single tasks.
    retries: u32,
    opened: FxHashMap<TaskId, u32>,
    /// Tasks in which a person had a hand.
    by_person: FxHashSet<TaskId>,
    /// How many patches have changed the graph.
    revision: u64,
    /// What became of patches: the revision that each made, or why it was refused.
    patches: FxHashMap<Arc<str>, Result<u64, Arc<str>>>,
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
        let classes = classes_of(&plan, intern);
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
            claims: FxHashMap::default(),
            opened_again: FxHashMap::default(),
            failed_fast: FxHashSet::default(),
            cancel_reason: None,
            settled: None,
            openings: 0,
            start_at: None,
            run_deadline: terms.deadline,
            run_span: None,
            priorities: FxHashMap::default(),
            inputs: FxHashMap::default(),
            aims: FxHashMap::default(),
            redriven: FxHashMap::default(),
            signals: FxHashMap::default(),
            waiting: FxHashMap::default(),
            parked: FxHashMap::default(),
            times_parked: FxHashMap::default(),
            unclear: FxHashSet::default(),
            retries: 0,
            opened: FxHashMap::default(),
            by_person: FxHashSet::default(),
            revision: 0,
            patches: FxHashMap::default(),
            actions: Vec::new(),
        })
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
                return Ok(self.keep_beside_the_scheduler(&record.kind));
            }
            Ok(Applied::Refused(error)) => self.refuse(&event, &error),
            Err(error) => {
                actions.clear();
                self.actions = actions;
                return Err(Failure::new(FailureKind::InvalidPlan, error.to_string()));
            }
        }
        let reopens = record.kind.reopens() && self.settled.is_some();
        self.keep(record, &event);
        if reopens {
            self.reopen(record.at, &actions, catalogue, effects);
        }
        for action in actions.drain(..) {
            self.take_note(action, effects);
        }
        self.actions = actions;
        Ok(true)
    }

    /// Lets the backoff end that must have ended before a task was dispatched: it has no record. Others that were due wait on,
    /// as their owner may have put them off.
    fn catch_up(&mut self, record: &Record, effects: &mut Vec<Effect>) {
        if let RecordKind::Dispatched { task, .. } = record.kind
            && self.scheduler.state(task) == Some(TaskState::Backoff)
        {
            self.scheduler.put_off(task, Timestamp::EPOCH);
            self.due(Timestamp::EPOCH, effects);
        }
    }

    fn take_note(&mut self, action: Action, effects: &mut Vec<Effect>) {
        effects.push(Effect::Act(action));
        match action {
            Action::Settled { task, state, cause } => {
                if !self.waiting.is_empty() {
                    self.waiting.remove(&task);
                }
                self.note_unclear(task, state);
                self.unpark(task);
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
    pub(super) fn conclude(&mut self, task: Option<TaskId>, limit: usize) -> Conclusion {
        let failed_fast =
            self.failed_fast.contains(&task) || (task.is_none() && self.failed_fast_at_top());
        let index = task
            .and_then(|task| self.expanded.get(&task).copied())
            .unwrap_or(0);
        let failures = &self.failures;
        let explain = |task| explain(failures, task, TaskState::Failed, Cause::NotRetryable);
        self.scopes[index as usize].conclude(&self.outputs, limit, failed_fast, explain)
    }

    fn failed_fast_at_top(&self) -> bool {
        let top = &self.scopes[0];
        top.plan.spec().policy == FailurePolicy::FailFast && top.first_failed.is_some()
    }

    /// Moves the end of a task's backoff.
    pub(crate) fn put_off(&mut self, task: TaskId, until: Timestamp) {
        self.scheduler.put_off(task, until);
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
}

/// The queues in which the tasks of a plan wait.
fn classes_of(plan: &PreparedPlan, intern: Intern<'_>) -> Vec<Class> {
    let requirements = plan.requirements().iter();
    requirements
        .map(|requirement| intern(requirement, None))
        .collect()
}
