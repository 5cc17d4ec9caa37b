//! What can be asked of a run.

use std::sync::Arc;

use bytes::Bytes;
use coditect_dag::journal::RunState;
use coditect_dag::{Attempt, Class, Scheduler, TaskId, TaskRanges, TaskState, Timestamp};
use coditect_registry::Requirement;
use coditect_resilience::RetryPolicy;

use super::super::scope::Scope;
use super::{Holder, RunMachine};
use crate::context::Siblings;
use crate::failure::Failure;
use crate::plan::TaskSettings;
use crate::plan::spec::TaskSpec as PlannedTask;

impl RunMachine {
    pub(super) fn scope_index(&self, task: TaskId) -> usize {
        self.scope_of[task.index()] as usize
    }

    pub(super) fn scope(&self, task: TaskId) -> &Scope {
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
        if !self.aims.is_empty()
            && let Some((aim, _)) = self.aims.get(&task)
        {
            return &aim.requirement;
        }
        let scope = self.scope(task);
        scope.plan.requirement(scope.spec(task))
    }

    /// Whom a task is for, for people to read: a requirement, and the agent where only one may do it.
    pub(crate) fn wanted(&self, task: TaskId) -> String {
        match self.aims.get(&task) {
            Some((aim, _)) => aim.to_string(),
            None => self.requirement(task).to_string(),
        }
    }

    /// The input of a task, made of the outputs of its upstreams.
    ///
    /// # Errors
    ///
    /// When it has more than `limit` bytes.
    pub(crate) fn input(&self, task: TaskId, limit: usize) -> Result<Bytes, Failure> {
        if !self.inputs.is_empty()
            && let Some(input) = self.inputs.get(&task)
        {
            return Ok(input.clone());
        }
        self.scope(task).input(task, &self.outputs, limit)
    }

    /// The tasks of the scope into which a task expanded, or of the run's own graph.
    pub(crate) fn tasks_of(&self, task: Option<TaskId>) -> &TaskRanges {
        let index = task
            .and_then(|task| self.expanded.get(&task).copied())
            .unwrap_or(0);
        &self.scopes[index as usize].tasks
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

    /// The tasks of the same plan that a task waits for.
    pub(crate) fn upstream(&self, task: TaskId) -> Vec<TaskId> {
        let scope = self.scope(task);
        let position = scope.tasks.position(task).map(TaskId::new);
        let upstream = position.map(|position| scope.plan.graph().upstream(position));
        let upstream = upstream.into_iter().flatten();
        upstream
            .filter_map(|position| scope.tasks.task(position.get()))
            .collect()
    }

    /// Says whether a person gave the task another chance, or decided it.
    pub(crate) fn is_by_person(&self, task: TaskId) -> bool {
        self.by_person.contains(&task)
    }

    pub(crate) fn is_unserved(&self, task: TaskId) -> bool {
        self.unserved.contains(&task)
    }

    pub(crate) fn retry_policy(&self, task: TaskId) -> RetryPolicy {
        self.settings(task).retry.unwrap_or_default()
    }

    /// The attempt in which a task expanded into a scope.
    pub(crate) fn attempt_of(&self, scope: Option<TaskId>) -> Attempt {
        scope.map_or(Attempt::NONE, |task| self.scheduler.attempt(task))
    }

    /// The plan that a task belongs to.
    pub(crate) fn siblings(&self, task: TaskId) -> Siblings {
        let scope = self.scope(task);
        Siblings {
            plan: Arc::clone(&scope.plan),
            tasks: scope.tasks.clone(),
        }
    }

    /// The queues in which its tasks wait.
    pub(crate) fn classes(&self) -> impl Iterator<Item = Class> + '_ {
        let scopes = self.scopes.iter();
        let planned = scopes.flat_map(|scope| scope.classes.iter().copied());
        planned.chain(self.aims.values().map(|(_, class)| *class))
    }

    /// The queue in which a task waits.
    pub(crate) fn class(&self, task: TaskId) -> Class {
        if !self.aims.is_empty()
            && let Some((_, class)) = self.aims.get(&task)
        {
            return *class;
        }
        let scope = self.scope(task);
        scope.classes[scope.spec(task).call as usize]
    }

    /// When a task's own deadline passes: its plan's settings count from the moment it was taken up.
    pub(crate) fn deadline(&self, task: TaskId) -> Option<Timestamp> {
        let span = self.settings(task).deadline_span()?;
        let opened = self.opened_again.get(&task).copied();
        let from = opened.unwrap_or(self.scope(task).opened_at);
        Some(from.saturating_add(span))
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
        let tasks = self.tasks_of(scope).iter();
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
            .filter(|task| !self.waiting.contains_key(task) && !self.parked.contains_key(task))
            .map(|task| (task, self.scheduler.attempt(task)))
    }

    /// The process that has claimed an attempt.
    pub(crate) fn holder(&self, task: TaskId, attempt: Attempt) -> Option<&Holder> {
        let (claimed, holder) = self.claims.get(&task)?;
        (*claimed == attempt).then_some(holder)
    }

    /// When the first attempt of a task that has not ended was handed out.
    pub(crate) fn first_dispatched(&self, task: TaskId) -> Timestamp {
        self.dispatched
            .get(&task)
            .copied()
            .unwrap_or(Timestamp::MAX)
    }

    pub(crate) fn scheduler(&self) -> &Scheduler<u8> {
        &self.scheduler
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.settled.is_some()
    }

    /// How the run has ended.
    pub(crate) fn settlement(&self) -> Option<RunState> {
        self.settled
    }

    /// How often the run was opened again after it had ended.
    pub(crate) fn openings(&self) -> u32 {
        self.openings
    }

    /// When the run must have ended.
    pub(crate) fn run_deadline(&self) -> Option<Timestamp> {
        self.run_deadline
    }

    pub(crate) fn cancel_reason(&self) -> Option<&Arc<str>> {
        self.cancel_reason.as_ref()
    }
}
