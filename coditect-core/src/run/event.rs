//! What happens in a run, told from its journal to whoever follows it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use coditect_bus::{Consumer, Subscription};
use coditect_dag::journal::{Record, RecordKind, RunState, Seq, Watch};
use coditect_dag::{Action, Attempt, Cause, Class, RunId, TaskId, TaskState, Timestamp};
use coditect_telemetry::TraceContext;

use super::spec::RunSpec;
use crate::context::Progress;
use crate::coordinator::{Effect, RunMachine, decode_failure};
use crate::error::{Error, ErrorKind};
use crate::failure::Failure;
use crate::plan::{Awaited, PreparedPlan};
use crate::ports::Ports;
use crate::wire;

/// How many records are read at once.
const PAGE: usize = 1024;

/// Something that happened in a run.
#[derive(Clone, Debug)]
pub struct RunEvent {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: RunEventKind,
}

/// What happened in a run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RunEventKind {
    /// A coordinator began with the run.
    Started,
    /// The run waits for its start, which was put off or brought forward to this instant.
    Rescheduled(Timestamp),
    /// A task can run as soon as there is a slot for it.
    Ready(TaskInfo),
    /// An attempt was handed out.
    Dispatched(TaskInfo),
    /// A handler reports how far it is.
    Progress(TaskInfo, Progress),
    /// Nobody offers what the task needs; it waits until somebody does, or until its deadline.
    Unserved(TaskInfo),
    /// An attempt failed; another follows at the instant given.
    Retrying(TaskInfo, Failure, Timestamp),
    /// An attempt was lost with its worker or its connection; another follows.
    Lost(TaskInfo, Arc<str>),
    /// The task answered with a plan of so many tasks, which now run in its place.
    Expanded(TaskInfo, usize),
    /// The task has ended, and why if it did not succeed.
    Settled(TaskInfo, TaskState, Option<Failure>),
    /// Nobody knows what became of an attempt that is irreversible, for this reason: the task waits for a
    /// [ruling](crate::Ruling), unless its worker is heard of again.
    Parked(TaskInfo, Arc<str>),
    /// The task waits for a signal or an approval; nobody works on it.
    Waiting(TaskInfo, Awaited),
    /// A signal came for the run, by this name.
    Signalled(Arc<str>),
    /// The task had ended, or was about to run, and waits again.
    Reopened(TaskInfo),
    /// Nothing more is handed out until the run is resumed, and why.
    Paused(Arc<str>),
    /// What waits is handed out again.
    Resumed,
    /// The graph of the run was changed, and is at this revision now.
    Patched(u64),
    /// A [patch](crate::Patch) by this name was refused, and why; nothing has changed.
    PatchRefused(Arc<str>, Arc<str>),
    /// The run had ended and goes on: what had not succeeded gets another chance.
    Retried,
    /// The run has ended; the last event, unless the run is opened again.
    RunSettled(RunState),
}

/// Which task an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskInfo {
    /// The task's position in the run.
    pub task: TaskId,
    /// Its current or last attempt.
    pub attempt: Attempt,
    /// The keys that lead to it, joined by `/`.
    pub path: String,
    /// What it requires of an agent.
    pub capability: String,
}

/// The events of a run, from its beginning to its end.
///
/// They are read from the journal, so a slow reader misses nothing and holds nobody up; only
/// [progress](RunEventKind::Progress) is a hint that may be missed. Made by
/// [`RunHandle::events`](crate::RunHandle::events), which has an example.
pub struct EventStream {
    run: RunId,
    ports: Arc<Ports>,
    machine: RunMachine,
    after: Seq,
    /// The position of an end that is not the last.
    beyond: Seq,
    watch: Watch,
    progress: Option<Consumer>,
    trace: Option<TraceContext>,
    events: VecDeque<RunEvent>,
    effects: Vec<Effect>,
}

impl EventStream {
    pub(crate) async fn open(run: RunId, ports: Arc<Ports>) -> Result<Self, Error> {
        Self::open_beyond(run, ports, Seq::ZERO).await
    }

    /// Follows a run whose end at this position is not its last.
    pub(super) async fn open_beyond(
        run: RunId,
        ports: Arc<Ports>,
        beyond: Seq,
    ) -> Result<Self, Error> {
        let mut stream = Self::open_kept(run, Arc::clone(&ports)).await?;
        let pattern = wire::progress_topic(run)?.as_str().parse()?;
        stream.progress = ports.bus.subscribe(Subscription::topic(pattern)).await.ok();
        stream.beyond = beyond;
        Ok(stream)
    }

    /// Reads a run without hearing what is only hinted.
    pub(super) async fn open_kept(run: RunId, ports: Arc<Ports>) -> Result<Self, Error> {
        let watch = ports.journal.watch(run).await?;
        let log = ports
            .journal
            .load(run)
            .await?
            .ok_or_else(|| not_found(run))?;
        let spec: RunSpec = serde_json::from_slice(&log.submission.spec).map_err(|error| {
            Error::invalid("the run's submission cannot be read").with_source(error)
        })?;
        let plan = Arc::new(PreparedPlan::new(spec.plan)?);
        let machine = RunMachine::new(plan, &spec.terms, &mut |_, _| Class(0), None)
            .map_err(Error::of_run)?;
        let mut machine = machine;
        machine.schedule(log.submission.start_at);
        // The log itself is read page by page as it is asked for.
        Ok(Self {
            run,
            ports,
            machine,
            after: Seq::ZERO,
            beyond: Seq::ZERO,
            watch,
            progress: None,
            trace: spec.terms.trace(),
            events: VecDeque::new(),
            effects: Vec::new(),
        })
    }

    /// Waits for the next event; none after the run has ended, as long as it has not been opened again.
    ///
    /// # Errors
    ///
    /// As [`RunHandle::settled`](super::RunHandle::settled).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Result<Option<RunEvent>, Error> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            let ended = self.ports.has_ended();
            if self.read().await? {
                continue;
            }
            if self.machine.is_settled() && self.after > self.beyond {
                return Ok(None);
            }
            if ended {
                return Err(unfinished(self.run));
            }
            tokio::select! {
                biased;
                () = self.watch.changed() => {}
                () = self.ports.ended() => {}
                progress = next_progress(&mut self.progress) => match progress {
                    Some(progress) => self.report(progress),
                    None => self.progress = None,
                },
            }
        }
    }

    /// The next event that the journal already has; none once it has told all it knows now.
    pub(crate) async fn next_kept(&mut self) -> Result<Option<RunEvent>, Error> {
        if self.events.is_empty() {
            self.read().await?;
        }
        Ok(self.events.pop_front())
    }

    /// Takes in what the journal has beyond what was read; says whether there was anything.
    async fn read(&mut self) -> Result<bool, Error> {
        let page = self
            .ports
            .journal
            .events(self.run, self.after, PAGE)
            .await?;
        for (seq, record) in &page.records {
            self.after = *seq;
            self.take(record);
        }
        Ok(!page.records.is_empty())
    }

    /// What has been read of the run so far.
    pub(crate) fn machine(&self) -> &RunMachine {
        &self.machine
    }

    /// The trace that the run belongs to.
    pub(super) fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_ref()
    }

    /// The position of the last record that was read.
    pub(super) fn position(&self) -> Seq {
        self.after
    }

    /// Says whether a task could be redriven. What was read of the run is no longer true to the journal then.
    pub(super) fn may_redrive(&mut self, task: TaskId, at: Timestamp) -> bool {
        let record = RecordKind::redriven(task).at(at);
        let mut effects = Vec::new();
        let applied = self
            .machine
            .apply(&record, &mut |_, _| Class(0), None, &mut effects);
        applied.unwrap_or(false)
    }

    fn report(&mut self, progress: Progress) {
        // A report may be about a task that the journal has not told of yet, or about another run.
        if progress.run == self.run && progress.task.index() < self.machine.scheduler().len() {
            let info = self.info(progress.task);
            let kind = RunEventKind::Progress(info, progress);
            self.push(self.ports.clock.now(), kind);
        }
    }

    fn take(&mut self, record: &Record) {
        let at = record.at;
        let mut effects = std::mem::take(&mut self.effects);
        let applied = self
            .machine
            .apply(record, &mut |_, _| Class(0), None, &mut effects);
        if let Some(kind) = applied.is_ok().then(|| self.kind(&record.kind)).flatten() {
            self.push(at, kind);
        }
        for effect in effects.drain(..) {
            match effect {
                Effect::Act(Action::Ready { task }) => {
                    let info = self.info(task);
                    self.push(at, RunEventKind::Ready(info));
                }
                Effect::Act(Action::Reopened { task }) => {
                    let info = self.info(task);
                    self.push(at, RunEventKind::Reopened(info));
                }
                Effect::Act(Action::Settled { task, state, cause }) => {
                    let failure = self.failure(task, state, cause);
                    let info = self.info(task);
                    self.push(at, RunEventKind::Settled(info, state, failure));
                }
                _ => {}
            }
        }
        self.effects = effects;
        if let RecordKind::Settled(settlement) = &record.kind {
            self.push(at, RunEventKind::RunSettled(settlement.state()));
        }
    }

    fn push(&mut self, at: Timestamp, kind: RunEventKind) {
        self.events.push_back(RunEvent { at, kind });
    }

    fn kind(&self, record: &RecordKind) -> Option<RunEventKind> {
        Some(match record {
            RecordKind::Started => RunEventKind::Started,
            RecordKind::Rescheduled { start_at } => RunEventKind::Rescheduled(*start_at),
            RecordKind::Dispatched { task, .. } => RunEventKind::Dispatched(self.info(*task)),
            RecordKind::Unserved { task } => RunEventKind::Unserved(self.info(*task)),
            RecordKind::Waiting { task, .. } => {
                let awaited = self.machine.wait_spec(*task)?.awaited();
                RunEventKind::Waiting(self.info(*task), awaited)
            }
            RecordKind::Parked { task, reason, .. } => {
                RunEventKind::Parked(self.info(*task), Arc::clone(reason))
            }
            RecordKind::Signalled { name, .. } => RunEventKind::Signalled(Arc::clone(name)),
            RecordKind::Paused { reason } => RunEventKind::Paused(Arc::clone(reason)),
            RecordKind::Resumed => RunEventKind::Resumed,
            RecordKind::Retried => RunEventKind::Retried,
            RecordKind::Patched { .. } => RunEventKind::Patched(self.machine.revision()),
            RecordKind::PatchRefused { id, reason } => {
                RunEventKind::PatchRefused(Arc::clone(id), Arc::clone(reason))
            }
            RecordKind::Failed {
                task,
                failure,
                retry_at: Some(at),
                ..
            } if self.machine.scheduler().state(*task) == Some(TaskState::Backoff) => {
                RunEventKind::Retrying(self.info(*task), decode_failure(failure), *at)
            }
            RecordKind::Lost { task, reason, .. } => {
                RunEventKind::Lost(self.info(*task), Arc::clone(reason))
            }
            RecordKind::Expanded { task, .. } => {
                let tasks = self.machine.tasks_of(Some(*task)).len();
                RunEventKind::Expanded(self.info(*task), tasks as usize)
            }
            _ => return None,
        })
    }

    fn failure(&self, task: TaskId, state: TaskState, cause: Cause) -> Option<Failure> {
        (state != TaskState::Succeeded).then(|| self.machine.explain(task, state, cause))
    }

    pub(super) fn info(&self, task: TaskId) -> TaskInfo {
        TaskInfo {
            task,
            attempt: self.machine.scheduler().attempt(task),
            path: self.machine.path(task),
            capability: self.machine.wanted(task),
        }
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream")
            .field("run", &self.run)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}

pub(super) fn not_found(run: RunId) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no run {run}"))
}

pub(super) fn unfinished(run: RunId) -> Error {
    Error::new(
        ErrorKind::Closed,
        format!("the runtime shut down before run {run} had ended"),
    )
}

/// The next report that can be read; none when there will be no more.
async fn next_progress(consumer: &mut Option<Consumer>) -> Option<Progress> {
    let Some(consumer) = consumer else {
        return std::future::pending().await;
    };
    loop {
        let delivery = consumer.recv().await?;
        let progress = delivery.envelope().decode();
        // A report is a hint: whether its acknowledgement arrives makes no difference.
        let _ = delivery.ack().await;
        if let Ok(progress) = progress {
            return Some(progress);
        }
    }
}
