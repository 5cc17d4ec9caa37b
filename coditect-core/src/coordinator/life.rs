//! Commands: what people ask of a run while it is under way, and after it has ended.

use std::sync::Arc;

use bytes::Bytes;
use coditect_dag::journal::{Command, RecordKind, RunState, Seq};
use coditect_dag::{Attempt, RunId, TaskId, TaskState};

use super::machine::is_ruling;
use super::owner::Owner;
use super::timer::Due;
use crate::error::Error;
use crate::plan::PatchSpec;

impl Owner {
    /// Carries a command out; says whether it is done with. A run that this process cannot go on with, or not read, keeps
    /// its commands for an owner that can.
    pub(super) async fn command(&mut self, run: RunId, command: Command) -> Result<bool, Error> {
        let is_cancel = matches!(command, Command::Cancel { .. });
        if self.unreadable.contains(&run) || (self.stuck.contains(&run) && !is_cancel) {
            return Ok(false);
        }
        match command {
            Command::Cancel { reason, .. } => self.cancelled(run, reason),
            Command::Pause { reason, .. } => self.change(run, RecordKind::Paused { reason }),
            Command::Reschedule { start_at, .. } => self.reschedule(run, start_at),
            Command::Resume { .. } => self.resume_run(run),
            Command::Prioritize { task, priority, .. } => self.prioritize(run, task, priority),
            Command::Signal { name, payload, .. } => self.signalled(run, name, payload),
            Command::Redrive {
                task,
                attempt,
                input,
                to,
                ..
            } => {
                let redriven = RecordKind::Redriven { task, input };
                self.redrive(run, task, attempt, redriven, to).await?;
            }
            Command::Patch { patch, .. } => self.patched(run, patch),
            Command::Retry { settled, .. } => self.retry(run, settled).await?,
            other => tracing::warn!(?other, %run, "this release does not know the command"),
        }
        Ok(!self.unreadable.contains(&run))
    }

    /// Moves a run by what somebody asked for; that it changes nothing is no fault.
    fn change(&mut self, run: RunId, kind: RecordKind) {
        if let Err(failure) = self.record(run, kind) {
            tracing::warn!(%run, %failure, "what was asked of the run does not fit it");
        }
    }

    fn resume_run(&mut self, run: RunId) {
        self.change(run, RecordKind::Resumed);
        self.queue_again(run);
    }

    fn prioritize(&mut self, run: RunId, task: Option<TaskId>, priority: u8) {
        let fits = self.runs.get(&run).is_some_and(|active| {
            task.is_none_or(|task| task.index() < active.machine.scheduler().len())
        });
        if fits && priority <= 2 {
            self.change(run, RecordKind::Prioritized { task, priority });
            self.queue_again(run);
        }
    }

    /// Puts what is ready where it is looked for: it was held back, or has another priority.
    fn queue_again(&mut self, run: RunId) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        let ready: Vec<_> = active.machine.tasks_in(TaskState::Ready).collect();
        for task in ready {
            self.ready(run, task);
        }
    }

    async fn redrive(
        &mut self,
        run: RunId,
        task: TaskId,
        attempt: Option<Attempt>,
        redriven: RecordKind,
        to: Option<Arc<str>>,
    ) -> Result<(), Error> {
        if !self.runs.contains_key(&run) {
            self.restore(run, None).await?;
        }
        let Some(active) = self.runs.get(&run) else {
            return Ok(());
        };
        let (machine, scheduler) = (&active.machine, active.machine.scheduler());
        let may = match machine.settlement() {
            // While the result is made of what there is, nothing can be added to it.
            None => !scheduler.is_settled(),
            Some(state) => state == RunState::Failed,
        };
        let known = task.index() < scheduler.len()
            && attempt.is_none_or(|attempt| attempt == scheduler.attempt(task));
        if may && known {
            // Others of the run that are due wait for their budget all the same.
            self.hold_back(run, Some(task));
            match self.record(run, redriven) {
                Ok(true) => {
                    if let Some(to) = to {
                        self.must(run, RecordKind::Aimed { task, to });
                        self.queue_again(run);
                    }
                    self.opened_again(run);
                }
                Ok(false) => tracing::warn!(%run, %task, "the task cannot be redriven any more"),
                Err(failure) => {
                    tracing::warn!(%run, %task, %failure, "the task cannot be redriven");
                }
            }
        }
        self.let_rest(run);
        Ok(())
    }

    /// Opens a run again that has ended, if that end is the one that was to be no end.
    async fn retry(&mut self, run: RunId, settled: Seq) -> Result<(), Error> {
        if self.runs.contains_key(&run) {
            tracing::debug!(%run, "the run goes on, and is not retried");
            return Ok(());
        }
        self.restore(run, Some(settled)).await?;
        let ended = self
            .runs
            .get(&run)
            .and_then(|active| active.machine.settlement());
        if matches!(ended, Some(RunState::Failed | RunState::Cancelled)) {
            self.must(run, RecordKind::Retried);
            self.opened_again(run);
        }
        self.let_rest(run);
        Ok(())
    }

    /// Goes on with a run that a record may have opened again.
    fn opened_again(&mut self, run: RunId) {
        let ended = self.lost.child_token();
        let Some(active) = self.runs.get_mut(&run) else {
            return;
        };
        if active.ended.is_cancelled() {
            active.ended = ended;
        }
        active.deadline = active.machine.run_deadline();
        let started = active.machine.scheduler().is_started();
        if let Some(deadline) = active.deadline {
            self.timers.push(deadline, run, Due::RunDeadline);
        }
        if !started {
            self.start_or_wait(run);
        }
    }

    /// Gives a run's memory back that was read only to look whether it can go on.
    fn let_rest(&mut self, run: RunId) {
        let rests = |active: &super::active::ActiveRun| active.machine.is_settled();
        if self.runs.get(&run).is_some_and(rests) {
            self.runs.remove(&run);
        }
    }

    /// Changes the graph of a run, or writes down why that cannot be, for whoever waits for the answer.
    fn patched(&mut self, run: RunId, patch: Bytes) {
        let Some(active) = self.runs.get(&run) else {
            // It has ended, which is an answer.
            return;
        };
        let spec: PatchSpec = match serde_json::from_slice(&patch) {
            Ok(spec) => spec,
            Err(error) => return tracing::warn!(%run, %error, "a patch cannot be read"),
        };
        if active.machine.patched(&spec.id).is_some() {
            return;
        }
        if let Err(failure) = self.record(run, RecordKind::Patched { patch }) {
            let (id, reason) = (spec.id, failure.message.into());
            return self.must(run, RecordKind::PatchRefused { id, reason });
        }
        let active = self.runs.get(&run);
        let touched = active.map(|active| active.machine.touched_by(&spec));
        for task in touched.unwrap_or_default() {
            self.set_deadline(run, task);
        }
        if !spec.changed.is_empty() {
            self.queue_again(run);
        }
    }

    /// Takes a signal in; the first by its name counts.
    fn signalled(&mut self, run: RunId, name: Arc<str>, payload: Bytes) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        if active.machine.is_settled() || active.machine.signal(&name).is_some() {
            return;
        }
        let waiting = active.machine.waiting();
        let mut ruled = active.machine.all_parked().into_iter();
        let ruled = ruled.find(|task| active.machine.ruling_signal(*task) == name);
        let met = |task: &TaskId| active.machine.awaited_signal(*task).as_ref() == Some(&name);
        let met: Vec<_> = waiting.into_iter().filter(met).collect();
        if is_ruling(&name) && ruled.is_none() {
            tracing::warn!(%run, %name, "a ruling came for a task that is not parked any more");
            return;
        }
        self.change(run, RecordKind::Signalled { name, payload });
        for task in met {
            self.meet(run, task);
        }
        if let Some(task) = ruled {
            self.rule(run, task);
        }
    }
}
