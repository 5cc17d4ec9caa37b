//! Irreversible tasks of which nobody knows what became: they wait for a ruling, and nobody works on them.

use std::sync::Arc;

use coditect_dag::journal::RecordKind;
use coditect_dag::{Attempt, RunId, TaskId};

use super::commit::Deferred;
use super::owner::Owner;
use super::timer::Due;
use crate::failure::{Failure, FailureKind};
use crate::wire::AttemptId;

impl Owner {
    /// Takes in that an attempt has vanished: it is followed by another, unless it may have had an effect that must not be
    /// had twice.
    pub(super) fn vanished(
        &mut self,
        run: RunId,
        task: TaskId,
        attempt: Attempt,
        reason: Arc<str>,
    ) {
        let active = self.runs.get(&run);
        if active.is_some_and(|active| active.machine.is_granted(task, attempt)) {
            // Whoever holds it may still end it, and is not told to stop.
            self.land(run, task);
            return self.park(run, task, attempt, reason);
        }
        // Should its worker live after all, it works for nobody.
        self.stop(run, task);
        self.must(
            run,
            RecordKind::Lost {
                task,
                attempt,
                reason,
            },
        );
    }

    /// Lets a task wait for a ruling.
    pub(super) fn park(&mut self, run: RunId, task: TaskId, attempt: Attempt, reason: Arc<str>) {
        let is_parked = |active: &super::active::ActiveRun| active.machine.parked(task).is_some();
        if self.runs.get(&run).is_some_and(is_parked) {
            return;
        }
        tracing::error!(%run, %task, %attempt, %reason, "nobody knows what became of an irreversible task; it waits for a ruling");
        self.must(
            run,
            RecordKind::Parked {
                task,
                attempt,
                reason,
            },
        );
        self.time_parking(run, task);
    }

    /// Lets a task wait for a ruling instead of being handed out, unless its run is paused: it was opened again together with
    /// others, and had been cancelled before anybody knew what became of it.
    pub(super) fn park_again(&mut self, run: RunId, task: TaskId) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        let scheduler = active.machine.scheduler();
        if scheduler.is_paused() {
            return;
        }
        let attempt = scheduler.attempt(task).next();
        let incarnation = None;
        self.must(
            run,
            RecordKind::Dispatched {
                task,
                attempt,
                incarnation,
            },
        );
        let reason = "it was cancelled after it had begun, and nobody said what became of it when its run was opened again";
        self.park(run, task, attempt, reason.into());
    }

    /// Has a worker stop that may still be at work for a task that was parked.
    pub(super) fn stop_parked(&mut self, run: RunId, task: TaskId) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        let attempt = active.machine.scheduler().attempt(task);
        if active.machine.is_granted(task, attempt) {
            self.deferred
                .push(Deferred::StopRemote(AttemptId { run, task, attempt }));
        }
    }

    /// Sets the timer of a task that is parked.
    pub(super) fn time_parking(&mut self, run: RunId, task: TaskId) {
        let active = self.runs.get(&run);
        if let Some(at) = active.and_then(|active| active.machine.parked_until(task)) {
            self.timers.push(at, run, Due::Parking(task));
        }
    }

    /// Carries a ruling out that has come.
    pub(super) fn rule(&mut self, run: RunId, task: TaskId) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        let machine = &active.machine;
        let Some(payload) = machine.signal(&machine.ruling_signal(task)) else {
            return;
        };
        let ruled = machine.ruled_by(task, payload, self.now);
        self.ruled(run, task, ruled);
    }

    /// Ends the time in which a ruling was waited for.
    pub(super) fn parking_is_over(&mut self, run: RunId, task: TaskId) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        let machine = &active.machine;
        // One that was parked again has more time than this timer knows.
        if machine
            .parked_until(task)
            .is_none_or(|until| until > self.now)
        {
            return;
        }
        let ruled = machine.ruled_by_default(task, self.now);
        self.ruled(run, task, ruled);
    }

    fn ruled(&mut self, run: RunId, task: TaskId, ruled: Option<RecordKind>) {
        let Some((active, kind)) = self.runs.get(&run).zip(ruled) else {
            return;
        };
        let attempt = active.machine.scheduler().attempt(task);
        // Should its worker live after all, it works for nobody from now on.
        self.deferred
            .push(Deferred::StopRemote(AttemptId { run, task, attempt }));
        self.must(run, kind);
    }
}

/// Says whether a failure leaves it open what its attempt has done.
pub(super) fn leaves_open(failure: &Failure, before_effect: bool) -> bool {
    let says_nothing = failure.kind.is_retryable()
        || matches!(failure.kind, FailureKind::Cancelled | FailureKind::Lost);
    says_nothing && !before_effect
}
