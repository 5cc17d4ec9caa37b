//! Changes the graph of a live run: tasks added, those that have not begun changed or taken out, dependencies rewired.

mod check;

use serde::{Deserialize, Serialize};

use super::Scheduler;
use super::action::{Action, Cause};
use super::event::Applied;
use super::settle::Work;
use super::spec::TaskSpec;
use super::table::{Record, Trouble};
use super::transition::TaskState;
use crate::{Error, TaskId};

/// How many entries of the table of dependencies may lie waste before it is written anew.
pub(super) const WASTE: usize = 1024;

/// A change of one graph of a run, applied as a whole or not at all.
///
/// Only tasks that have **not begun** change: such that are pending or ready and were never dispatched. Others can be
/// waited for, but neither change nor wait for anything more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch<P> {
    /// The expanded task whose subtasks are meant; `None` for the run's own tasks.
    pub scope: Option<TaskId>,
    /// Tasks that join the graph. They get the next free ids, in this order.
    pub added: Vec<TaskSpec<P>>,
    /// Tasks that have not begun, with what the scheduler must know of them from now on.
    pub changed: Vec<(TaskId, TaskSpec<P>)>,
    /// Tasks that have not begun and never will. They end as cancelled for [`Cause::Removed`], count for nothing, and
    /// stay as they are when the run is retried. None of their dependencies may be left.
    pub removed: Vec<TaskId>,
    /// Dependencies that are no longer there: pairs of upstream and downstream.
    pub disconnected: Vec<(TaskId, TaskId)>,
    /// Dependencies that are new: pairs of upstream and downstream.
    pub connected: Vec<(TaskId, TaskId)>,
}

impl<P> Patch<P> {
    /// Changes nothing yet.
    #[must_use]
    pub const fn new(scope: Option<TaskId>) -> Self {
        Self {
            scope,
            added: Vec::new(),
            changed: Vec::new(),
            removed: Vec::new(),
            disconnected: Vec::new(),
            connected: Vec::new(),
        }
    }
}

/// A patch that was found sound, and what it comes to.
struct Plan {
    scope: u32,
    /// Tasks whose downstreams change, in the order of their ids.
    rows: Vec<Row>,
    /// Tasks that were there and whose upstreams change, in the order of their ids.
    rewired: Vec<u32>,
}

/// Who waits for a task, before and after.
struct Row {
    upstream: u32,
    targets: Vec<u32>,
    disconnected: Vec<u32>,
    connected: Vec<u32>,
}

impl<P: Ord + Copy> Scheduler<P> {
    /// Checks a patch without applying it, so that a caller can say what is wrong before it writes anything down.
    ///
    /// Costs as much as the graph that changes has tasks and dependencies.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded), saying which limit;
    /// [`ErrorKind::InvalidGraph`](crate::ErrorKind::InvalidGraph) if the dependencies would form a cycle, one is there
    /// already or is not there, a removed task is left with one, or a task could never run;
    /// [`ErrorKind::InvalidEvent`](crate::ErrorKind::InvalidEvent) if a task has begun or is not there, or the graph has
    /// ended.
    pub fn check_patch(&self, patch: &Patch<P>) -> Result<(), Error> {
        self.plan_patch(patch).map(drop)
    }

    /// Tells whether a task was taken out of its graph.
    #[must_use]
    pub fn is_removed(&self, task: TaskId) -> bool {
        let record = self.tasks.get(task.index());
        record.is_some_and(|record| record.removed)
    }

    /// Tells whether a task waits for its first attempt, so that it can still be changed.
    #[must_use]
    pub fn may_change(&self, task: TaskId) -> bool {
        self.tasks.get(task.index()).is_some_and(|record| {
            record.attempt == 0
                && matches!(record.state.get(), TaskState::Pending | TaskState::Ready)
        })
    }

    pub(super) fn patch(
        &mut self,
        patch: &Patch<P>,
        actions: &mut Vec<Action>,
    ) -> Result<Applied, Error> {
        let Plan {
            scope,
            rows,
            rewired,
        } = self.plan_patch(patch)?;
        let first = self.tasks.len() as u32;
        self.add_to_scope(scope, &patch.added);
        for row in rows {
            self.rewire(row);
        }
        self.reclaim_waste();
        for (task, spec) in &patch.changed {
            self.describe(task.get(), *spec);
        }
        for task in patch.removed.iter().rev() {
            self.tasks[task.index()].removed = true;
            self.work.push(Work::Settle {
                task: task.get(),
                to: TaskState::Cancelled,
                cause: Cause::Removed,
            });
        }
        for task in rewired {
            if self.tasks[task as usize].removed {
                continue;
            }
            if self.waiting[task as usize] == 0 {
                self.release(task, actions);
            } else if self.state_of(task) == TaskState::Ready {
                self.leave_queue(task);
                self.advance(task, TaskState::Pending);
                actions.push(Action::Reopened {
                    task: TaskId::new(task),
                });
            }
        }
        self.release_all(first, self.tasks.len() as u32, actions);
        self.settle_rest(actions);
        Ok(Applied::Changed)
    }

    /// Adds tasks to a scope that is there, behind those of all others.
    fn add_to_scope(&mut self, scope: u32, specs: &[TaskSpec<P>]) {
        let (first, len) = (self.tasks.len(), specs.len());
        for spec in specs {
            let profile = self.profile(*spec);
            self.tasks.push(Record::new(profile, scope));
        }
        // The limits keep both below the number of ids.
        self.scopes[scope as usize].extend(first as u32, len as u32);
        self.counts[TaskState::Pending as usize] += len as u32;
        self.waiting.resize(first + len, 0);
        self.troubles.resize(first + len, Trouble::default());
    }

    /// Changes who waits for a task.
    fn rewire(&mut self, row: Row) {
        let upstream = row.upstream as usize;
        let state = self.state_of(row.upstream);
        for task in row.disconnected {
            if !state.is_final() {
                self.waiting[task as usize] -= 1;
            } else if state != TaskState::Succeeded {
                self.troubles[task as usize].broken -= 1;
            }
        }
        for task in row.connected {
            if !state.is_final() {
                self.waiting[task as usize] += 1;
            } else if state != TaskState::Succeeded {
                self.troubles[task as usize].broken += 1;
            }
        }
        let record = &mut self.tasks[upstream];
        let scope = &mut self.scopes[record.scope as usize];
        if state.is_final() {
            scope.uncount(state, record.is_sink());
        }
        let len = row.targets.len();
        if len <= record.row().len() {
            self.waste += record.row().len() - len;
            record.keep_first(len);
            self.targets[record.row()].copy_from_slice(&row.targets);
        } else {
            self.waste += record.row().len();
            record.move_row(self.targets.len(), len);
            self.targets.extend(row.targets);
        }
        if state.is_final() {
            scope.count(state, record.is_sink());
        }
    }

    /// Writes the table of dependencies anew once more of it lies waste than is in use.
    fn reclaim_waste(&mut self) {
        if self.waste <= WASTE.max(self.targets.len() / 2) {
            return;
        }
        let mut targets = Vec::with_capacity(self.targets.len() - self.waste);
        for record in &mut self.tasks {
            let (row, begin) = (record.row(), targets.len());
            targets.extend_from_slice(&self.targets[row.clone()]);
            record.move_row(begin, row.len());
        }
        self.targets = targets;
        self.waste = 0;
    }
}
