//! Attempts that an owner of this process had begun here before it handed its partition over.
//!
//! They go on, held by a claim: the next owner hears of them, may stop them, and waits for their outcomes in the
//! partition's queue.

use coditect_bus::QueueName;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::attempt::Ended;
use super::claim::Claim;
use super::report::{Told, publish_outcome};
use super::running::{AttemptName, Enrolled};
use crate::failure::{Failure, FailureKind};
use crate::wire::{AttemptId, Outcome};

/// The attempts of former owners.
#[derive(Debug, Default)]
pub(super) struct Handed(Mutex<FxHashMap<AttemptName, Kept>>);

/// What keeps an attempt known to its next owner.
#[derive(Debug)]
struct Kept {
    _claim: Claim,
    _enrolled: Enrolled,
}

impl Worker {
    /// After how long silence a claim of this process ends, in milliseconds.
    pub(crate) fn claim_lease_ms(&self) -> u64 {
        let lease = self.services.ports.settings.agent_lease;
        u64::try_from(lease.as_millis()).unwrap_or(u64::MAX)
    }

    /// Goes on with attempts, each stopped by its token, of an owner that hears of them no longer.
    pub(crate) fn keep_working(
        &self,
        owner: &QueueName,
        attempts: impl IntoIterator<Item = (AttemptId, CancellationToken)>,
    ) {
        let mut handed = self.handed.0.lock();
        for (attempt, token) in attempts {
            let owner = owner.clone();
            let name = AttemptName { owner, attempt };
            // One that was stopped under this name has been stopped for good.
            let Some(enrolled) = self.running.attempt(name.clone(), token.clone()) else {
                token.cancel();
                continue;
            };
            let kept = Kept {
                _claim: self.claims.hold(name.clone()),
                _enrolled: enrolled,
            };
            handed.insert(name, kept);
        }
    }

    /// Tells the partition's queue what an owner was told that is one no longer. A failure is not told, unless the attempt
    /// was handed over or granted: its handler was probably stopped, and the next owner hands the attempt out again.
    pub(crate) fn pass_outcome_on(
        self: &Arc<Self>,
        owner: &QueueName,
        outcome: Outcome,
        is_granted: bool,
    ) {
        let wanted = is_granted || !matches!(outcome.ended, Ended::Failed { .. });
        let (worker, owner) = (Arc::clone(self), owner.clone());
        self.attempts.spawn(async move {
            let tell = worker.tell_next_owner(owner, outcome, wanted, false);
            tell.await;
        });
    }

    /// Tells how an attempt ended that a former owner had begun, if that is wanted or the attempt was handed over.
    pub(super) async fn tell_next_owner(
        self: &Arc<Self>,
        owner: QueueName,
        mut outcome: Outcome,
        wanted: bool,
        was_told: bool,
    ) {
        let attempt = AttemptId {
            run: outcome.run,
            task: outcome.task,
            attempt: outcome.attempt,
        };
        let name = AttemptName { owner, attempt };
        if !self.handed.0.lock().contains_key(&name) {
            if wanted {
                publish_outcome(&*self.services.ports.bus, &name.owner, &outcome).await;
            }
            return;
        }
        let running = &self.running;
        if was_told && running.is_halted() && !running.is_stopped(&name) {
            // The end of this process is no failure of the task, which goes on elsewhere.
            outcome.ended = Ended::failed(Failure::new(
                FailureKind::Lost,
                "the process that had claimed it has ended",
            ));
        }
        self.tell_of_claim(&name, &outcome).await;
        self.handed.0.lock().remove(&name);
    }

    /// Tells an outcome that nobody else will tell, until the bus takes it or this process is to end.
    pub(super) async fn tell_of_claim(self: &Arc<Self>, name: &AttemptName, outcome: &Outcome) {
        while self.tell(&name.owner, outcome).await == Told::NotNow
            && !self.running.is_stopped(name)
            && !self.running.is_halted()
        {}
    }
}
