//! Opens a settled run again: what has not succeeded gets another chance, what has succeeded is kept.

use rustc_hash::FxHashSet;

use super::Scheduler;
use super::action::{Action, Cause};
use super::event::Applied;
use super::scope::TOP;
use super::settle::Work;
use super::spec::FailurePolicy;
use super::table::Trouble;
use super::transition::TaskState;
use crate::TaskId;

/// The way from a task up to the run.
#[derive(Debug)]
struct Path {
    /// The task.
    meant: u32,
    /// The task, and the expanded tasks around it.
    tasks: FxHashSet<u32>,
    /// The scopes that they are in.
    scopes: FxHashSet<u32>,
}

impl<P: Ord + Copy> Scheduler<P> {
    /// Opens the run again, for one failed task or for all.
    ///
    /// What is counted of scopes that stopped is not true to their tasks any more, so everything is counted anew.
    pub(super) fn reopen(&mut self, only: Option<u32>, actions: &mut Vec<Action>) -> Applied {
        if self.outcome.is_none() {
            return Applied::Ignored;
        }
        let path = match only {
            None => None,
            Some(task) => match self.path_up(task) {
                Some(path) => Some(path),
                None => return Applied::Ignored,
            },
        };
        self.outcome = None;
        self.verdict = None;
        self.paused = false;
        let mut live = vec![false; self.scopes.len()];
        live[TOP as usize] = true;
        // A scope comes after the one that its task is in.
        for scope in 0..live.len() {
            if live[scope] {
                self.open_scope(scope as u32, path.as_ref(), &mut live, actions);
            }
        }
        self.settle_rest(actions);
        for scope in (0..live.len()).filter(|scope| live[*scope]) {
            let ranges: Vec<_> = self.scopes[scope].tasks.ranges().collect();
            for tasks in ranges {
                self.release_all(tasks.start, tasks.end, actions);
            }
        }
        Applied::Changed
    }

    /// Finds the way from a failed task up to the run; none if another attempt could not be heard there.
    fn path_up(&self, task: u32) -> Option<Path> {
        let mut path = Path {
            meant: task,
            tasks: FxHashSet::default(),
            scopes: FxHashSet::default(),
        };
        if self.state_of(task) != TaskState::Failed {
            return None;
        }
        let mut task = task;
        loop {
            let scope = self.tasks[task as usize].scope;
            path.tasks.insert(task);
            path.scopes.insert(scope);
            let within = &self.scopes[scope as usize];
            let another = |other: TaskId| {
                other.get() != task && self.state_of(other.get()) == TaskState::Failed
            };
            if within.policy == FailurePolicy::FailFast && within.tasks.iter().any(another) {
                return None;
            }
            if scope == TOP {
                return Some(path);
            }
            task = within.parent;
            if self.last_scope(task) != Some(scope) || self.state_of(task) == TaskState::Succeeded {
                return None;
            }
        }
    }

    /// The scope into which the last attempt of a task expanded.
    fn last_scope(&self, task: u32) -> Option<u32> {
        let scope = *self.expansions.get(&task)?;
        let attempt = self.scopes[scope as usize].attempt;
        (attempt == self.tasks[task as usize].attempt).then_some(scope)
    }

    fn open_scope(
        &mut self,
        scope: u32,
        path: Option<&Path>,
        live: &mut [bool],
        actions: &mut Vec<Action>,
    ) {
        let tasks = self.scopes[scope as usize].tasks.clone();
        self.scopes[scope as usize].reset();
        let stays_failed = |task| {
            path.is_some_and(|path| path.scopes.contains(&scope) && !path.tasks.contains(&task))
        };
        for task in tasks.iter().map(TaskId::get) {
            self.waiting[task as usize] = 0;
            self.troubles[task as usize].broken = 0;
            match self.state_of(task) {
                TaskState::Succeeded => self.count_final(task),
                TaskState::Failed if stays_failed(task) => self.count_final(task),
                TaskState::Cancelled if self.tasks[task as usize].removed => self.count_final(task),
                _ => {
                    self.troubles[task as usize] = Trouble::default();
                    // The one that is meant makes another plan; on the way to it plans go on.
                    let is_meant = path.is_some_and(|path| path.meant == task);
                    match self.last_scope(task).filter(|_| !is_meant) {
                        Some(within) => {
                            self.advance(task, TaskState::Running);
                            self.tasks[task as usize].expanded = true;
                            live[within as usize] = true;
                        }
                        None => self.advance(task, TaskState::Pending),
                    }
                    actions.push(Action::Reopened {
                        task: TaskId::new(task),
                    });
                }
            }
        }
        for task in tasks.iter().map(TaskId::get) {
            self.count_upstream(task);
        }
        if scope != TOP && self.scopes[scope as usize].unsettled == 0 {
            self.finished.push(scope);
        }
    }

    fn count_final(&mut self, task: u32) {
        let record = &self.tasks[task as usize];
        self.scopes[record.scope as usize].count(record.state.get(), record.is_sink());
    }

    /// Counts a task with those who wait for it.
    fn count_upstream(&mut self, task: u32) {
        let state = self.state_of(task);
        for edge in self.tasks[task as usize].row() {
            let downstream = self.targets[edge];
            if !state.is_final() {
                self.waiting[downstream as usize] += 1;
            } else if state == TaskState::Failed {
                self.troubles[downstream as usize].broken += 1;
                if !self.tolerates_failure(downstream) {
                    self.work.push(Work::Settle {
                        task: downstream,
                        to: TaskState::Skipped,
                        cause: Cause::Upstream(TaskId::new(task)),
                    });
                }
            }
        }
    }
}
