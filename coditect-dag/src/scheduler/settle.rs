//! Ends tasks, and carries the consequences through the graph without recursion.

use super::Scheduler;
use super::action::{Action, Cause};
use super::scope::TOP;
use super::spec::{FailurePolicy, Join};
use super::transition::TaskState;
use crate::{Attempt, TaskId};

/// A consequence that is still to be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// End this task, unless it is final.
    Settle {
        task: u32,
        to: TaskState,
        cause: Cause,
    },
    /// Cancel these tasks, unless they are final.
    Cancel { next: u32, end: u32, cause: Cause },
}

impl<P: Ord + Copy> Scheduler<P> {
    /// Ends a task that is not final, with all that follows from it.
    #[inline]
    pub(super) fn settle(
        &mut self,
        task: u32,
        to: TaskState,
        cause: Cause,
        actions: &mut Vec<Action>,
    ) {
        self.settle_one(task, to, cause, actions);
        self.settle_rest(actions);
    }

    /// Ends the run as a whole.
    pub(super) fn settle_run(&mut self, state: TaskState, cause: Cause, actions: &mut Vec<Action>) {
        self.verdict = Some(state);
        self.scopes[TOP as usize].closed = true;
        self.cancel_scope(TOP, cause);
        self.settle_rest(actions);
    }

    /// Carries out what is left to do, and reports scopes that have come to their end.
    #[inline]
    pub(super) fn settle_rest(&mut self, actions: &mut Vec<Action>) {
        while let Some(work) = self.work.pop() {
            match work {
                Work::Settle { task, to, cause } => {
                    if !self.state_of(task).is_final() {
                        self.settle_one(task, to, cause, actions);
                    }
                }
                Work::Cancel { next, end, cause } if next < end => {
                    self.work.push(Work::Cancel {
                        next: next + 1,
                        end,
                        cause,
                    });
                    if !self.state_of(next).is_final() {
                        self.settle_one(next, TaskState::Cancelled, cause, actions);
                    }
                }
                Work::Cancel { .. } => {}
            }
        }
        while let Some(scope) = self.finished.pop() {
            self.report_scope(scope, actions);
        }
        self.report_run(actions);
    }

    fn settle_one(&mut self, task: u32, to: TaskState, cause: Cause, actions: &mut Vec<Action>) {
        let record = &mut self.tasks[task as usize];
        let from = record.state.advance(to);
        let (scope, expanded, is_sink) = (record.scope, record.expanded, record.is_sink());
        self.counts[from as usize] -= 1;
        self.counts[to as usize] += 1;
        match from {
            TaskState::Ready => self.leave_queue(task),
            TaskState::Backoff => self.backoffs.remove(task),
            TaskState::Running if expanded => self.close_scope(task, cause),
            TaskState::Running if cause.is_from_outside() => actions.push(Action::Stop {
                task: TaskId::new(task),
                attempt: Attempt::new(self.tasks[task as usize].attempt),
                reason: cause,
            }),
            _ => {}
        }
        actions.push(Action::Settled {
            task: TaskId::new(task),
            state: to,
            cause,
        });

        let within = &mut self.scopes[scope as usize];
        within.count(to, is_sink);
        if to == TaskState::Failed
            && within.policy == FailurePolicy::FailFast
            && !within.is_stopping()
        {
            within.failed_fast = true;
            self.cancel_scope(scope, Cause::FailFast(TaskId::new(task)));
        }
        let within = &self.scopes[scope as usize];
        if within.unsettled == 0 && scope != TOP {
            self.finished.push(scope);
        }
        if within.is_stopping() {
            // Whatever waits for this task is on the list to be cancelled.
            return;
        }
        if to == TaskState::Succeeded {
            self.free_downstreams(task, actions);
        } else {
            self.break_downstreams(task, to, actions);
        }
    }

    /// Tells those who wait that an upstream has succeeded.
    #[inline]
    fn free_downstreams(&mut self, task: u32, actions: &mut Vec<Action>) {
        for edge in self.tasks[task as usize].row() {
            let downstream = self.targets[edge];
            let waiting = &mut self.waiting[downstream as usize];
            *waiting -= 1;
            if *waiting == 0 {
                self.release(downstream, actions);
            }
        }
    }

    /// Tells those who wait that an upstream has ended without success.
    fn break_downstreams(&mut self, task: u32, state: TaskState, actions: &mut Vec<Action>) {
        // What hangs on a cancelled task was not wanted; what hangs on a failure was prevented.
        let to = match state {
            TaskState::Cancelled => TaskState::Cancelled,
            _ => TaskState::Skipped,
        };
        for edge in self.tasks[task as usize].row() {
            let downstream = self.targets[edge];
            self.waiting[downstream as usize] -= 1;
            self.troubles[downstream as usize].broken += 1;
            if self.tolerates_failure(downstream) {
                if self.waiting[downstream as usize] == 0 {
                    self.release(downstream, actions);
                }
            } else if self.state_of(downstream) == TaskState::Pending {
                self.work.push(Work::Settle {
                    task: downstream,
                    to,
                    cause: Cause::Upstream(TaskId::new(task)),
                });
            }
        }
    }

    /// Makes a task ready whose upstreams are all final, if it still waits for that.
    #[inline]
    pub(super) fn release(&mut self, task: u32, actions: &mut Vec<Action>) {
        if self.started && self.state_of(task) == TaskState::Pending {
            // A task that needed an upstream to succeed ended when that upstream did not.
            debug_assert!(!self.is_hopeless(task));
            self.make_ready(task, actions);
        }
    }

    /// Tells whether an upstream has ended in a way that keeps a task from running.
    pub(super) fn is_hopeless(&self, task: u32) -> bool {
        self.troubles[task as usize].broken > 0 && !self.tolerates_failure(task)
    }

    /// Tells whether a task runs even though an upstream did not succeed.
    pub(super) fn tolerates_failure(&self, task: u32) -> bool {
        let record = &self.tasks[task as usize];
        self.profiles.get(record.profile).spec.join == Join::AllSettled
            || self.scopes[record.scope as usize].policy == FailurePolicy::Continue
    }

    /// Stops the subtasks of an expanded task that has become final.
    fn close_scope(&mut self, task: u32, cause: Cause) {
        self.tasks[task as usize].expanded = false;
        let Some(&scope) = self.expansions.get(&task) else {
            return;
        };
        self.scopes[scope as usize].closed = true;
        let cause = match cause {
            Cause::RunResolved | Cause::RunFailed | Cause::RunCancelled => cause,
            _ => Cause::NotNeeded(TaskId::new(task)),
        };
        self.cancel_scope(scope, cause);
    }

    fn cancel_scope(&mut self, scope: u32, cause: Cause) {
        let scope = &self.scopes[scope as usize];
        if scope.unsettled > 0 {
            // The first is on top.
            let ranges = scope.tasks.ranges().rev();
            self.work.extend(ranges.map(|range| Work::Cancel {
                next: range.start,
                end: range.end,
                cause,
            }));
        }
    }

    pub(super) fn report_scope(&self, scope: u32, actions: &mut Vec<Action>) {
        let scope = &self.scopes[scope as usize];
        if !scope.closed {
            actions.push(Action::ScopeSettled {
                task: TaskId::new(scope.parent),
                failed: scope.outcome() != TaskState::Succeeded,
            });
        }
    }

    #[inline]
    fn report_run(&mut self, actions: &mut Vec<Action>) {
        let top = &self.scopes[TOP as usize];
        if top.unsettled > 0 || self.outcome.is_some() {
            return;
        }
        if self.started || self.verdict.is_some() {
            let state = self.verdict.unwrap_or_else(|| top.outcome());
            self.outcome = Some(state);
            actions.push(Action::RunSettled { state });
        }
    }
}

impl Cause {
    /// Tells whether a task ended for a reason that its running attempt does not know.
    const fn is_from_outside(self) -> bool {
        match self {
            Self::Completed
            | Self::NotRetryable
            | Self::AttemptsExhausted
            | Self::LossesExhausted(_)
            | Self::ExpansionRefused
            | Self::ScopeFailed
            | Self::Removed
            | Self::Upstream(_) => false,
            Self::Deadline
            | Self::FailFast(_)
            | Self::Cancelled
            | Self::NotNeeded(_)
            | Self::RunResolved
            | Self::RunFailed
            | Self::RunCancelled => true,
        }
    }
}
