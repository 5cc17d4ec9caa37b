//! Tasks that wait for signals: since when, for what, and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coditect_dag::journal::RecordKind;
use coditect_dag::{TaskId, Timestamp};

use super::super::record::encode_failure;
use super::RunMachine;
use crate::failure::{Failure, FailureKind};
use crate::plan::Decision;
use crate::plan::spec::WaitSpec;

/// What the name of an approval's signal begins with.
const APPROVAL: &str = "approval:";

/// The name of the signal that decides the approval at a path.
pub(crate) fn approval_signal(path: &str) -> Arc<str> {
    format!("{APPROVAL}{path}").into()
}

impl RunMachine {
    /// What a task waits for instead of being given to an agent.
    pub(crate) fn wait_spec(&self, task: TaskId) -> Option<&WaitSpec> {
        self.task(task).wait.as_deref()
    }

    /// The name of the signal that a task waits for.
    pub(crate) fn awaited_signal(&self, task: TaskId) -> Option<Arc<str>> {
        let wait = self.wait_spec(task)?;
        match &wait.signal {
            Some(name) => Some(Arc::clone(name)),
            None => Some(approval_signal(&self.path(task))),
        }
    }

    /// The tasks that wait, in the order of their positions.
    pub(crate) fn waiting(&self) -> Vec<TaskId> {
        let mut waiting: Vec<_> = self.waiting.keys().copied().collect();
        waiting.sort_unstable();
        waiting
    }

    /// Since when a task waits.
    pub(crate) fn waiting_since(&self, task: TaskId) -> Option<Timestamp> {
        self.waiting.get(&task).copied()
    }

    /// Until when a task waits that does.
    pub(crate) fn waiting_until(&self, task: TaskId) -> Option<Timestamp> {
        let limit = self.wait_spec(task)?.timeout_ms?;
        Some(
            self.waiting_since(task)?
                .saturating_add(Duration::from_millis(limit)),
        )
    }

    /// What a signal has brought.
    pub(crate) fn signal(&self, name: &str) -> Option<&Bytes> {
        self.signals.get(name)
    }

    /// How a task ends that is given what it waited for.
    pub(crate) fn answered(&self, task: TaskId, payload: &Bytes) -> RecordKind {
        let attempt = self.scheduler.attempt(task);
        let approval = self
            .wait_spec(task)
            .is_some_and(|wait| wait.approval.is_some());
        let decided = match serde_json::from_slice::<Decision>(payload) {
            _ if !approval => Ok(()),
            Ok(decision) if decision.approved => Ok(()),
            Ok(decision) => Err(Failure::new(FailureKind::Rejected, decision.rejection())),
            Err(error) => Err(Failure::new(
                FailureKind::InvalidInput,
                format!("the decision cannot be read: {error}"),
            )),
        };
        match decided {
            Ok(()) => RecordKind::Succeeded {
                task,
                attempt,
                output: payload.clone(),
            },
            Err(failure) => RecordKind::Failed {
                task,
                attempt,
                failure: encode_failure(&failure),
                retry_at: None,
            },
        }
    }

    /// Lets an approval be asked for again that was rejected. What an approval or a signal brought that nobody has met
    /// yet is kept.
    pub(super) fn forget_rejection(&mut self, task: TaskId) {
        let name = self
            .wait_spec(task)
            .is_some_and(|wait| wait.approval.is_some())
            .then(|| self.awaited_signal(task));
        let Some(name) = name.flatten() else { return };
        let approves = |payload: &Bytes| {
            serde_json::from_slice::<Decision>(payload).is_ok_and(|decision| decision.approved)
        };
        if self
            .signals
            .get(&name)
            .is_some_and(|payload| !approves(payload))
        {
            self.signals.remove(&name);
        }
    }

    /// Notes that a person has decided a task, if that is what ends it: a default is nobody's decision.
    pub(super) fn note_decision(&mut self, task: TaskId) {
        if self.signals.is_empty() || !self.waiting.contains_key(&task) {
            return;
        }
        let approval = self
            .wait_spec(task)
            .is_some_and(|wait| wait.approval.is_some());
        let signal = self.awaited_signal(task);
        if approval && signal.is_some_and(|name| self.signals.contains_key(&name)) {
            self.by_person.insert(task);
        }
    }
}
