//! Committing a turn's records, and doing what had to wait for that.

use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{Delivery, Destination};
use coditect_dag::journal::RunJournal;
use coditect_dag::{Attempt, Class, RunId, TaskId};
use rustc_hash::FxHashSet;
use tokio_util::sync::CancellationToken;

use super::active::{ActiveRun, Place};
use super::classes::Classes;
use super::grant::Answer;
use super::owner::{Lost, Owner};
use super::publisher::Parcel;
use crate::failure::Failure;
use crate::wire::{self, AttemptId, Control, Outcome, TaskMessage};
use crate::worker::{Ended, LocalJob, Slot};

/// How long a turn waits before it tries a commit again that the store could not take.
const RETRY_COMMIT: Duration = Duration::from_millis(100);

/// How many capabilities an owner without runs keeps in mind.
const MAX_IDLE_CLASSES: usize = 256;
/// How many attempts one notice stops.
const STOPPED_AT_ONCE: usize = 1000;
/// When an outcome comes again that was given back.
const GIVE_BACK: Duration = Duration::from_secs(1);

/// What is done once the records that it stands on are committed.
pub(super) enum Deferred {
    Launch {
        run: RunId,
        task: TaskId,
        attempt: Attempt,
        token: CancellationToken,
        slot: Slot,
    },
    Publish {
        run: RunId,
        task: TaskId,
        attempt: Attempt,
    },
    StopLocal(CancellationToken),
    StopRemote(AttemptId),
    Ack(Delivery),
    /// What is for runs that this owner does not know: done with if they have ended, somebody else's
    /// otherwise.
    AckIfSettled(Vec<RunId>, Delivery),
    /// An outcome that is not this owner's to judge.
    GiveBack(Delivery),
    Reject(Delivery, String),
    /// Says to whoever has claimed an attempt whether it may begin.
    Answer(Answer),
    /// A claim of a run that this owner does not know: refused if the run has ended, somebody else's otherwise.
    RefuseIfSettled(RunId, Answer, Delivery),
    /// The run has ended: its memory is given back.
    Forget(RunId),
}

impl Owner {
    /// Commits the records of this turn and does what was waiting for them.
    pub(super) async fn commit(&mut self) -> Result<(), Lost> {
        while !self.batch.is_empty() {
            let lease = self.lease.lock().clone();
            let append = self.shared.ports.journal.append(&lease, &mut self.batch);
            let error = match self.shared.asked_of_store(append).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => Some(error),
                Err(Lost) => None,
            };
            tracing::warn!(
                partition = %lease.partition(),
                error = error.as_ref().map(|error| error as &dyn std::error::Error),
                "the journal did not take a batch"
            );
            let may_take_it = error.is_some_and(|error| error.is_retryable());
            if !may_take_it || lease.is_expired() {
                return Err(Lost);
            }
            let abort = &self.shared.abort;
            let pause = tokio::time::sleep(RETRY_COMMIT);
            if abort.run_until_cancelled(pause).await.is_none() {
                // What had to wait for it is not done: the next owner finds it undone.
                tracing::error!(
                    partition = %lease.partition(),
                    records = self.batch.len(),
                    "the journal takes nothing, and it is time to end; the partition's next owner decides anew"
                );
                return Err(Lost);
            }
        }
        let mut deferred = std::mem::take(&mut self.deferred);
        let (mut stop, mut answers) = (Vec::new(), Vec::new());
        for one in deferred.drain(..) {
            match one {
                Deferred::Launch {
                    run,
                    task,
                    attempt,
                    token,
                    slot,
                } => self.launch(run, task, attempt, token, slot),
                Deferred::Publish { run, task, attempt } => {
                    self.publish(run, task, attempt);
                }
                Deferred::StopLocal(token) => token.cancel(),
                Deferred::StopRemote(attempt) => stop.push(attempt),
                // A delivery that was lost meanwhile comes again and is dropped as late.
                Deferred::Ack(delivery) if !self.lease.lock().is_expired() => {
                    drop(delivery.ack().await);
                }
                Deferred::Ack(delivery) | Deferred::GiveBack(delivery) => {
                    drop(delivery.nack(GIVE_BACK).await);
                }
                Deferred::AckIfSettled(runs, delivery) => {
                    let journal = Arc::clone(&self.shared.ports.journal);
                    let asked = ack_if_settled(&*journal, &runs, delivery);
                    // Dropped, it comes again.
                    let _ = self.shared.asked_of_store(asked).await;
                }
                Deferred::Answer(answer) => answers.push(answer),
                Deferred::RefuseIfSettled(run, answer, delivery) => {
                    let journal = Arc::clone(&self.shared.ports.journal);
                    let runs = [run];
                    let asked = ack_if_settled(&*journal, &runs, delivery);
                    if let Ok(true) = self.shared.asked_of_store(asked).await {
                        answers.push(answer);
                    }
                }
                Deferred::Reject(delivery, reason) => drop(delivery.reject(reason).await),
                Deferred::Forget(run) => self.forget(run),
            }
        }
        self.deferred = deferred;
        self.answer(answers);
        self.stop_remote(stop);
        self.outbox.flush()
    }

    /// Gives back what was kept for a run that has ended.
    fn forget(&mut self, run: RunId) {
        let ended = |active: &ActiveRun| active.machine.is_settled();
        if !self.runs.get(&run).is_some_and(ended) {
            return;
        }
        if let Some(active) = self.runs.remove(&run) {
            for (class, tickets) in &active.queued {
                let ready = &mut self.classes.get_mut(*class).ready;
                for (level, ticket) in tickets.iter().enumerate().filter(|(_, at)| **at != 0) {
                    ready.remove(level, &active.tenant, *ticket);
                }
                if self.gates.are_any() {
                    let capability = self.classes.get(*class).requirement.name.as_str();
                    let groups = self.gates.groups(capability, &active.tenant);
                    self.gates.touch(&groups);
                }
            }
        }
        self.timers
            .forget_ended(|run| self.runs.contains_key(&run) || self.stuck.contains(&run));
        if self.runs.is_empty() && self.classes.len() > MAX_IDLE_CLASSES {
            // Their numbers mean something to runs only.
            self.classes = Classes::default();
            self.parked.clear();
        }
        if self.runs.is_empty() {
            self.let_classes_go();
        }
    }

    /// Follows no longer who offers what no run of this partition calls.
    pub(super) fn let_classes_go(&mut self) {
        if self.shared.listeners.is_none() {
            return;
        }
        let called = self.runs.values().flat_map(|run| run.machine.classes());
        let called: FxHashSet<Class> = called.collect();
        self.classes.let_go(|class| called.contains(&class));
    }

    fn launch(
        &mut self,
        run: RunId,
        task: TaskId,
        attempt: Attempt,
        token: CancellationToken,
        slot: Slot,
    ) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        let machine = &active.machine;
        let input = match machine.input(task, self.shared.ports.settings.max_payload) {
            Ok(input) => input,
            Err(failure) => return self.refuse(run, task, attempt, failure),
        };
        let by = slot.hosted().performer(machine.requirement(task));
        self.shared.worker.launch(LocalJob {
            by,
            scope: active.scope.clone(),
            run,
            task,
            attempt,
            times_opened: machine.times_opened(task),
            owner: self.queue.clone(),
            key: Arc::clone(&machine.task(task).key),
            input,
            siblings: machine.siblings(task),
            timeout: machine.settings(task).timeout_span(),
            deadline: machine
                .deadline(task)
                .into_iter()
                .chain(active.deadline)
                .min(),
            token,
            slot,
            outcomes: self.outcomes.clone(),
            is_granted: machine.is_granted(task, attempt),
        });
    }

    /// Hands a task to the publisher.
    fn publish(&mut self, run: RunId, task: TaskId, attempt: Attempt) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        let machine = &active.machine;
        let (queue, returns) = match active.flights.get(&task).map(|flight| &flight.place) {
            Some(Place::Bus(queue)) => (queue.clone(), false),
            Some(Place::Instance(routed)) => (routed.queue.clone(), true),
            // It was stopped in the turn that dispatched it.
            _ => return,
        };
        let input = match machine.input(task, self.shared.ports.settings.max_payload) {
            Ok(input) => input,
            Err(failure) => return self.refuse(run, task, attempt, failure),
        };
        let class = self.classes.get(machine.class(task));
        let fields = active.scope.fields();
        let settings = machine.settings(task);
        let message = TaskMessage {
            run,
            task,
            attempt,
            times_opened: machine.times_opened(task),
            outcomes: self.queue.clone(),
            key: Arc::clone(&machine.task(task).key),
            tenant: Arc::clone(&active.tenant),
            requirement: class.requirement.clone(),
            priority: machine.priority(task),
            timeout: settings.timeout_span(),
            deadline: machine
                .deadline(task)
                .into_iter()
                .chain(active.deadline)
                .min(),
            depth: fields.depth,
            avoid: self.avoided(run, task, &class.requirement),
            agent: class.agent.clone(),
            occasion: fields.occasion.clone(),
            effect: settings.effect,
            trace: fields.trace.clone(),
            input,
        };
        self.outbox.push(Parcel {
            to: Destination::Queue(queue),
            envelope: message.into_envelope(),
            returns,
        });
    }

    /// Ends an attempt that cannot be handed out, in the next turn.
    fn refuse(&mut self, run: RunId, task: TaskId, attempt: Attempt, failure: Failure) {
        self.refused.push(Outcome {
            run,
            task,
            attempt,
            by: None,
            ended: Ended::failed(failure),
        });
        self.wake.notify_one();
    }

    /// Tells all that attempts are to stop. What the bus does not take for now is kept, and said once however often it comes.
    fn stop_remote(&mut self, stop: Vec<AttemptId>) {
        self.stopping.extend(stop);
        let Ok(to) = wire::control_fanout().map(Destination::Fanout) else {
            return;
        };
        let token = self.lease.lock().token().get();
        while !self.stopping.is_empty() && self.outbox.takes_notices(&to) {
            let stop: Vec<_> = self
                .stopping
                .iter()
                .take(STOPPED_AT_ONCE)
                .copied()
                .collect();
            for attempt in &stop {
                self.stopping.remove(attempt);
            }
            let owner = self.queue.clone();
            if let Ok(envelope) = (Control { owner, token, stop }).to_envelope() {
                self.outbox.push_notice(to.clone(), envelope);
            }
        }
    }
}

/// Acknowledges what is for runs that have ended, and gives what is for others back; says whether they have.
async fn ack_if_settled(journal: &dyn RunJournal, runs: &[RunId], delivery: Delivery) -> bool {
    let mut ended = true;
    for run in runs {
        ended &= match journal.run(*run).await {
            Ok(summary) => summary.is_none_or(|summary| summary.state.is_settled()),
            Err(_) => false,
        };
    }
    // A delivery that was lost meanwhile comes again.
    if ended {
        drop(delivery.ack().await);
    } else {
        drop(delivery.nack(GIVE_BACK).await);
    }
    ended
}
