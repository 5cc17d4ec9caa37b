//! Patches as they travel and are kept: plain data in the positions of one plan at one revision.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use coditect_dag::{Attempt, TaskId};
use serde::{Deserialize, Serialize};

use super::patch::Patch;
use super::prepared::PreparedPlan;
use super::settings::TaskSettings;
use super::spec::{Binding, PlanSpec, ResultSpec, TaskSpec};
use crate::error::Error;

/// Which graph of a run a patch is made for, and how that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PatchBase {
    /// How many patches the run had had.
    pub(crate) revision: u64,
    /// How often it had been opened again.
    pub(crate) opening: u32,
    /// The task whose plan is meant; none for the run's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<TaskId>,
    /// The attempt that answered with the plan.
    pub(crate) attempt: Attempt,
}

/// A patch without its types and keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PatchSpec {
    pub(crate) id: Arc<str>,
    #[serde(flatten)]
    pub(crate) base: PatchBase,
    /// Capabilities that come behind those of the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    calls: Vec<String>,
    /// Settings that come behind those of the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    settings: Vec<TaskSettings>,
    /// Tasks that come behind those of the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) added: Vec<TaskSpec>,
    /// Tasks of the plan by position, as they are from now on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) changed: Vec<(u32, TaskSpec)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) removed: Vec<u32>,
}

impl PatchSpec {
    /// Puts positions in the place of keys.
    ///
    /// # Errors
    ///
    /// If the plan has no such task, has one already, or has one that calls something else.
    pub(crate) fn resolve(
        patch: &Patch,
        plan: &PreparedPlan,
        base: PatchBase,
    ) -> Result<Self, Error> {
        patch.check()?;
        if let Some(expected) = patch.expected.filter(|it| *it != base.revision) {
            return Err(Error::patched_meanwhile(base.revision, expected));
        }
        let mut resolved = Self {
            id: Arc::clone(&patch.id),
            base,
            calls: Vec::new(),
            settings: Vec::new(),
            added: Vec::new(),
            changed: Vec::new(),
            removed: Vec::new(),
        };
        let (there, said) = (plan.spec(), patch.spec());
        let positions = positions(patch, plan)?;
        let at = |position: u32| positions[position as usize];
        let calls: Vec<u32> = resolved.intern_calls(there, &said.calls);
        for (local, task) in (0..).zip(&said.tasks) {
            let settings = &said.settings[task.settings as usize];
            let input = || task.input.moved(&at);
            let after = task.after.iter().copied().map(at);
            let Some(only) = patch.said(local) else {
                let settings = resolved.intern_settings(there, settings);
                resolved.added.push(TaskSpec {
                    key: Arc::clone(&task.key),
                    call: calls[task.call as usize],
                    settings,
                    input: input(),
                    after: after.collect(),
                    wait: task.wait.clone(),
                });
                continue;
            };
            if !patch.changes(local, task) {
                continue;
            }
            let mut changed = there.tasks[at(local) as usize].clone();
            if only.input {
                changed.input = input();
            }
            if only.settings {
                changed.settings = resolved.intern_settings(there, settings);
            }
            for upstream in patch.cut.get(&local).into_iter().flatten() {
                let before = changed.after.len();
                changed.after.retain(|it| *it != at(*upstream));
                if changed.after.len() == before {
                    return Err(Error::invalid(format!(
                        "task `{}` does not wait for `{}` without taking its output",
                        task.key, said.tasks[*upstream as usize].key
                    )));
                }
            }
            changed.after.extend(after);
            resolved.changed.push((at(local), changed));
        }
        resolved.removed = removed(patch, plan)?;
        Ok(resolved)
    }

    /// What becomes of the plan.
    ///
    /// # Errors
    ///
    /// If the patch was made for another plan, the new one is not sound, or it still needs a task that is taken out.
    pub(crate) fn applied_to(&self, plan: &PreparedPlan) -> Result<PreparedPlan, Error> {
        let mut spec = plan.spec().clone();
        let removed: BTreeSet<u32> = self.removed.iter().copied().collect();
        spec.calls.extend(self.calls.iter().cloned());
        spec.settings.extend(self.settings.iter().cloned());
        for (position, task) in &self.changed {
            let old = spec.tasks.get_mut(*position as usize);
            let old = old.filter(|old| old.key == task.key && old.call == task.call);
            let old = old.ok_or_else(|| {
                Error::invalid(format!("the plan has no such task as `{}`", task.key))
            })?;
            if removed.contains(position) {
                let text = format!("task `{}` is both changed and removed", task.key);
                return Err(Error::invalid(text));
            }
            old.clone_from(task);
        }
        for position in &removed {
            let task = spec.tasks.get_mut(*position as usize);
            let task =
                task.ok_or_else(|| Error::invalid(format!("the plan has no task {position}")))?;
            task.input = Binding::Null;
            task.after = Vec::new();
        }
        spec.tasks.extend(self.added.iter().cloned());
        let after = PreparedPlan::new(spec)?;
        if !removed.is_empty() {
            check_removed(&after, &removed)?;
        }
        Ok(after)
    }

    fn intern_calls(&mut self, there: &PlanSpec, calls: &[String]) -> Vec<u32> {
        let known: HashMap<&str, usize> = there
            .calls
            .iter()
            .enumerate()
            .map(|(index, call)| (&**call, index))
            .collect();
        let mut intern = |call: &String| {
            let index = known.get(&**call).copied().unwrap_or_else(|| {
                self.calls.push(call.clone());
                there.calls.len() + self.calls.len() - 1
            });
            u32::try_from(index).unwrap_or(u32::MAX)
        };
        calls.iter().map(&mut intern).collect()
    }

    fn intern_settings(&mut self, there: &PlanSpec, settings: &TaskSettings) -> u32 {
        let all = there.settings.iter().chain(&self.settings);
        let known = all.clone().position(|known| known == settings);
        let index = known.unwrap_or_else(|| {
            self.settings.push(settings.clone());
            there.settings.len() + self.settings.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }
}

/// Where each task that a patch speaks of stands in the plan, or will.
fn positions(patch: &Patch, plan: &PreparedPlan) -> Result<Vec<u32>, Error> {
    let (there, said) = (plan.spec(), patch.spec());
    let mut next = u32::try_from(there.tasks.len()).unwrap_or(u32::MAX);
    let mut positions = Vec::with_capacity(said.tasks.len());
    for (local, task) in (0..).zip(&said.tasks) {
        let (key, found) = (&task.key, plan.graph().find(&task.key));
        let position = match (patch.said(local), found) {
            (Some(_), Some(found)) => found.get(),
            (Some(_), None) => {
                return Err(Error::invalid(format!("the plan has no task `{key}`")));
            }
            (None, Some(_)) => {
                let text = format!("the plan has a task `{key}` already");
                return Err(Error::invalid(text));
            }
            (None, None) => {
                next = next.saturating_add(1);
                next - 1
            }
        };
        if patch.said(local).is_some() {
            let call = there.tasks[position as usize].call;
            let (calls, asked) = (&there.calls[call as usize], &said.calls[task.call as usize]);
            if calls != asked {
                let text = format!("task `{key}` calls `{calls}`, not `{asked}`");
                return Err(Error::invalid(text));
            }
        }
        positions.push(position);
    }
    Ok(positions)
}

/// The tasks that a patch takes out.
fn removed(patch: &Patch, plan: &PreparedPlan) -> Result<Vec<u32>, Error> {
    let mut removed = BTreeSet::new();
    for (key, with_downstream) in &patch.removed {
        let found = plan.graph().find(key);
        let task = found.ok_or_else(|| Error::invalid(format!("the plan has no task `{key}`")))?;
        removed.insert(task.get());
        let mut open = if *with_downstream { vec![task] } else { vec![] };
        while let Some(task) = open.pop() {
            let downstream = plan.graph().downstream(task);
            open.extend(downstream.filter(|task| removed.insert(task.get())));
        }
    }
    Ok(removed.into_iter().collect())
}

fn check_removed(plan: &PreparedPlan, removed: &BTreeSet<u32>) -> Result<(), Error> {
    let key = |position: u32| &plan.task(position as usize).key;
    for position in removed {
        if let Some(task) = plan.graph().downstream(TaskId::new(*position)).next() {
            return Err(Error::invalid(format!(
                "task `{}` needs task `{}`, which is removed",
                key(task.get()),
                key(*position)
            )));
        }
    }
    let mut needed = None;
    let mut need =
        |position: u32| needed = needed.or(Some(position).filter(|it| removed.contains(it)));
    match &plan.spec().result {
        ResultSpec::Output(binding) => binding.for_each_task(&mut need),
        ResultSpec::Aggregate { over, .. } => over.iter().copied().for_each(&mut need),
    }
    match needed {
        Some(position) => Err(Error::invalid(format!(
            "the result of the plan needs task `{}`, which is removed",
            key(position)
        ))),
        None => Ok(()),
    }
}
