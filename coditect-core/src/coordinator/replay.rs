//! Runs built from what the journal keeps: new ones, and those of an owner that has gone.

use std::sync::Arc;
use std::time::Duration;

use coditect_dag::journal::{
    ErrorKind as JournalErrorKind, RecordKind, RunLog, Seq, Settlement, Submission,
};
use coditect_dag::{Action, Attempt, RunId, TaskId, TaskState, Timestamp};
use rustc_hash::FxHashMap;
use serde::de::IgnoredAny;

use super::active::{ActiveRun, Flight, Place};
use super::claim::Claim;
use super::commit::Deferred;
use super::machine::{Effect, RunMachine};
use super::owner::Owner;
use super::route::Way;
use super::timer::Due;
use crate::context::{RunScope, ScopeFields};
use crate::error::Error;
use crate::failure::{Failure, FailureKind};
use crate::plan::PreparedPlan;
use crate::run::RunSpec;
use crate::worker::Offer;

impl Owner {
    /// Builds a run as it was submitted.
    pub(super) fn build(&mut self, submission: &Submission) -> Result<ActiveRun, Failure> {
        let invalid = |error: &dyn std::error::Error| {
            let mut failure = Failure::new(FailureKind::InvalidPlan, error.to_string());
            failure
                .chain
                .extend(error.source().map(ToString::to_string));
            failure
        };
        let run = submission.run;
        let (plan, terms) = match self.shared.prepared.take(run) {
            Some(kept) => kept,
            None => {
                let spec: RunSpec =
                    serde_json::from_slice(&submission.spec).map_err(|error| invalid(&error))?;
                let plan = PreparedPlan::new(spec.plan).map_err(|error| invalid(&error))?;
                (Arc::new(plan), spec.terms)
            }
        };
        let shared = &self.shared;
        let classes = &mut self.classes;
        let mut intern =
            |requirement: &_, agent: Option<&_>| classes.intern(requirement, agent, shared);
        let machine = RunMachine::new(plan, &terms, &mut intern, Some(&shared.catalogue))?;
        let (depth, deadline) = (terms.depth, terms.deadline);
        let scope = RunScope::new(ScopeFields {
            run: Some(run),
            tenant: Arc::clone(&submission.tenant),
            trace: terms.trace(),
            depth,
            occasion: terms.occasion.clone(),
        });
        let mut active = ActiveRun::new(
            machine,
            scope,
            Arc::clone(&submission.tenant),
            deadline,
            self.lost.child_token(),
        );
        active.max_concurrency = terms.max_concurrency;
        active.machine.schedule(submission.start_at);
        active.parent = terms.parent.map(|parent| parent.run);
        Ok(active)
    }

    /// Rebuilds every open run of the partition and goes on with it.
    pub(super) async fn rebuild(&mut self) -> Result<(), Error> {
        let lease = self.lease.lock().clone();
        let journal = Arc::clone(&self.shared.ports.journal);
        for run in journal.open_runs(&lease).await? {
            if let Some(log) = self.read(run).await? {
                self.go_on(&log, lease.follows_hand_over());
            }
        }
        let (partition, runs) = (lease.partition(), self.runs.len());
        let handed_over = lease.follows_hand_over();
        tracing::info!(%partition, runs, handed_over, "the partition was taken over");
        Ok(())
    }

    /// Loads a run, replays its records, and does again whatever may not have been done. With `last`, only if that is the
    /// position of its last record.
    pub(super) async fn restore(&mut self, run: RunId, last: Option<Seq>) -> Result<(), Error> {
        let Some(log) = self.read(run).await? else {
            return Ok(());
        };
        if last.is_none_or(|last| last == log.last()) {
            self.go_on(&log, false);
        }
        Ok(())
    }

    /// Reads a run, unless there is none, or none that can be read: that one holds up no others.
    async fn read(&mut self, run: RunId) -> Result<Option<RunLog>, Error> {
        match self.shared.ports.journal.load(run).await {
            Ok(log) => {
                self.unreadable.remove(&run);
                Ok(log)
            }
            Err(error) if error.kind() == JournalErrorKind::Corrupt => {
                let error = Error::from(error).with_causes();
                tracing::error!(%run, error, "the run cannot be read; it is left as it is, and the others go on");
                self.unreadable.insert(run);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Replays a run's records. What is open is handed out again, but for what the former owner has handed over as
    /// handed out.
    fn go_on(&mut self, log: &RunLog, handed_over: bool) {
        let mut active = match self.build(&log.submission) {
            Ok(active) => active,
            Err(failure) => return self.set_aside(log, &failure),
        };
        let run = log.submission.run;
        let shared = Arc::clone(&self.shared);
        let classes = &mut self.classes;
        let mut intern =
            |requirement: &_, agent: Option<&_>| classes.intern(requirement, agent, &shared);
        let mut open = Vec::new();
        let mut effects = Vec::new();
        for record in &log.tail {
            let ended = active.machine.is_settled();
            let applied =
                active
                    .machine
                    .apply(record, &mut intern, Some(&shared.catalogue), &mut effects);
            if let Err(failure) = applied {
                return self.set_aside(log, &failure);
            }
            if ended && !active.machine.is_settled() {
                // What scopes had come to was forgotten when the run was opened again.
                open.clear();
            }
            open.extend(effects.drain(..).filter(concludes));
        }
        let dispatched = match handed_over {
            true => last_dispatched(log),
            false => FxHashMap::default(),
        };
        tracing::info!(%run, records = log.tail.len(), "going on with a run from the journal");
        let deadlines = active.machine.all_deadlines();
        active.deadline = active.machine.run_deadline();
        let deadline = active.deadline;
        let settled = active.machine.is_settled();
        let starts_at = active.machine.starts_at();
        let backoffs: Vec<_> = active
            .machine
            .tasks_in(TaskState::Backoff)
            .filter_map(|task| active.machine.scheduler().wake_at(task))
            .collect();
        let ready: Vec<_> = active.machine.tasks_in(TaskState::Ready).collect();
        let running: Vec<_> = active.machine.open_attempts().collect();
        let waiting = active.machine.waiting();
        let parked = active.machine.all_parked();
        self.runs.insert(run, active);
        if settled {
            return;
        }
        for (task, at) in deadlines {
            self.timers.push(at, run, Due::TaskDeadline(task));
        }
        if let Some(at) = deadline {
            self.timers.push(at, run, Due::RunDeadline);
        }
        if let Some(at) = starts_at {
            self.timers.push(at, run, Due::Start);
        }
        for at in backoffs {
            self.timers.push(at, run, Due::Backoff);
        }
        for task in ready {
            self.ready(run, task);
        }
        for (task, attempt) in running {
            self.resume(run, task, attempt, dispatched.get(&task));
        }
        for task in waiting {
            self.time_wait(run, task);
            self.meet(run, task);
        }
        for task in parked {
            self.time_parking(run, task);
            self.rule(run, task);
        }
        for effect in open {
            match effect {
                Effect::Act(Action::ScopeSettled { task, .. }) => {
                    self.conclude_open(run, Some(task))
                }
                Effect::Enough(scope) => self.conclude_open(run, scope),
                Effect::Act(_) => self.run_settled(run),
            }
        }
    }

    /// Leaves a run to an owner that can go on with it: this process lacks an aggregator, say. It can be
    /// cancelled meanwhile, its deadline holds, and what comes for it is given back.
    fn set_aside(&mut self, log: &RunLog, failure: &Failure) {
        let (submission, run) = (&log.submission, log.submission.run);
        tracing::error!(%run, %failure, "this process cannot go on with the run");
        let mut ends = log.tail.iter().rev().map(|record| &record.kind);
        let last = ends.find(|kind| kind.reopens() || matches!(kind, RecordKind::Settled(_)));
        if last.is_some_and(|kind| !kind.reopens()) {
            // It has ended, and stays so.
            return;
        }
        let terms: Result<RunSpec<IgnoredAny>, _> = serde_json::from_slice(&submission.spec);
        let deadline = terms.ok().and_then(|spec| spec.terms.deadline);
        if let Some(deadline) = deadline {
            self.timers.push(deadline, run, Due::RunDeadline);
        }
        self.stuck.insert(run);
    }

    /// Ends a run that was set aside.
    pub(super) fn settle_stuck(&mut self, run: RunId, settlement: Settlement) {
        self.stuck.remove(&run);
        self.batch
            .push(run, RecordKind::Settled(settlement).at(self.now));
    }

    /// Hands an attempt out again that was under way when its owner went: the same attempt under the
    /// same message id, so that what still runs of it and what comes now are one. Of what was handed over
    /// it is known where it went, and it is left there.
    fn resume(&mut self, run: RunId, task: TaskId, attempt: Attempt, went: Option<&Went>) {
        let Some(active) = self.runs.get_mut(&run) else {
            return;
        };
        let class = active.machine.class(task);
        if let Some(holder) = active.machine.holder(task, attempt) {
            // It begins to be silent now: what it said to the former owner, that owner has read.
            let (incarnation, lease_ms) = (&holder.incarnation, holder.lease_ms);
            let usual = self.shared.ports.settings.agent_lease;
            let lease = lease_ms.map_or(usual, Duration::from_millis);
            let until = self.now.saturating_add(lease);
            let mut claim = Claim::new(Arc::clone(incarnation), lease, until);
            claim.is_timed = true;
            claim.granted = holder.claim;
            let requirement = &self.classes.get(class).requirement;
            claim.find_holders(&self.shared.view, requirement);
            let flight = Flight {
                attempt,
                class,
                place: Place::Claimed(claim),
                since: self.now,
                is_recorded: true,
                probe: None,
            };
            active.flights.insert(task, flight);
            self.took_off(run, class);
            return self.timers.push(until, run, Due::Claim(task));
        }
        let state = self.classes.get_mut(class);
        let routes = state.routes(self.shared.routes.as_ref());
        let left = went.and_then(|went| {
            let place = match (routes, &went.to) {
                (Some(routes), Some(to)) => {
                    let found = routes.find(&self.shared.view, &state.requirement, to);
                    Place::Instance(found?)
                }
                _ => Place::Bus(state.any_queue()?),
            };
            Some((place, went.at))
        });
        if let Some((place, since)) = left {
            if matches!(place, Place::Bus(_)) {
                state.ready.departed(&active.tenant);
            }
            let flight = Flight {
                attempt,
                class,
                place,
                since,
                is_recorded: true,
                probe: None,
            };
            active.flights.insert(task, flight);
            return self.took_off(run, class);
        }
        let is_recorded = routes.is_none();
        let local = state.local.iter().find_map(Offer::try_slot);
        let local = local.filter(|_| self.shared.stays_local());
        let irreversible = local
            .as_ref()
            .is_some_and(|slot| self.is_irreversible(run, task, slot));
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        let (place, deferred) = match local {
            Some(slot) => {
                let token = self.token(irreversible);
                let deferred = Deferred::Launch {
                    run,
                    task,
                    attempt,
                    token: token.clone(),
                    slot,
                };
                (Place::Local(token), deferred)
            }
            None => {
                let state = self.classes.get_mut(class);
                let publish = Deferred::Publish { run, task, attempt };
                match (self.shared.way(state), state.any_queue()) {
                    (Some(Way::Instance(routed)), _) => (Place::Instance(routed), publish),
                    (_, Some(queue)) => {
                        state.ready.departed(&active.tenant);
                        (Place::Bus(queue), publish)
                    }
                    (_, None) => return,
                }
            }
        };
        let flight = Flight {
            attempt,
            class,
            place,
            since: self.now,
            is_recorded,
            probe: None,
        };
        if let Some(active) = self.runs.get_mut(&run) {
            active.flights.insert(task, flight);
        }
        self.took_off(run, class);
        self.deferred.push(deferred);
        if irreversible {
            self.grant_here(run, task, attempt);
        }
    }

    /// Concludes a scope whose result had not been committed.
    fn conclude_open(&mut self, run: RunId, scope: Option<TaskId>) {
        let open = self.runs.get(&run).is_some_and(|active| match scope {
            Some(task) => {
                active.machine.scheduler().state(task) == Some(TaskState::Running)
                    && active.machine.scheduler().is_expanded(task)
            }
            None => !active.machine.is_settled(),
        });
        if open {
            self.conclude(run, scope);
        }
    }
}

/// When a task was handed out, and to which process if it was to one.
struct Went {
    at: Timestamp,
    to: Option<Arc<str>>,
}

/// Where each task was last handed to.
fn last_dispatched(log: &RunLog) -> FxHashMap<TaskId, Went> {
    let dispatched = log.tail.iter().filter_map(|record| match &record.kind {
        RecordKind::Dispatched {
            task, incarnation, ..
        } => {
            let to = incarnation.clone();
            Some((*task, Went { at: record.at, to }))
        }
        _ => None,
    });
    dispatched.collect()
}

/// Says whether an owner asks, after this effect, what a scope has come to.
fn concludes(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Act(Action::RunSettled { .. } | Action::ScopeSettled { .. }) | Effect::Enough(_)
    )
}
