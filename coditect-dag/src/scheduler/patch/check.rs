//! Finds out whether a patch fits a run, and what it comes to.

use rustc_hash::{FxHashMap, FxHashSet};

use super::super::Scheduler;
use super::super::scope::TOP;
use super::super::spec::{FailurePolicy, Join, TaskSpec};
use super::super::transition::TaskState;
use super::{Patch, Plan, Row};
use crate::graph::topological_order;
use crate::{Error, TaskId};

/// What is looked up of a patch.
struct Looked<'a, P> {
    patch: &'a Patch<P>,
    scope: u32,
    /// The id of the first task that is added.
    first: u32,
    changed: FxHashMap<u32, &'a TaskSpec<P>>,
    removed: FxHashSet<u32>,
}

impl<P: Ord + Copy> Scheduler<P> {
    pub(super) fn plan_patch(&self, patch: &Patch<P>) -> Result<Plan, Error> {
        let scope = self.patched_scope(patch.scope)?;
        self.check_size(patch)?;
        let mut looked = Looked {
            patch,
            scope,
            first: self.tasks.len() as u32,
            changed: FxHashMap::default(),
            removed: FxHashSet::default(),
        };
        for task in &patch.removed {
            self.check_change(&looked, *task)?;
            looked.removed.insert(task.get());
        }
        for (task, spec) in &patch.changed {
            self.check_change(&looked, *task)?;
            if looked.changed.insert(task.get(), spec).is_some() {
                return Err(Error::invalid_event(format!(
                    "task {task} is changed twice"
                )));
            }
        }
        let rows = self.rows(&looked)?;
        self.check_rows(&looked, &rows)?;
        self.check_hope(&looked, &rows)?;
        let mut rewired: Vec<u32> = rows
            .iter()
            .flat_map(|row| row.disconnected.iter().chain(&row.connected))
            .copied()
            .filter(|task| *task < looked.first)
            .collect();
        rewired.sort_unstable();
        rewired.dedup();
        Ok(Plan {
            scope,
            rows,
            rewired,
        })
    }

    /// The scope that is meant, if it has not ended.
    fn patched_scope(&self, task: Option<TaskId>) -> Result<u32, Error> {
        let Some(task) = task else {
            if self.outcome.is_some() || self.scopes[TOP as usize].is_stopping() {
                return Err(Error::invalid_event("the run has ended"));
            }
            return Ok(TOP);
        };
        let number = self.known(task)?;
        let open = self.expansions.get(&number).filter(|scope| {
            let scope = &self.scopes[**scope as usize];
            self.tasks[number as usize].expanded && !scope.is_stopping() && scope.unsettled > 0
        });
        open.copied().ok_or_else(|| {
            Error::invalid_event(format!("task {task} has no subtasks that are under way"))
        })
    }

    fn check_size(&self, patch: &Patch<P>) -> Result<(), Error> {
        let (width, limits) = (patch.added.len(), &self.limits);
        if width > limits.max_width as usize {
            return Err(Error::limit(format!(
                "the patch adds {width} tasks, at most {} are allowed",
                limits.max_width
            )));
        }
        let total = self.len() + width;
        if total > limits.max_tasks as usize || total >= u32::MAX as usize {
            return Err(Error::limit(format!(
                "the patch would bring the run to {total} tasks, at most {} are allowed",
                limits.max_tasks
            )));
        }
        Ok(())
    }

    fn check_change(&self, looked: &Looked<'_, P>, task: TaskId) -> Result<(), Error> {
        let number = self.known(task)?;
        if self.tasks[number as usize].scope != looked.scope {
            return Err(Error::invalid_event(format!(
                "task {task} belongs to another graph of the run"
            )));
        }
        if looked.removed.contains(&number) {
            return Err(Error::invalid_event(format!("task {task} is removed")));
        }
        if !self.may_change(task) {
            let state = self.state_of(number);
            return Err(Error::invalid_event(format!(
                "task {task} has begun, or ended: it is {state}"
            )));
        }
        Ok(())
    }

    /// Who waits for whom afterwards, for each task of whom that changes.
    fn rows(&self, looked: &Looked<'_, P>) -> Result<Vec<Row>, Error> {
        let mut changes: FxHashMap<u32, [Vec<u32>; 2]> = FxHashMap::default();
        let end = looked.first as usize + looked.patch.added.len();
        let lists = [&looked.patch.disconnected, &looked.patch.connected];
        for (which, list) in lists.into_iter().enumerate() {
            for &(upstream, task) in list {
                let is_new = |task: TaskId| task.get() >= looked.first && task.index() < end;
                let inside = is_new(upstream)
                    || self
                        .tasks
                        .get(upstream.index())
                        .is_some_and(|record| record.scope == looked.scope && !record.removed);
                if !inside {
                    let text =
                        format!("task {task} cannot wait for {upstream}, which is not there");
                    return Err(Error::invalid_event(text));
                }
                let may_go = which == 0 && looked.removed.contains(&task.get());
                if !is_new(task) && !may_go {
                    self.check_change(looked, task)?;
                }
                changes.entry(upstream.get()).or_default()[which].push(task.get());
            }
        }
        let mut rows: Vec<Row> = Vec::with_capacity(changes.len());
        for (upstream, [disconnected, connected]) in changes {
            let record = self.tasks.get(upstream as usize);
            let before = record.map_or(&[][..], |record| &self.targets[record.row()]);
            let mut gone: FxHashSet<u32> = disconnected.iter().copied().collect();
            let mut targets = Vec::with_capacity(before.len() + connected.len());
            targets.extend(before.iter().filter(|task| !gone.remove(task)));
            if let Some(task) = gone.into_iter().min() {
                let text = format!("task {task} does not wait for task {upstream}");
                return Err(Error::invalid_graph(text));
            }
            if before.len() - targets.len() != disconnected.len() {
                let text = format!("a dependency on task {upstream} is taken away twice");
                return Err(Error::invalid_graph(text));
            }
            let mut there: FxHashSet<u32> = targets.iter().copied().collect();
            if let Some(task) = connected.iter().find(|task| !there.insert(**task)) {
                let text = format!("task {task} waits for task {upstream} already");
                return Err(Error::invalid_graph(text));
            }
            targets.extend(&connected);
            rows.push(Row {
                upstream,
                targets,
                disconnected,
                connected,
            });
        }
        rows.sort_unstable_by_key(|row| row.upstream);
        Ok(rows)
    }

    /// Looks for cycles, and for dependencies that removed tasks are left with.
    fn check_rows(&self, looked: &Looked<'_, P>, rows: &[Row]) -> Result<(), Error> {
        if looked.patch.connected.is_empty() && looked.removed.is_empty() {
            return Ok(());
        }
        let mut ranges = self.scopes[looked.scope as usize].tasks.clone();
        ranges.extend(looked.first, looked.patch.added.len() as u32);
        let position = |task: u32| ranges.position(TaskId::new(task));
        let mut edges = Vec::new();
        for task in ranges.iter().map(TaskId::get) {
            let row = rows.binary_search_by_key(&task, |row| row.upstream);
            let targets = match (row, self.tasks.get(task as usize)) {
                (Ok(row), _) => &rows[row].targets[..],
                (Err(_), Some(record)) => &self.targets[record.row()],
                (Err(_), None) => &[],
            };
            for target in targets {
                if looked.removed.contains(&task) || looked.removed.contains(target) {
                    return Err(Error::invalid_graph(format!(
                        "task {target} still waits for task {task}, and one of them is removed"
                    )));
                }
                edges.extend(position(task).zip(position(*target)));
            }
        }
        if self.targets.len() + edges.len() >= u32::MAX as usize {
            return Err(Error::limit("the run would have too many dependencies"));
        }
        topological_order(ranges.len() as usize, edges.iter().copied()).map_err(|cycle| {
            let named = cycle.iter().take(32).filter_map(|at| ranges.task(*at));
            let named: Vec<_> = named.map(|task| task.to_string()).collect();
            Error::invalid_graph(format!(
                "tasks would wait in a cycle: {}",
                named.join(" → ")
            ))
        })?;
        Ok(())
    }

    /// Looks for tasks that would never run because of what has ended already.
    fn check_hope(&self, looked: &Looked<'_, P>, rows: &[Row]) -> Result<(), Error> {
        let spec_of = |task: u32| match looked.changed.get(&task) {
            Some(spec) => **spec,
            None if task >= looked.first => looked.patch.added[(task - looked.first) as usize],
            None => self.profiles.get(self.tasks[task as usize].profile).spec,
        };
        let tolerates = |task: u32| {
            spec_of(task).join == Join::AllSettled
                || self.scopes[looked.scope as usize].policy == FailurePolicy::Continue
        };
        let is_broken = |upstream: u32| {
            let record = self.tasks.get(upstream as usize);
            record
                .map(|record| record.state.get())
                .filter(|state| state.is_final() && *state != TaskState::Succeeded)
        };
        let mut mended: FxHashMap<u32, u32> = FxHashMap::default();
        for row in rows {
            let Some(state) = is_broken(row.upstream) else {
                continue;
            };
            if let Some(task) = row.connected.iter().find(|task| !tolerates(**task)) {
                return Err(Error::invalid_graph(format!(
                    "task {task} would wait for task {}, which is {state}, and never run",
                    row.upstream
                )));
            }
            for task in &row.disconnected {
                *mended.entry(*task).or_default() += 1;
            }
        }
        for task in looked.changed.keys() {
            let left = mended.get(task).copied().unwrap_or_default();
            if self.troubles[*task as usize].broken > left && !tolerates(*task) {
                return Err(Error::invalid_graph(format!(
                    "task {task} waits for one that did not succeed, and would never run"
                )));
            }
        }
        Ok(())
    }
}
