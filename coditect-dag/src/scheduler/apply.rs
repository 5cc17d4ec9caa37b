//! What each event does.

use super::Scheduler;
use super::action::{Action, Cause};
use super::event::{Applied, Event, LossReason};
use super::expansion::Expansion;
use super::scope::{Scope, TOP};
use super::transition::TaskState;
use crate::{Attempt, Error, TaskId, Timestamp};

impl<P: Ord + Copy> Scheduler<P> {
    /// Takes note of an event and appends what is to be done to `actions`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidEvent`](crate::ErrorKind::InvalidEvent) if the event names a task that
    /// is not there, or dispatches one that is neither ready nor final; for a patch those of
    /// [`check_patch`](Self::check_patch). Nothing changed.
    pub fn apply(&mut self, event: &Event<P>, actions: &mut Vec<Action>) -> Result<Applied, Error> {
        match *event {
            Event::Started => Ok(self.start(actions)),
            Event::Dispatched { task } => self.dispatch(task),
            Event::Succeeded { task, attempt } => self.outcome_of(task, attempt, |this, task| {
                this.settle(task, TaskState::Succeeded, Cause::Completed, actions);
            }),
            Event::Failed {
                task,
                attempt,
                retry_at,
            } => self.outcome_of(task, attempt, |this, task| {
                this.fail(task, retry_at, actions);
            }),
            Event::Lost {
                task,
                attempt,
                reason,
            } => self.outcome_of(task, attempt, |this, task| this.lose(task, reason, actions)),
            Event::Snoozed {
                task,
                attempt,
                until,
            } => self.outcome_of(task, attempt, |this, task| {
                this.back_off(task, until, actions);
            }),
            Event::Expanded {
                task,
                attempt,
                ref expansion,
            } => self.expand(task, attempt, expansion, actions),
            Event::Resolved { task } => {
                self.end_scope(task, TaskState::Succeeded, Cause::Completed, actions)
            }
            Event::ScopeFailed { task } => {
                self.end_scope(task, TaskState::Failed, Cause::ScopeFailed, actions)
            }
            Event::Expired { task } => self.end(task, TaskState::Failed, Cause::Deadline, actions),
            Event::Cancelled { task } => {
                self.end(task, TaskState::Cancelled, Cause::Cancelled, actions)
            }
            Event::Redriven { task } => self.redrive(task, actions),
            Event::Paused => Ok(self.pause(true)),
            Event::Resumed => Ok(self.pause(false)),
            Event::Prioritized {
                ref tasks,
                priority,
            } => self.prioritize(tasks, priority),
            Event::Patched { ref patch } => self.patch(patch, actions),
            Event::Retried => Ok(self.reopen(None, actions)),
            Event::Due { now } => Ok(self.wake(now, actions)),
            Event::RunResolved => {
                Ok(self.end_run(TaskState::Succeeded, Cause::RunResolved, actions))
            }
            Event::RunFailed => Ok(self.end_run(TaskState::Failed, Cause::RunFailed, actions)),
            Event::RunCancelled => {
                Ok(self.end_run(TaskState::Cancelled, Cause::RunCancelled, actions))
            }
        }
    }

    /// Checks an expansion against the limits without applying it, so that a caller can say what is
    /// wrong before it writes anything down.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::LimitExceeded`](crate::ErrorKind::LimitExceeded), saying which limit;
    /// [`ErrorKind::InvalidEvent`](crate::ErrorKind::InvalidEvent) if there is no such task.
    pub fn check_expansion(&self, task: TaskId, expansion: &Expansion<P>) -> Result<(), Error> {
        let task = self.known(task)?;
        let (width, limits) = (expansion.len(), &self.limits);
        let depth = self.scope_of(task).depth + 1;
        if depth > limits.max_depth {
            return Err(Error::limit(format!(
                "expansion of task {task} would be {depth} levels deep, at most {} are allowed",
                limits.max_depth
            )));
        }
        if width > limits.max_width as usize {
            return Err(Error::limit(format!(
                "expansion of task {task} has {width} tasks, at most {} are allowed",
                limits.max_width
            )));
        }
        let total = self.len() + width;
        if total > limits.max_tasks as usize || total >= u32::MAX as usize {
            return Err(Error::limit(format!(
                "expansion of task {task} would bring the run to {total} tasks, \
                 at most {} are allowed",
                limits.max_tasks
            )));
        }
        if self.targets.len() + expansion.edges().len() >= u32::MAX as usize {
            return Err(Error::limit("the run would have too many dependencies"));
        }
        Ok(())
    }

    fn start(&mut self, actions: &mut Vec<Action>) -> Applied {
        if self.started || self.outcome.is_some() {
            return Applied::Ignored;
        }
        self.started = true;
        self.release_all(0, self.tasks.len() as u32, actions);
        self.settle_rest(actions);
        Applied::Changed
    }

    fn dispatch(&mut self, task: TaskId) -> Result<Applied, Error> {
        let task = self.known(task)?;
        match self.state_of(task) {
            TaskState::Ready if self.paused => {
                return Err(Error::invalid_event(format!(
                    "task {task} cannot be dispatched while the run is paused"
                )));
            }
            TaskState::Ready => {}
            state if state.is_final() => return Ok(Applied::Ignored),
            state => {
                return Err(Error::invalid_event(format!(
                    "task {task} is {state} and cannot be dispatched"
                )));
            }
        }
        self.leave_queue(task);
        self.advance(task, TaskState::Running);
        let attempt = &mut self.tasks[task as usize].attempt;
        *attempt = attempt.saturating_add(1);
        Ok(Applied::Changed)
    }

    /// Carries out the outcome of an attempt, if it is the first one of the current attempt.
    #[inline]
    fn outcome_of(
        &mut self,
        task: TaskId,
        attempt: Attempt,
        then: impl FnOnce(&mut Self, u32),
    ) -> Result<Applied, Error> {
        let task = self.known(task)?;
        if !self.awaits(task, attempt) {
            return Ok(Applied::Ignored);
        }
        then(self, task);
        Ok(Applied::Changed)
    }

    fn fail(&mut self, task: u32, retry_at: Option<Timestamp>, actions: &mut Vec<Action>) {
        let failures = &mut self.troubles[task as usize].failures;
        *failures = failures.saturating_add(1);
        let exhausted = *failures
            >= self
                .profiles
                .get(self.tasks[task as usize].profile)
                .spec
                .max_attempts;
        match retry_at {
            Some(until) if !exhausted => self.back_off(task, until, actions),
            Some(_) => self.settle(task, TaskState::Failed, Cause::AttemptsExhausted, actions),
            None => self.settle(task, TaskState::Failed, Cause::NotRetryable, actions),
        }
    }

    fn lose(&mut self, task: u32, reason: LossReason, actions: &mut Vec<Action>) {
        let losses = &mut self.troubles[task as usize].losses;
        *losses = losses.saturating_add(1);
        if *losses
            > self
                .profiles
                .get(self.tasks[task as usize].profile)
                .spec
                .max_losses
        {
            let cause = Cause::LossesExhausted(reason);
            self.settle(task, TaskState::Failed, cause, actions);
        } else {
            self.make_ready(task, actions);
        }
    }

    /// Moves the end of a task's backoff; says whether it is in one.
    ///
    /// It is no event: whoever follows the run by its records goes on with the end that the failure's record said.
    pub fn put_off(&mut self, task: TaskId, until: Timestamp) -> bool {
        let waits = self.backoffs.until(task.get()).is_some();
        if waits {
            self.backoffs.remove(task.get());
            self.backoffs.insert(task.get(), until);
        }
        waits
    }

    fn back_off(&mut self, task: u32, until: Timestamp, actions: &mut Vec<Action>) {
        self.advance(task, TaskState::Backoff);
        self.backoffs.insert(task, until);
        actions.push(Action::WakeAt {
            task: TaskId::new(task),
            at: until,
        });
    }

    fn wake(&mut self, now: Timestamp, actions: &mut Vec<Action>) -> Applied {
        let mut applied = Applied::Ignored;
        while let Some(task) = self.backoffs.pop_due(now) {
            self.make_ready(task, actions);
            applied = Applied::Changed;
        }
        applied
    }

    fn expand(
        &mut self,
        task: TaskId,
        attempt: Attempt,
        expansion: &Expansion<P>,
        actions: &mut Vec<Action>,
    ) -> Result<Applied, Error> {
        let id = self.known(task)?;
        if !self.awaits(id, attempt) {
            return Ok(Applied::Ignored);
        }
        if let Err(refusal) = self.check_expansion(task, expansion) {
            self.settle(id, TaskState::Failed, Cause::ExpansionRefused, actions);
            return Ok(Applied::Refused(refusal));
        }
        // The limits keep both below the number of ids.
        let (first, len) = (self.tasks.len() as u32, expansion.len() as u32);
        let depth = self.scope_of(id).depth + 1;
        let number = self.add_scope(
            Scope::new(id, first, len, depth, expansion.policy()).of_attempt(attempt.get()),
            expansion.tasks().iter().copied(),
            expansion.edges().iter().copied(),
        );
        self.expansions.insert(id, number);
        self.tasks[id as usize].expanded = true;
        self.release_all(first, first + len, actions);
        if len == 0 {
            self.report_scope(number, actions);
        }
        Ok(Applied::Changed)
    }

    fn end_scope(
        &mut self,
        task: TaskId,
        to: TaskState,
        cause: Cause,
        actions: &mut Vec<Action>,
    ) -> Result<Applied, Error> {
        let task = self.known(task)?;
        if !self.tasks[task as usize].expanded {
            return Ok(Applied::Ignored);
        }
        self.settle(task, to, cause, actions);
        Ok(Applied::Changed)
    }

    fn end(
        &mut self,
        task: TaskId,
        to: TaskState,
        cause: Cause,
        actions: &mut Vec<Action>,
    ) -> Result<Applied, Error> {
        let task = self.known(task)?;
        if self.state_of(task).is_final() {
            return Ok(Applied::Ignored);
        }
        self.settle(task, to, cause, actions);
        Ok(Applied::Changed)
    }

    fn end_run(&mut self, state: TaskState, cause: Cause, actions: &mut Vec<Action>) -> Applied {
        if self.outcome.is_some() || self.scopes[TOP as usize].closed {
            return Applied::Ignored;
        }
        self.settle_run(state, cause, actions);
        Applied::Changed
    }

    pub(super) fn release_all(&mut self, first: u32, end: u32, actions: &mut Vec<Action>) {
        for task in first..end {
            if self.waiting[task as usize] == 0 {
                self.release(task, actions);
            }
        }
    }

    /// Tells whether the outcome of this attempt is still awaited.
    #[inline]
    fn awaits(&self, task: u32, attempt: Attempt) -> bool {
        let record = &self.tasks[task as usize];
        record.state.get() == TaskState::Running
            && record.attempt == attempt.get()
            && !record.expanded
    }

    #[inline]
    pub(super) fn known(&self, task: TaskId) -> Result<u32, Error> {
        if task.index() < self.tasks.len() {
            return Ok(task.get());
        }
        Err(Error::invalid_event(format!("there is no task {task}")))
    }
}
