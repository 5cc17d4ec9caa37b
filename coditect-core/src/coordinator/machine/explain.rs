//! Why tasks and runs ended as they did.

use coditect_dag::{Cause, TaskId, TaskState};
use rustc_hash::FxHashMap;

use super::RunMachine;
use crate::failure::{Failure, FailureKind};

impl RunMachine {
    /// Why a task failed whose deadline has passed.
    pub(crate) fn missed_deadline(&self, task: TaskId) -> Failure {
        if self.unserved.contains(&task) {
            return Failure::new(
                FailureKind::Unserved,
                format!(
                    "no agent offers `{}`, and the deadline has passed",
                    self.wanted(task)
                ),
            );
        }
        if let Some(parked) = self.parked(task) {
            let text = "the deadline passed, and nobody has said what became of it";
            let mut failure = Failure::new(FailureKind::OutcomeUnknown, text);
            failure.chain.push(parked.reason.to_string());
            return failure;
        }
        if let Some(holder) = self.grantee(task, self.scheduler.attempt(task)) {
            let text = "the deadline passed after it had begun, and nobody knows what became of it";
            let mut failure = Failure::new(FailureKind::OutcomeUnknown, text);
            failure
                .chain
                .push(format!("{} had begun it", holder.incarnation));
            return failure;
        }
        let state = self.scheduler.state(task).unwrap_or(TaskState::Pending);
        let mut failure = Failure::new(
            FailureKind::DeadlineExceeded,
            format!(
                "the deadline passed after {} attempts ({state})",
                self.scheduler.attempt(task)
            ),
        );
        failure
            .chain
            .extend(self.failures.get(&task).map(ToString::to_string));
        failure
    }

    /// Why a task ended as it did.
    pub(crate) fn explain(&self, task: TaskId, state: TaskState, cause: Cause) -> Failure {
        explain(&self.failures, task, state, cause)
    }

    /// Why a run failed whose deadline has passed.
    pub(crate) fn missed_run_deadline(&self) -> Failure {
        let waits = |task: &TaskId| self.scheduler.state(*task) == Some(TaskState::Ready);
        if let Some(task) = self.unserved.iter().copied().filter(waits).min() {
            return Failure::new(
                FailureKind::Unserved,
                format!(
                    "the run's deadline passed, and no agent offers `{}`",
                    self.wanted(task)
                ),
            )
            .with_task(self.path(task));
        }
        let (running, ready) = (
            self.scheduler.count(TaskState::Running),
            self.scheduler.count(TaskState::Ready),
        );
        Failure::new(
            FailureKind::DeadlineExceeded,
            format!(
                "the run's deadline passed; {running} tasks were running and {ready} waiting for a slot"
            ),
        )
    }
}

/// Why a task ended as it did, from what is known of it.
pub(super) fn explain(
    failures: &FxHashMap<TaskId, Failure>,
    task: TaskId,
    state: TaskState,
    cause: Cause,
) -> Failure {
    if let (TaskState::Failed, Some(failure)) = (state, failures.get(&task)) {
        return failure.clone();
    }
    match state {
        TaskState::Skipped => Failure::new(
            FailureKind::Upstream,
            "a task that this one needs did not succeed",
        ),
        TaskState::Cancelled if cause == Cause::Removed => Failure::new(
            FailureKind::Cancelled,
            "a patch took the task out of the plan",
        ),
        TaskState::Cancelled => Failure::new(FailureKind::Cancelled, "the task was cancelled"),
        _ => Failure::new(FailureKind::Error, format!("the task failed: {cause:?}")),
    }
}

pub(crate) fn decode_failure(json: &[u8]) -> Failure {
    serde_json::from_slice(json).unwrap_or_else(|error| {
        Failure::new(
            FailureKind::Error,
            format!("the task failed for a reason that cannot be read: {error}"),
        )
    })
}
