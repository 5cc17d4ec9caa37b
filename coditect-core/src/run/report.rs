//! What a run has done, in numbers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coditect_dag::{Attempt, RunId, TaskId, TaskState, Timestamp};
use serde::Serialize;

use super::event::{EventStream, RunEventKind};
use crate::error::Error;
use crate::ports::Ports;

/// What a run has done so far; made by [`RunHandle::report`](crate::RunHandle::report).
///
/// # Examples
///
/// ```
/// # use coditect_core::{Error, RunHandle, TaskState};
/// # async fn example(run: RunHandle<()>) -> Result<(), Error> {
/// let report = run.report().await?;
/// println!(
///     "{} tasks, {} failed, {} attempts in {:?}, up to {} at once, {:.0} % without a person",
///     report.tasks.len(),
///     report.count(TaskState::Failed),
///     report.attempts,
///     report.wall,
///     report.peak,
///     100.0 * report.autonomy(),
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// The run.
    pub run: RunId,
    /// Every task that it has had, by position.
    pub tasks: Vec<TaskReport>,
    /// How many patches have changed its graph.
    pub revision: u64,
    /// How many attempts were handed out.
    pub attempts: u64,
    /// From the moment the run was taken up to its end, or to its latest event.
    pub wall: Duration,
    /// How long attempts ran, in all.
    pub busy: Duration,
    /// How many attempts ran at once, at most.
    pub peak: usize,
}

/// What became of one task.
#[derive(Clone, Debug, Serialize)]
pub struct TaskReport {
    /// The keys that lead to it, joined by `/`.
    pub path: String,
    /// What it required of an agent.
    pub capability: String,
    /// The state it is in.
    pub state: TaskState,
    /// How many attempts were handed out; none of a task that waits for a signal or an approval.
    pub attempts: u32,
    /// How long its attempts ran.
    pub busy: Duration,
    /// The task whose plan it belongs to; none for the run's own plan.
    pub parent: Option<TaskId>,
    /// The tasks of the same plan that it waited for.
    pub upstream: Vec<TaskId>,
    /// The attempt that it follows, where it had failed for good and was put back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redriven_from: Option<Attempt>,
    /// Why nobody knows what became of it, if it is parked and waits for a [ruling](crate::Ruling).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked: Option<String>,
    /// Whether a person had a hand in it: it was redriven, had failed and was retried, was approved or rejected, was ruled
    /// about, or was cancelled.
    pub by_person: bool,
    /// Whether a [patch](crate::Patch) took it out of its plan before it had begun.
    pub removed: bool,
}

impl RunReport {
    pub(crate) async fn read(run: RunId, ports: &Arc<Ports>) -> Result<Self, Error> {
        let mut stream = EventStream::open(run, Arc::clone(ports)).await?;
        let mut times = Times::default();
        while let Some(event) = stream.next_kept().await? {
            times.take(event.at, &event.kind);
        }
        let machine = stream.machine();
        let cancelled = machine.cancel_reason().is_some();
        let count = machine.scheduler().len();
        let ids = (0..u32::try_from(count).unwrap_or(u32::MAX)).map(TaskId::new);
        let tasks = ids
            .map(|id| {
                let state = machine.scheduler().state(id).unwrap_or(TaskState::Pending);
                let waits = machine.wait_spec(id).is_some();
                TaskReport {
                    path: machine.path(id),
                    capability: machine.wanted(id),
                    state,
                    attempts: if waits {
                        0
                    } else {
                        machine.scheduler().attempt(id).get()
                    },
                    busy: times.busy.get(&id).copied().unwrap_or_default(),
                    parent: machine.scheduler().parent(id),
                    upstream: machine.upstream(id),
                    redriven_from: machine.origin(id),
                    parked: machine.parked(id).map(|parked| parked.reason.to_string()),
                    by_person: machine.is_by_person(id)
                        || (cancelled && state == TaskState::Cancelled),
                    removed: machine.is_removed(id),
                }
            })
            .collect();
        Ok(Self {
            run,
            tasks,
            revision: machine.revision(),
            attempts: times.attempts,
            wall: times
                .last
                .saturating_since(times.first.unwrap_or(times.last)),
            busy: times.busy.values().sum(),
            peak: times.peak,
        })
    }

    /// How many tasks are in a state.
    #[must_use]
    pub fn count(&self, state: TaskState) -> usize {
        self.tasks.iter().filter(|task| task.state == state).count()
    }

    /// The share of tasks that needed no person, from 0 to 1.
    #[must_use]
    pub fn autonomy(&self) -> f64 {
        let alone = self.tasks.iter().filter(|task| !task.by_person).count();
        ratio(alone as f64, self.tasks.len() as f64)
    }

    /// The share of `slots` that had an attempt to run while the run lasted, from 0 to 1.
    #[must_use]
    pub fn utilisation(&self, slots: usize) -> f64 {
        ratio(
            self.busy.as_secs_f64(),
            self.wall.as_secs_f64() * slots as f64,
        )
        .min(1.0)
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 1.0 }
}

/// Adds up how long attempts ran.
#[derive(Default)]
struct Times {
    first: Option<Timestamp>,
    last: Timestamp,
    running: BTreeMap<TaskId, Timestamp>,
    busy: BTreeMap<TaskId, Duration>,
    attempts: u64,
    peak: usize,
}

impl Times {
    fn take(&mut self, at: Timestamp, kind: &RunEventKind) {
        self.first.get_or_insert(at);
        self.last = self.last.max(at);
        match kind {
            RunEventKind::Dispatched(info) => {
                self.attempts += 1;
                self.running.insert(info.task, at);
                self.peak = self.peak.max(self.running.len());
            }
            RunEventKind::Retrying(info, ..)
            | RunEventKind::Lost(info, _)
            | RunEventKind::Parked(info, _)
            | RunEventKind::Expanded(info, _)
            | RunEventKind::Settled(info, ..) => {
                if let Some(since) = self.running.remove(&info.task) {
                    *self.busy.entry(info.task).or_default() += at.saturating_since(since);
                }
            }
            _ => {}
        }
    }
}
