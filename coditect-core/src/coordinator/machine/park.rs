//! Irreversible attempts: who may begin them, and those of which nobody knows what became.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coditect_dag::journal::RecordKind;
use coditect_dag::{Attempt, TaskId, TaskState, Timestamp};

use super::super::record::encode_failure;
use super::{Holder, RunMachine};
use crate::failure::{Failure, FailureKind};
use crate::plan::{Ruling, RulingKind};

/// A task that waits for a ruling.
#[derive(Clone, Debug)]
pub(crate) struct Parked {
    pub(crate) since: Timestamp,
    /// Why nobody knows what became of its attempt.
    pub(crate) reason: Arc<str>,
}

/// What the name of a signal begins with that rules.
const RULING: &str = "ruling:";

/// Says whether a signal rules about a task.
pub(crate) fn is_ruling(signal: &str) -> bool {
    signal.starts_with(RULING)
}

impl RunMachine {
    /// The process that may begin an attempt, or has begun it, where that was written down first.
    pub(crate) fn grantee(&self, task: TaskId, attempt: Attempt) -> Option<&Holder> {
        let holder = self.holder(task, attempt)?;
        holder.claim.is_some().then_some(holder)
    }

    pub(crate) fn is_granted(&self, task: TaskId, attempt: Attempt) -> bool {
        self.grantee(task, attempt).is_some()
    }

    /// Why a task is parked, and since when.
    pub(crate) fn parked(&self, task: TaskId) -> Option<&Parked> {
        self.parked.get(&task)
    }

    /// The tasks that are parked, in the order of their positions.
    pub(crate) fn all_parked(&self) -> Vec<TaskId> {
        let mut parked: Vec<_> = self.parked.keys().copied().collect();
        parked.sort_unstable();
        parked
    }

    /// Until when a task is parked.
    pub(crate) fn parked_until(&self, task: TaskId) -> Option<Timestamp> {
        let parking = self.settings(task).parking.as_ref()?;
        let limit = Duration::from_millis(parking.timeout_ms);
        Some(self.parked(task)?.since.saturating_add(limit))
    }

    /// The name of the signal that rules about a task which is parked, and was so often before: whoever ruled then knew
    /// nothing of what has happened since.
    pub(crate) fn ruling_signal(&self, task: TaskId) -> Arc<str> {
        let attempt = self.scheduler.attempt(task);
        let times = self.times_parked.get(&task).copied().unwrap_or(0);
        format!("{RULING}{attempt}.{times}:{}", self.path(task)).into()
    }

    /// What a parked task comes to when its time is over.
    pub(crate) fn ruled_by_default(&self, task: TaskId, now: Timestamp) -> Option<RecordKind> {
        let parking = self.settings(task).parking.as_ref()?;
        self.ruled(task, &Ruling::by_default(parking.then.clone()), now)
    }

    /// What a parked task comes to by what a signal has brought.
    pub(crate) fn ruled_by(
        &self,
        task: TaskId,
        payload: &[u8],
        now: Timestamp,
    ) -> Option<RecordKind> {
        match serde_json::from_slice(payload) {
            Ok(ruling) => self.ruled(task, &ruling, now),
            Err(error) => {
                let text = format!("the ruling cannot be read: {error}");
                let failure = Failure::new(FailureKind::InvalidInput, text);
                Some(self.failed(task, &failure))
            }
        }
    }

    fn ruled(&self, task: TaskId, ruling: &Ruling, now: Timestamp) -> Option<RecordKind> {
        let reason = &self.parked(task)?.reason;
        let attempt = self.scheduler.attempt(task);
        Some(match ruling.verdict() {
            // Neither a failure nor a loss: that somebody wants another attempt spends none.
            RulingKind::Retry => RecordKind::Snoozed {
                task,
                attempt,
                until: now,
            },
            RulingKind::Complete(output) => RecordKind::Succeeded {
                task,
                attempt,
                output: Bytes::from(output.to_string()),
            },
            RulingKind::Fail => self.failed(task, &ruling.failure(reason)),
        })
    }

    fn failed(&self, task: TaskId, failure: &Failure) -> RecordKind {
        RecordKind::Failed {
            task,
            attempt: self.scheduler.attempt(task),
            failure: encode_failure(failure),
            retry_at: None,
        }
    }

    /// Takes in who holds an attempt, if it is the one that runs.
    pub(super) fn keep_holder(&mut self, task: TaskId, attempt: Attempt, holder: Holder) {
        if self.is_current(task, attempt) {
            self.claims.insert(task, (attempt, holder));
            self.unpark(task);
        }
    }

    /// Takes in that nobody knows what became of an attempt.
    pub(super) fn park(
        &mut self,
        task: TaskId,
        attempt: Attempt,
        since: Timestamp,
        reason: &Arc<str>,
    ) {
        if self.is_current(task, attempt) {
            let reason = Arc::clone(reason);
            self.parked.insert(task, Parked { since, reason });
            self.unclear.remove(&task);
            *self.times_parked.entry(task).or_default() += 1;
        }
    }

    /// Says whether a task was cancelled before anybody knew what became of it, so that it is not for those who opened it
    /// again with others to have it begun again.
    pub(crate) fn is_unclear(&self, task: TaskId) -> bool {
        self.unclear.contains(&task)
    }

    /// Notes how a task ended: cancelled, it may have begun what must not be begun twice.
    pub(super) fn note_unclear(&mut self, task: TaskId, state: TaskState) {
        if state == TaskState::Cancelled
            && (self.parked.contains_key(&task)
                || self.is_granted(task, self.scheduler.attempt(task)))
        {
            self.unclear.insert(task);
        }
    }

    /// A task is parked no longer; notes whether a person has ruled.
    pub(super) fn unpark(&mut self, task: TaskId) {
        if self.parked.is_empty() || !self.parked.contains_key(&task) {
            return;
        }
        if self.signals.contains_key(&self.ruling_signal(task)) {
            self.by_person.insert(task);
        }
        self.parked.remove(&task);
    }
}
