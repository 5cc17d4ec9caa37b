//! The tasks of a run that have failed for good, or are set aside until they are put back by themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use coditect_dag::journal::RunSummary;
use coditect_dag::{Attempt, TaskId, TaskState, Timestamp};
use coditect_registry::Requirement;
use coditect_telemetry::TraceContext;

use super::event::{EventStream, RunEventKind};
use crate::error::Error;
use crate::failure::Failure;
use crate::ports::Ports;

/// A task that has failed, as its run tells it.
pub(crate) struct FailedTask {
    pub(crate) task: TaskId,
    pub(crate) path: String,
    pub(crate) attempt: Attempt,
    pub(crate) requirement: Requirement,
    pub(crate) failure: Failure,
    pub(crate) first_failed_at: Timestamp,
    pub(crate) failed_at: Timestamp,
    pub(crate) redrive_at: Option<Timestamp>,
    pub(crate) origin: Option<Attempt>,
    /// None where it cannot be made, or is larger than it may be.
    pub(crate) input: Option<Bytes>,
    pub(crate) trace: Option<TraceContext>,
}

/// Says whether a run may have failed tasks at all, by its counts alone.
pub(crate) fn may_have_failed_tasks(run: &RunSummary) -> bool {
    run.counts.failed > 0 || run.counts.lost > 0 || run.counts.expired > 0
}

/// Reads the failed tasks of a run beyond a position, in the order of their positions.
///
/// A task that failed because one of the plan that it answered with did is not among them: that one is.
pub(crate) async fn failed_tasks(
    run: &RunSummary,
    ports: &Arc<Ports>,
    beyond: Option<TaskId>,
) -> Result<Vec<FailedTask>, Error> {
    let mut stream = EventStream::open_kept(run.run, Arc::clone(ports)).await?;
    let mut times: BTreeMap<TaskId, (Timestamp, Timestamp)> = BTreeMap::new();
    while let Some(event) = stream.next_kept().await? {
        match event.kind {
            RunEventKind::Retrying(info, ..)
            | RunEventKind::Lost(info, _)
            | RunEventKind::Settled(info, TaskState::Failed, _) => {
                let at = times.entry(info.task).or_insert((event.at, event.at));
                at.1 = event.at;
            }
            RunEventKind::Reopened(info) => drop(times.remove(&info.task)),
            _ => {}
        }
    }
    let (machine, trace) = (stream.machine(), stream.trace());
    let max = ports.settings.max_payload;
    let failed = times.into_iter().filter_map(|(task, (first, last))| {
        let state = machine.scheduler().state(task)?;
        let redrive_at = machine.redrive_at(task);
        if state != TaskState::Failed && redrive_at.is_none() {
            return None;
        }
        let failure = machine.explain(task, TaskState::Failed, coditect_dag::Cause::NotRetryable);
        let own = failure.task.is_none() && beyond.is_none_or(|beyond| task > beyond);
        own.then(|| FailedTask {
            task,
            path: machine.path(task),
            attempt: machine.scheduler().attempt(task),
            requirement: machine.requirement(task).clone(),
            failure,
            first_failed_at: first,
            failed_at: last,
            redrive_at,
            origin: machine.origin(task),
            input: machine.input(task, max).ok(),
            trace: trace.cloned(),
        })
    });
    Ok(failed.collect())
}
