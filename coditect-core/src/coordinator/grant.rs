//! Irreversible attempts: one worker may begin each, and is told so once the journal has it.

use std::sync::Arc;

use coditect_bus::{CorrelationId, Delivery, Destination, MessageBus, QueueName};
use coditect_dag::journal::RecordKind;
use coditect_dag::{Attempt, RunId, TaskId};
use tokio_util::sync::CancellationToken;

use super::active::{Flight, Place};
use super::claim::Claim;
use super::commit::Deferred;
use super::owner::Owner;
use crate::effect::EffectClass;
use crate::wire::{AttemptId, Grant, Holding};
use crate::worker::Slot;

/// An answer to a claim, on its way to whoever asked.
#[derive(Debug)]
pub(super) struct Answer {
    to: QueueName,
    correlation: Option<CorrelationId>,
    grant: Grant,
}

/// What an owner says to a claim that is made before its attempt begins.
enum Judged {
    Granted,
    Refused,
    /// It is of a run that this owner does not know.
    OfUnknown(RunId),
    /// Another owner knows more.
    ForAnother,
}

impl Owner {
    /// Takes in that a worker asks whether it may begin.
    pub(super) fn asked_to_begin(&mut self, claim: u64, holding: &Holding, delivery: Delivery) {
        let envelope = delivery.envelope();
        let (&[attempt], Some(to)) = (&*holding.attempts, envelope.reply_to().cloned()) else {
            let reason = "a claim that is to be granted names one attempt, and where to answer";
            return self
                .deferred
                .push(Deferred::Reject(delivery, reason.to_owned()));
        };
        let correlation = envelope.correlation_id().cloned();
        let answer = |granted| Answer {
            to,
            correlation,
            grant: Grant { claim, granted },
        };
        match self.judge(attempt, claim, holding) {
            judged @ (Judged::Granted | Judged::Refused) => {
                let granted = matches!(judged, Judged::Granted);
                self.deferred.push(Deferred::Answer(answer(granted)));
                self.deferred.push(Deferred::Ack(delivery));
            }
            Judged::OfUnknown(run) => {
                self.deferred
                    .push(Deferred::RefuseIfSettled(run, answer(false), delivery))
            }
            Judged::ForAnother => self.deferred.push(Deferred::GiveBack(delivery)),
        }
    }

    fn judge(&mut self, attempt: AttemptId, claim: u64, holding: &Holding) -> Judged {
        let AttemptId { run, task, .. } = attempt;
        let Some(active) = self.runs.get_mut(&run) else {
            return Judged::OfUnknown(run);
        };
        let scheduler = active.machine.scheduler();
        let known = task.index() < scheduler.len();
        if known && attempt.attempt > scheduler.attempt(task) {
            return Judged::ForAnother;
        }
        // An attempt that is over never comes back, nor does one that another holds: whatever another owner does meanwhile,
        // this stays true.
        if !known || !active.machine.is_current(task, attempt.attempt) {
            return Judged::Refused;
        }
        if let Some(holder) = active.machine.grantee(task, attempt.attempt) {
            // Asked again, as the answer of a former owner may not have been sent.
            let same = holder.incarnation == holding.incarnation && holder.claim == Some(claim);
            return if same {
                Judged::Granted
            } else {
                Judged::Refused
            };
        }
        match active.flights.get(&task).map(|flight| &flight.place) {
            Some(Place::Local(_) | Place::Claimed(_)) => return Judged::Refused,
            Some(Place::Bus(_) | Place::Instance(_)) | None => {}
        }
        self.hold_by(attempt, claim, holding);
        Judged::Granted
    }

    /// An attempt is held by the worker that was granted it from now on.
    fn hold_by(&mut self, attempt: AttemptId, claim: u64, holding: &Holding) {
        let AttemptId { run, task, .. } = attempt;
        let Some(active) = self.runs.get_mut(&run) else {
            return;
        };
        let class = active.machine.class(task);
        let until = self.now.saturating_add(holding.lease());
        let held = || {
            let mut held = Claim::new(Arc::clone(&holding.incarnation), holding.lease(), until);
            held.granted = Some(claim);
            held
        };
        let is_new = !active.flights.contains_key(&task);
        // One that was parked, or in no queue that is known.
        active.flights.entry(task).or_insert_with(|| Flight {
            attempt: attempt.attempt,
            class,
            place: Place::Claimed(held()),
            since: self.now,
            is_recorded: true,
            probe: None,
        });
        let held = held();
        if is_new {
            self.took_off(run, class);
        }
        self.give_to_worker(run, attempt, held);
    }

    /// Goes on waiting for a worker that was taken for dead, and is not.
    pub(super) fn heard_again(&mut self, attempt: AttemptId, holding: &Holding) {
        let active = self.runs.get(&attempt.run);
        let claim = active.and_then(|active| {
            active.machine.parked(attempt.task)?;
            let holder = active.machine.grantee(attempt.task, attempt.attempt)?;
            (holder.incarnation == holding.incarnation).then_some(holder.claim)?
        });
        if let Some(claim) = claim {
            self.hold_by(attempt, claim, holding);
        }
    }

    /// Says whether a task is irreversible for an agent of this process.
    pub(super) fn is_irreversible(&self, run: RunId, task: TaskId, slot: &Slot) -> bool {
        let plan: Option<EffectClass> = self
            .runs
            .get(&run)
            .and_then(|active| active.machine.settings(task).effect);
        slot.hosted()
            .card
            .effect()
            .with_plan(plan)
            .is_irreversible()
    }

    /// What stops a handler of this process: the end of its owner, too, unless nobody else may do it.
    pub(super) fn token(&self, irreversible: bool) -> CancellationToken {
        match irreversible {
            true => self.shared.abort.child_token(),
            false => CancellationToken::new(),
        }
    }

    /// Writes down that this process may begin an attempt, before it does.
    pub(super) fn grant_here(&mut self, run: RunId, task: TaskId, attempt: Attempt) {
        let lease = self.shared.ports.settings.agent_lease;
        let incarnation = Arc::clone(&self.shared.name);
        self.must(
            run,
            RecordKind::Granted {
                task,
                attempt,
                incarnation,
                lease_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
                // Claims that come over the bus have numbers from 1 on.
                claim: 0,
            },
        );
    }

    /// Takes in that the worker which was granted an attempt has not begun it, and does not hold it.
    pub(super) fn not_begun(&mut self, attempt: AttemptId) {
        let AttemptId { run, task, attempt } = attempt;
        self.land(run, task);
        let until = self.now;
        self.must(
            run,
            RecordKind::Snoozed {
                task,
                attempt,
                until,
            },
        );
    }

    /// Sends answers, beside the loop; one that does not arrive is asked for again, or not wanted any more.
    pub(super) fn answer(&self, answers: Vec<Answer>) {
        if answers.is_empty() {
            return;
        }
        let bus = Arc::clone(&self.shared.ports.bus);
        let send = async move {
            for answer in answers {
                answer.send(&*bus).await;
            }
        };
        let abort = self.shared.abort.clone();
        let send = async move { abort.run_until_cancelled(send).await };
        self.shared.tracker.spawn(send);
    }
}

impl Answer {
    pub(super) fn new(
        to: QueueName,
        correlation: Option<CorrelationId>,
        claim: u64,
        granted: bool,
    ) -> Self {
        let grant = Grant { claim, granted };
        Self {
            to,
            correlation,
            grant,
        }
    }

    /// Says whether it answers the same question.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.to == other.to && self.grant.claim == other.grant.claim
    }

    pub(super) async fn send(self, bus: &dyn MessageBus) {
        let Ok(envelope) = self.grant.to_envelope(self.correlation) else {
            return;
        };
        let to = Destination::Queue(self.to);
        if let Err(refused) = bus.publish(&to, envelope).await {
            tracing::debug!(%to, error = %refused.error(), "an answer to a claim was not taken");
        }
    }
}
