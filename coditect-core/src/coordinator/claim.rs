//! Attempts that workers have claimed: held without a delivery, living by heartbeats.
//!
//! Silence alone proves nothing: the owner itself may have been paused, or the bus away. So when a claim has run
//! out the owner sends itself an echo through the queue in which heartbeats come. If it is soon back, and none came
//! before it, the worker is dead; if it took long, the claims start anew.

use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{Delivery, Destination};
use coditect_dag::journal::RecordKind;
use coditect_dag::{RunId, TaskId, Timestamp};
use coditect_registry::{Candidate, Incarnation, Requirement, View};
use futures::FutureExt;

use super::active::{Flight, Place};
use super::commit::Deferred;
use super::owner::Owner;
use super::route::Routed;
use super::timer::Due;
use crate::wire::{AttemptId, Echo, Holding, Said};

/// Who holds an attempt, and until when that is believed.
pub(super) struct Claim {
    pub(super) incarnation: Arc<str>,
    pub(super) lease: Duration,
    pub(super) until: Timestamp,
    /// Whether a timer is set that asks after it.
    pub(super) is_timed: bool,
    /// Who may hold it, as far as they have been in the view.
    holders: Vec<Candidate>,
    /// Which claim of its process was granted, for one that is irreversible.
    pub(super) granted: Option<u64>,
    /// Where it was routed, if it was.
    pub(super) routed: Option<Box<Routed>>,
}

impl Claim {
    pub(super) fn new(incarnation: Arc<str>, lease: Duration, until: Timestamp) -> Self {
        Self {
            incarnation,
            lease,
            until,
            is_timed: false,
            holders: Vec::new(),
            granted: None,
            routed: None,
        }
    }

    /// Finds out who may hold it, if that is not known: those of the process who can do what is required.
    pub(super) fn find_holders(&mut self, view: &View, requirement: &Requirement) {
        if !self.holders.is_empty() || self.routed.is_some() {
            return;
        }
        let Ok(incarnation) = self.incarnation.parse::<Incarnation>() else {
            return;
        };
        let records = view.records();
        let there = records
            .iter()
            .filter(|record| record.incarnation() == incarnation && record.offers(requirement));
        let holders = there.filter_map(|record| view.candidate(&record.instance));
        self.holders.extend(holders);
    }

    /// Says whether whoever holds it was in the view, and has left or was evicted since.
    pub(super) fn is_lost(&self) -> bool {
        if let Some(routed) = &self.routed {
            return routed.is_lost();
        }
        let lost = |holder: &Candidate| holder.lost().now_or_never().is_some();
        !self.holders.is_empty() && self.holders.iter().all(lost)
    }
}

impl Owner {
    /// Takes in what a worker says of attempts that it holds.
    pub(super) fn heard(&mut self, said: Said, holding: &Holding, delivery: Delivery) {
        if let (Said::Claim, Some(claim)) = (said, holding.claim) {
            return self.asked_to_begin(claim, holding, delivery);
        }
        let mut mine = true;
        for attempt in &holding.attempts {
            mine &= self.heard_of(said, *attempt, holding);
        }
        self.deferred.push(match (mine, said) {
            // An owner that knows more than this one must not miss that nobody else will do it.
            (false, Said::Claim) => match holding.attempts.first() {
                Some(attempt) if !self.runs.contains_key(&attempt.run) => {
                    Deferred::AckIfSettled(vec![attempt.run], delivery)
                }
                _ => Deferred::GiveBack(delivery),
            },
            _ => Deferred::Ack(delivery),
        });
    }

    /// Takes in what is said of one attempt; says whether this owner can judge it.
    fn heard_of(&mut self, said: Said, attempt: AttemptId, holding: &Holding) -> bool {
        let AttemptId { run, task, .. } = attempt;
        let Some(active) = self.runs.get_mut(&run) else {
            return false;
        };
        let scheduler = active.machine.scheduler();
        let known = task.index() < scheduler.len();
        if known && attempt.attempt > scheduler.attempt(task) {
            return false;
        }
        if !known || !active.machine.is_current(task, attempt.attempt) {
            if said != Said::Release {
                // Whoever works on it does so for nobody.
                self.deferred.push(Deferred::StopRemote(attempt));
            }
            return true;
        }
        if let Some(holder) = active.machine.grantee(task, attempt.attempt)
            && said == Said::Release
        {
            // A copy that was given back without having been claimed says nothing of the one that was.
            let same = holder.incarnation == holding.incarnation && holder.claim == holding.claim;
            if same {
                self.not_begun(attempt);
            }
            return true;
        }
        let Some(flight) = active.flights.get_mut(&task) else {
            if said == Said::Heartbeat {
                self.heard_again(attempt, holding);
            }
            return true;
        };
        let until = self.now.saturating_add(holding.lease());
        let held = match &mut flight.place {
            // A former owner had handed it to the bus, and this one has a copy at work: the first to end counts.
            Place::Local(_) => return true,
            Place::Claimed(claim) => {
                let held = claim.incarnation == holding.incarnation;
                if held && said != Said::Release {
                    claim.until = claim.until.max(until);
                    claim.lease = holding.lease();
                    return true;
                }
                if claim.granted.is_some() || (said == Said::Heartbeat && claim.until > self.now) {
                    // Of two that hold it, whoever claimed it last is waited for.
                    return true;
                }
                held
            }
            Place::Instance(routed) => routed.is_at(&holding.incarnation),
            Place::Bus(_) => false,
        };
        match said {
            // The bus may have it or not: a claim that came late takes the place of one by whoever got it meanwhile.
            Said::Release if held => self.give_to_all(run, task),
            Said::Release => {}
            Said::Claim | Said::Heartbeat => {
                let incarnation = Arc::clone(&holding.incarnation);
                let claim = Claim::new(incarnation, holding.lease(), until);
                self.give_to_worker(run, attempt, claim);
            }
        }
        true
    }

    /// An attempt is held by a worker from now on, and no longer by the bus or by another.
    pub(super) fn give_to_worker(&mut self, run: RunId, attempt: AttemptId, claim: Claim) {
        let task = attempt.task;
        let Some(active) = self.runs.get_mut(&run) else {
            return;
        };
        let Some(flight) = active.flights.get_mut(&task) else {
            return;
        };
        let (until, incarnation) = (claim.until, Arc::clone(&claim.incarnation));
        let granted = claim.granted;
        let lease_ms = u64::try_from(claim.lease.as_millis()).unwrap_or(u64::MAX);
        let place = std::mem::replace(&mut flight.place, Place::Claimed(claim));
        let was_timed = matches!(&place, Place::Claimed(former) if former.is_timed);
        if let Place::Claimed(claim) = &mut flight.place {
            claim.is_timed = true;
        }
        if !was_timed {
            self.timers.push(until, run, Due::Claim(task));
        }
        if let Place::Claimed(claim) = &mut flight.place {
            match place {
                Place::Bus(_) => {
                    let tenant = Arc::clone(&active.tenant);
                    self.classes.get_mut(flight.class).landed(&tenant);
                }
                Place::Instance(routed) if routed.is_at(&claim.incarnation) => {
                    claim.routed = Some(routed);
                }
                _ => {}
            }
            let requirement = &self.classes.get(flight.class).requirement;
            claim.find_holders(&self.shared.view, requirement);
        }
        let attempt = attempt.attempt;
        let kind = match granted {
            Some(claim) => RecordKind::Granted {
                task,
                attempt,
                incarnation,
                lease_ms,
                claim,
            },
            None => RecordKind::Claimed {
                task,
                attempt,
                incarnation,
                lease_ms: Some(lease_ms),
            },
        };
        self.must(run, kind);
    }

    /// Asks, when a claim has run out, whether anything was heard of its worker that is not yet read.
    pub(super) fn claim_due(&mut self, run: RunId, task: TaskId) {
        let active = self.runs.get_mut(&run);
        let flight = active.and_then(|active| active.flights.get_mut(&task));
        let Some(Place::Claimed(claim)) = flight.map(|flight| &mut flight.place) else {
            return;
        };
        if claim.until > self.now {
            return self.timers.push(claim.until, run, Due::Claim(task));
        }
        // The echo sets it again for those who stay.
        claim.is_timed = false;
        if self.echo.is_none() {
            self.send_echo();
        }
    }

    /// Begins anew to wait for those who hold claims: what they said may be lost, and the echo with it.
    pub(super) fn hear_anew(&mut self) {
        self.echo = None;
        for (run, active) in &mut self.runs {
            for (task, flight) in &mut active.flights {
                let Place::Claimed(claim) = &mut flight.place else {
                    continue;
                };
                claim.until = claim.until.max(self.now.saturating_add(claim.lease));
                if !std::mem::replace(&mut claim.is_timed, true) {
                    self.timers.push(claim.until, *run, Due::Claim(*task));
                }
            }
        }
    }

    fn send_echo(&mut self) {
        let echo = Echo {
            token: self.lease.lock().token().get(),
            sent: self.now,
        };
        let Ok(envelope) = echo.to_envelope() else {
            return;
        };
        self.echo = Some(echo);
        self.outbox
            .push_notice(Destination::Queue(self.queue.clone()), envelope);
    }

    /// Takes in an echo: whoever was not heard of until it was sent, nor until it came back, is dead.
    pub(super) fn echoed(&mut self, echo: Echo) {
        if self.echo != Some(echo) {
            return;
        }
        self.echo = None;
        let took = self.now.saturating_since(echo.sent);
        let mut dead = Vec::new();
        let mut later = false;
        for (run, active) in &mut self.runs {
            for (task, flight) in &mut active.flights {
                let Place::Claimed(claim) = &mut flight.place else {
                    continue;
                };
                if claim.until <= self.now {
                    if took > claim.lease / 3 {
                        claim.until = self.now.saturating_add(claim.lease);
                    } else if claim.until <= echo.sent {
                        dead.push((*run, *task));
                        continue;
                    } else {
                        later = true;
                        continue;
                    }
                }
                if !claim.is_timed {
                    claim.is_timed = true;
                    self.timers.push(claim.until, *run, Due::Claim(*task));
                }
            }
        }
        for (run, task) in dead {
            self.claim_lost(run, task);
        }
        if later {
            self.send_echo();
        }
    }

    fn claim_lost(&mut self, run: RunId, task: TaskId) {
        let flight = self.runs.get(&run).and_then(|run| run.flights.get(&task));
        let Some(Flight {
            attempt,
            place: Place::Claimed(claim),
            ..
        }) = flight
        else {
            return;
        };
        let (attempt, lease) = (*attempt, claim.lease);
        tracing::warn!(%run, %task, worker = %claim.incarnation, "a worker fell silent that had claimed a task");
        let reason = format!("the worker that had claimed it was silent for {lease:?}").into();
        self.vanished(run, task, attempt, reason);
    }
}
