//! Patches: whether one fits the run, and what becomes of the plan that it changes.

use std::sync::Arc;

use coditect_dag::{Class, Event, Patch as GraphPatch, TaskId, TaskSpec, TaskState, Timestamp};
use rustc_hash::FxHashSet;

use super::{Intern, RunMachine, schedule};
use crate::error::Error;
use crate::plan::{FailurePolicy, Patch, PatchBase, PatchSpec, PreparedPlan};

/// A patch that fits.
struct Fitting {
    index: usize,
    plan: PreparedPlan,
    classes: Vec<Class>,
    graph: GraphPatch<u8>,
    /// Tasks whose deadline counts from the patch.
    timed: Vec<TaskId>,
}

impl RunMachine {
    /// How many patches the run has had.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// What became of a patch: the revision that it made, or why it was refused.
    pub(crate) fn patched(&self, id: &str) -> Option<&Result<u64, Arc<str>>> {
        self.patches.get(id)
    }

    /// Says whether a patch took the task out of its plan.
    pub(crate) fn is_removed(&self, task: TaskId) -> bool {
        self.scheduler.is_removed(task)
    }

    /// The tasks that a patch has added or changed.
    pub(crate) fn touched_by(&self, patch: &PatchSpec) -> Vec<TaskId> {
        let scope = &self.scopes[self.open_scope(patch.base.scope).unwrap_or_default()];
        let added = scope.tasks.len();
        let added = added.saturating_sub(patch.added.len() as u32)..added;
        let changed = patch.changed.iter().map(|(position, _)| *position);
        let positions = changed.chain(added);
        positions.filter_map(|it| scope.tasks.task(it)).collect()
    }

    /// Puts a patch into the positions of this run as it is, if it fits.
    pub(crate) fn resolve(&self, patch: &Patch) -> Result<PatchSpec, Error> {
        let scope = match patch.path() {
            None => None,
            Some(path) => {
                let count = u32::try_from(self.scheduler.len()).unwrap_or(u32::MAX);
                let mut tasks = (0..count).rev().map(TaskId::new);
                let found = tasks.find(|task| self.path(*task) == path);
                Some(found.ok_or_else(|| Error::invalid(format!("the run has no task `{path}`")))?)
            }
        };
        let base = self.base(scope);
        let index = self.patched_scope(scope)?;
        let spec = PatchSpec::resolve(patch, &self.scopes[index].plan, base)?;
        self.fit(&spec, &mut |_, _| Class(0))?;
        Ok(spec)
    }

    /// Changes the plan; the scheduler follows by the event.
    pub(super) fn patch(
        &mut self,
        spec: &PatchSpec,
        at: Timestamp,
        intern: Intern<'_>,
    ) -> Result<Event<u8>, Error> {
        let Fitting {
            index,
            plan,
            classes,
            graph,
            timed,
        } = self.fit(spec, intern)?;
        let first = u32::try_from(self.scope_of.len()).unwrap_or(u32::MAX);
        let added = u32::try_from(graph.added.len()).unwrap_or(u32::MAX);
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        self.scope_of
            .resize(self.scope_of.len() + graph.added.len(), number);
        let scope = &mut self.scopes[index];
        scope.tasks.extend(first, added);
        scope.plan = Arc::new(plan);
        scope.classes = classes;
        self.opened_again
            .extend(timed.into_iter().map(|task| (task, at)));
        self.revision += 1;
        self.patches.insert(Arc::clone(&spec.id), Ok(self.revision));
        let patch = Box::new(graph);
        Ok(Event::Patched { patch })
    }

    fn base(&self, scope: Option<TaskId>) -> PatchBase {
        PatchBase {
            revision: self.revision,
            opening: self.openings,
            scope,
            attempt: self.attempt_of(scope),
        }
    }

    fn open_scope(&self, task: Option<TaskId>) -> Option<usize> {
        match task {
            None => Some(0),
            Some(task) => {
                let expanded = self.expanded.get(&task);
                expanded
                    .filter(|_| self.scheduler.is_expanded(task))
                    .map(|it| *it as usize)
            }
        }
    }

    fn patched_scope(&self, task: Option<TaskId>) -> Result<usize, Error> {
        if self.is_settled() || self.scheduler.is_settled() {
            return Err(Error::invalid("the run has ended"));
        }
        self.open_scope(task).ok_or_else(|| {
            let path = task.map(|task| self.path(task)).unwrap_or_default();
            Error::invalid(format!("task `{path}` has no plan that is under way"))
        })
    }

    /// Finds out whether a patch fits the run as it is, and what it comes to.
    fn fit(&self, spec: &PatchSpec, intern: Intern<'_>) -> Result<Fitting, Error> {
        let known = |task: TaskId| task.index() < self.scheduler.len();
        if !spec.base.scope.is_none_or(known) {
            return Err(Error::invalid(
                "the patch is about a task that is not there",
            ));
        }
        let index = self.patched_scope(spec.base.scope)?;
        let now = self.base(spec.base.scope);
        if now != spec.base {
            return Err(Error::patched_meanwhile(now.revision, spec.base.revision));
        }
        let scope = &self.scopes[index];
        for position in &spec.removed {
            self.check_change(index, *position)?;
        }
        for (position, _) in &spec.changed {
            self.check_change(index, *position)?;
        }
        let plan = spec.applied_to(&scope.plan)?;
        let mut classes = scope.classes.clone();
        let new = plan.requirements().iter().skip(classes.len());
        classes.extend(new.map(|requirement| intern(requirement, None)));
        let mut fitting = Fitting {
            index,
            graph: GraphPatch::new(spec.base.scope),
            timed: Vec::new(),
            plan,
            classes,
        };
        self.wire(spec, &mut fitting)?;
        self.scheduler
            .check_patch(&fitting.graph)
            .map_err(|error| Error::invalid(error.to_string()))?;
        Ok(fitting)
    }

    fn check_change(&self, index: usize, position: u32) -> Result<(), Error> {
        let scope = &self.scopes[index];
        let task = scope.tasks.task(position);
        let task =
            task.ok_or_else(|| Error::invalid(format!("the plan has no task {position}")))?;
        if self.scheduler.may_change(task) {
            return Ok(());
        }
        let key = &scope.spec(task).key;
        let state = self.scheduler.state(task).unwrap_or(TaskState::Pending);
        Err(Error::invalid(match state {
            _ if self.is_removed(task) => format!("task `{key}` was removed before"),
            state if state.is_final() => format!("task `{key}` has ended: it is {state}"),
            state => format!("task `{key}` has begun: it is {state}"),
        }))
    }

    /// Says in the ids of the run what joins the graph, what leaves it, and who waits for whom.
    fn wire(&self, spec: &PatchSpec, fitting: &mut Fitting) -> Result<(), Error> {
        let (scope, plan) = (&self.scopes[fitting.index], &fitting.plan);
        let before = scope.tasks.len();
        let first = u32::try_from(self.scheduler.len()).unwrap_or(u32::MAX);
        let id = |position: u32| {
            let new = || TaskId::new(first.saturating_add(position - before));
            scope.tasks.task(position).unwrap_or_else(new)
        };
        let described = |position: u32| {
            let at = TaskId::new(position);
            schedule(plan, &fitting.classes, self.priority, at)
        };
        let graph = &mut fitting.graph;
        let added = before..before.saturating_add(spec.added.len() as u32);
        graph.added = added.clone().map(described).collect();
        let mut timed: Vec<u32> = added.clone().collect();
        for (position, task) in &spec.changed {
            let task_id = id(*position);
            let mut new: TaskSpec<u8> = described(*position);
            if let Some(priority) = self.priorities.get(&task_id) {
                new.priority = *priority as u8;
            }
            if let Some((_, class)) = self.aims.get(&task_id) {
                new.class = *class;
            }
            graph.changed.push((task_id, new));
            if plan.settings(task) != scope.plan.settings(scope.spec(task_id)) {
                timed.push(*position);
            }
        }
        graph.removed = spec.removed.iter().copied().map(id).collect();
        let changed = spec.changed.iter().map(|(position, _)| *position);
        let rewired = changed.chain(spec.removed.iter().copied());
        for position in rewired.chain(added) {
            let upstream = |plan: &PreparedPlan| {
                let upstream = plan.graph().upstream(TaskId::new(position));
                upstream.map(TaskId::get).collect::<FxHashSet<u32>>()
            };
            let new = upstream(plan);
            let old = match position < before {
                true => upstream(&scope.plan),
                false => FxHashSet::default(),
            };
            for upstream in &new {
                self.check_upstream(fitting.index, plan, position, *upstream)?;
            }
            let gone = old.difference(&new);
            let come = new.difference(&old);
            let pair = |upstream: &u32| (id(*upstream), id(position));
            graph.disconnected.extend(gone.map(pair));
            graph.connected.extend(come.map(pair));
        }
        // The order decides where dependencies lie, and sets have none.
        graph.disconnected.sort_unstable();
        graph.connected.sort_unstable();
        let with_deadline = |position: &u32| {
            let task = plan.task(*position as usize);
            plan.settings(task).deadline_span().is_some()
        };
        fitting.timed = timed.into_iter().filter(with_deadline).map(id).collect();
        Ok(())
    }

    /// Refuses a dependency on what cannot succeed any more, for a task that needs that.
    fn check_upstream(
        &self,
        index: usize,
        plan: &PreparedPlan,
        position: u32,
        upstream: u32,
    ) -> Result<(), Error> {
        let scope = &self.scopes[index];
        let (task, needed) = (plan.task(position as usize), plan.task(upstream as usize));
        let Some(id) = scope.tasks.task(upstream) else {
            return Ok(());
        };
        if self.is_removed(id) {
            return Err(Error::invalid(format!(
                "task `{}` needs task `{}`, which was removed before",
                task.key, needed.key
            )));
        }
        let state = self.scheduler.state(id).unwrap_or(TaskState::Pending);
        let tolerates =
            plan.settings(task).run_after_failure || plan.spec().policy == FailurePolicy::Continue;
        if state.is_final() && state != TaskState::Succeeded && !tolerates {
            return Err(Error::invalid(format!(
                "task `{}` needs task `{}`, which is {state}",
                task.key, needed.key
            )));
        }
        Ok(())
    }
}
