//! What has happened becomes records: outcomes, commands, timers, results.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coditect_bus::Delivery;
use coditect_dag::journal::{Command, InboxEntry, RecordKind, Request, Settlement, Submission};
use coditect_dag::{Action, Attempt, RunId, TaskId, TaskState};
use coditect_registry::View;
use coditect_resilience::{Classification, Tries, Verdict};

use super::commit::Deferred;
use super::machine::Effect;
use super::owner::{Finished, Owner};
use super::scope::Conclusion;
use super::timer::Due;
use crate::agent::encode_output;
use crate::error::Error;
use crate::failure::{Failure, FailureKind};
use crate::wire::Outcome;
use crate::worker::Ended;

/// How many inbox entries are read at once.
const INBOX_PAGE: usize = 256;

impl Owner {
    /// Takes in how an attempt ended. The first outcome of the current attempt counts, any other is
    /// dropped.
    pub(super) fn outcome(&mut self, outcome: Outcome, delivery: Option<Delivery>) {
        self.deferred.extend(delivery.map(Deferred::Ack));
        let Outcome {
            run,
            task,
            attempt,
            ended,
        } = outcome;
        let current = self.runs.get(&run).is_some_and(|active| {
            task.index() < active.machine.scheduler().len()
                && active.machine.is_current(task, attempt)
        });
        if !current {
            tracing::debug!(%run, %task, %attempt, "an outcome came late or twice and was dropped");
            return;
        }
        self.land(run, task);
        match ended {
            Ended::Output(output) => self.must(
                run,
                RecordKind::Succeeded {
                    task,
                    attempt,
                    output,
                },
            ),
            Ended::Plan(plan) => {
                let expanded = RecordKind::Expanded {
                    task,
                    attempt,
                    plan,
                };
                match self.record(run, expanded) {
                    Ok(_) => self.set_deadlines(run, Some(task)),
                    Err(failure) => self.fail(run, task, attempt, &failure, None),
                }
            }
            Ended::Failed { failure, .. } if failure.kind == FailureKind::Cancelled => {
                // Nobody stopped it here, so its connection or process did.
                let reason = failure.message.into();
                self.must(
                    run,
                    RecordKind::Lost {
                        task,
                        attempt,
                        reason,
                    },
                );
            }
            Ended::Failed {
                failure,
                retry_after,
            } => self.fail(run, task, attempt, &failure, retry_after),
        }
    }

    fn fail(
        &mut self,
        run: RunId,
        task: TaskId,
        attempt: Attempt,
        failure: &Failure,
        retry_after: Option<Duration>,
    ) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        let class = match (failure.kind.is_retryable(), retry_after) {
            (false, _) => Classification::Fail,
            (true, Some(delay)) => Classification::RetryAfter(delay),
            (true, None) => Classification::Retry,
        };
        let tries = Tries {
            made: active.machine.scheduler().failures(task) + 1,
            elapsed: self
                .now
                .saturating_since(active.machine.first_dispatched(task)),
            last_delay: None,
        };
        let random = self.shared.random();
        let verdict = active
            .machine
            .retry_policy(task)
            .decide(class, tries, random);
        let retry_at = match verdict {
            Verdict::Retry { delay, .. } => Some(self.now.saturating_add(delay)),
            Verdict::Return | Verdict::GiveUp(_) => None,
        };
        self.must(
            run,
            RecordKind::Failed {
                task,
                attempt,
                failure: encode_failure(failure),
                retry_at,
            },
        );
    }

    /// Takes in what a scope has come to.
    pub(super) fn concluded(
        &mut self,
        run: RunId,
        scope: Option<TaskId>,
        result: Result<Bytes, Failure>,
    ) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        let limit = self.shared.ports.settings.max_payload;
        let result = match result {
            Ok(output) if output.len() > limit => Err(Failure::new(
                FailureKind::TooLarge,
                format!("the result has {} bytes, {limit} are allowed", output.len()),
            )),
            other => other,
        };
        match (scope, result) {
            (Some(task), Ok(output)) => self.must(run, RecordKind::Resolved { task, output }),
            (Some(task), Err(failure)) => {
                let failure = encode_failure(&failure);
                self.must(run, RecordKind::ScopeFailed { task, failure });
            }
            (None, _) if active.machine.is_settled() => {}
            (None, Ok(result)) => self.settle(run, Settlement::Succeeded { result }),
            (None, Err(failure)) => {
                let failure = encode_failure(&failure);
                self.settle(run, Settlement::Failed { failure });
            }
        }
    }

    fn settle(&mut self, run: RunId, settlement: Settlement) {
        self.must(run, RecordKind::Settled(settlement));
        self.deferred.push(Deferred::Forget(run));
    }

    /// Asks a scope what it has come to, and takes that in or waits for its aggregator.
    pub(super) fn conclude(&mut self, run: RunId, scope: Option<TaskId>) {
        let Some(active) = self.runs.get_mut(&run) else {
            return;
        };
        match active.machine.conclude(scope) {
            Conclusion::Pending => {}
            Conclusion::Result(result) => self.concluded(run, scope, result),
            Conclusion::Finish(aggregator) => {
                let finished = self.finished.clone();
                self.shared.tracker.spawn(async move {
                    let made = tokio::spawn(aggregator.finish()).await;
                    let result = made.unwrap_or_else(|panic| {
                        Err(Failure::new(
                            FailureKind::Panic,
                            format!("the aggregator panicked: {panic}"),
                        ))
                    });
                    // An owner that is gone has no use for it.
                    let _ = finished.send(Finished { run, scope, result }).await;
                });
            }
        }
    }

    /// Moves a run by one record, and everything that follows from it. A record that changes nothing
    /// is not kept.
    pub(super) fn record(&mut self, run: RunId, kind: RecordKind) -> Result<bool, Failure> {
        let Some(active) = self.runs.get_mut(&run) else {
            return Ok(false);
        };
        if active.machine.is_settled() && !matches!(kind, RecordKind::Redriven { .. }) {
            return Ok(false);
        }
        let record = kind.at(self.now);
        let mut effects = std::mem::take(&mut self.effects);
        let shared = &self.shared;
        let classes = &mut self.classes;
        let mut intern =
            |requirement: &_| classes.intern(requirement, &shared.worker, &shared.view);
        let applied =
            active
                .machine
                .apply(&record, &mut intern, Some(&shared.catalogue), &mut effects);
        let changed = applied.inspect_err(|_| effects.clear())?;
        if changed {
            self.batch.push(run, record);
        }
        self.carry_out(run, effects);
        Ok(changed)
    }

    /// Moves a run by a record that cannot be wrong.
    pub(super) fn must(&mut self, run: RunId, kind: RecordKind) {
        if let Err(failure) = self.record(run, kind) {
            tracing::error!(%run, %failure, "a record did not fit its run; this is a defect");
        }
    }

    /// Carries out what a record led to.
    pub(super) fn carry_out(&mut self, run: RunId, mut effects: Vec<Effect>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Act(Action::Ready { task }) => self.ready(run, task),
                Effect::Act(Action::Stop { task, .. }) => self.stop(run, task),
                Effect::Act(Action::WakeAt { at, .. }) => self.timers.push(at, run, Due::Backoff),
                Effect::Act(Action::Settled { task, state, .. }) => {
                    if state != TaskState::Succeeded {
                        self.land(run, task);
                    }
                }
                Effect::Act(Action::ScopeSettled { task, .. }) => self.conclude(run, Some(task)),
                Effect::Act(Action::RunSettled { .. }) => self.run_settled(run),
                Effect::Enough(scope) => self.conclude(run, scope),
                Effect::Act(_) => {}
            }
        }
        // The vector goes back unless a nested record has put one there.
        if self.effects.capacity() == 0 {
            self.effects = effects;
        }
    }

    pub(super) fn run_settled(&mut self, run: RunId) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        if active.machine.is_settled() {
            return;
        }
        match active.machine.cancel_reason().cloned() {
            Some(reason) => self.settle(run, Settlement::Cancelled { reason }),
            None => self.conclude(run, None),
        }
    }

    /// Reads the inbox of the partition to its end.
    pub(super) async fn read_inbox(&mut self) -> Result<(), Error> {
        loop {
            let lease = self.lease.lock().clone();
            let journal = Arc::clone(&self.shared.ports.journal);
            let entries = journal.inbox(&lease, self.inbox_after, INBOX_PAGE).await?;
            let full = entries.len() == INBOX_PAGE;
            for InboxEntry { seq, run, request } in entries {
                self.inbox_after = seq;
                match request {
                    Request::Submit(submission) => self.submitted(&submission),
                    Request::Command(Command::Cancel { reason, .. }) => self.cancelled(run, reason),
                    Request::Command(Command::Redrive { task, .. }) => {
                        self.redrive(run, task).await?
                    }
                    Request::Command(other) => {
                        tracing::warn!(?other, %run, "this release does not know the command");
                    }
                }
                self.batch.consume(seq);
            }
            if !full {
                return Ok(());
            }
        }
    }

    fn submitted(&mut self, submission: &Arc<Submission>) {
        let run = submission.run;
        if self.runs.contains_key(&run) {
            return;
        }
        match self.build(submission) {
            Ok(active) => {
                let deadline = active.deadline;
                self.runs.insert(run, active);
                if let Some(deadline) = deadline {
                    self.timers.push(deadline, run, Due::RunDeadline);
                }
                self.must(run, RecordKind::Started);
                self.set_deadlines(run, None);
            }
            Err(failure) => {
                let failure = encode_failure(&failure);
                let settled = RecordKind::Settled(Settlement::Failed { failure });
                self.batch.push(run, settled.at(self.now));
            }
        }
    }

    fn cancelled(&mut self, run: RunId, reason: Arc<str>) {
        let open = self
            .runs
            .get(&run)
            .is_some_and(|active| !active.machine.is_settled());
        if open {
            self.must(run, RecordKind::RunCancelled { reason });
        }
    }

    async fn redrive(&mut self, run: RunId, task: TaskId) -> Result<(), Error> {
        if !self.runs.contains_key(&run) {
            self.restore(run).await?;
        }
        let known = self
            .runs
            .get(&run)
            .is_some_and(|active| task.index() < active.machine.scheduler().len());
        if known && let Err(failure) = self.record(run, RecordKind::Redriven { task }) {
            tracing::warn!(%run, %task, %failure, "the task cannot be redriven");
        }
        if self
            .runs
            .get(&run)
            .is_some_and(|active| active.machine.is_settled())
        {
            self.runs.remove(&run);
        }
        Ok(())
    }

    /// Sets the timers of the tasks of a plan that was just taken up.
    pub(super) fn set_deadlines(&mut self, run: RunId, scope: Option<TaskId>) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        for (task, at) in active.machine.deadlines(scope) {
            self.timers.push(at, run, Due::TaskDeadline(task));
        }
    }

    /// Does what is due by now.
    pub(super) fn due(&mut self) {
        while let Some((run, due)) = self.timers.pop(self.now) {
            match due {
                Due::Backoff => self.backoffs(run),
                Due::TaskDeadline(task) => self.must(run, RecordKind::Expired { task }),
                Due::RunDeadline => self.run_deadline(run),
            }
        }
    }

    fn backoffs(&mut self, run: RunId) {
        let mut effects = std::mem::take(&mut self.effects);
        if let Some(active) = self.runs.get_mut(&run) {
            active.machine.due(self.now, &mut effects);
        }
        self.carry_out(run, effects);
    }

    fn run_deadline(&mut self, run: RunId) {
        let Some(active) = self
            .runs
            .get(&run)
            .filter(|active| !active.machine.is_settled())
        else {
            return;
        };
        let failure = encode_failure(&active.machine.missed_run_deadline());
        self.settle(run, Settlement::Failed { failure });
    }

    /// Looks anew at who offers what: tasks that nobody served may be served now.
    pub(super) fn look(&mut self, view: &View) {
        self.classes.look(view);
        let waiting: Vec<_> = self
            .classes
            .all()
            .filter(|class| {
                let class = self.classes.get(*class);
                !class.is_served() && !class.ready.is_empty()
            })
            .collect();
        let mut unserved = Vec::new();
        for (run, active) in &self.runs {
            for class in &waiting {
                let next = active.machine.scheduler().peek(*class);
                unserved.extend(next.map(|(task, _)| (*run, task)));
            }
        }
        for (run, task) in unserved {
            self.tell_unserved(run, task);
        }
    }

    /// Puts on record that nobody offers what a task needs.
    pub(super) fn tell_unserved(&mut self, run: RunId, task: TaskId) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        if active.machine.is_unserved(task) {
            return;
        }
        tracing::warn!(
            %run,
            task = active.machine.path(task),
            capability = %active.machine.requirement(task),
            "no agent offers what the task needs; it waits for one, or for its deadline"
        );
        self.must(run, RecordKind::Unserved { task });
    }
}

pub(super) fn encode_failure(failure: &Failure) -> Bytes {
    // A failure is strings only.
    encode_output(failure).unwrap_or_else(|_| Bytes::from_static(b"null"))
}
