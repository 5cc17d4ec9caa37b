//! The owner of one partition: a loop that takes in what has happened, decides, commits and acts.

use std::sync::Arc;

use bytes::Bytes;
use coditect_bus::{Delivery, PriorityTurns, QueueName};
use coditect_dag::journal::{Batch, PartitionLease, Seq, Watch};
use coditect_dag::{Attempt, RunId, TaskId, Timestamp};
use futures::FutureExt;
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::active::ActiveRun;
use super::anew::Notices;
use super::budget::Parked;
use super::classes::Classes;
use super::clerk::News;
use super::commit::Deferred;
use super::gates::Gates;
use super::hearing::{Heard, Hearing};
use super::machine::Effect;
use super::publisher::Outbox;
use super::timer::Timers;
use super::{Shared, sweep};
use crate::failure::Failure;
use crate::run::Backlog;
use crate::wire::{Absence, AttemptId, Echo, Holding, KIND, Outcome, Said, Unreadable, Word};

/// How many outcomes one turn takes in, so that each is committed soon.
pub(super) const TURN: usize = 1024;

/// Owns one partition.
pub(super) struct Owner {
    pub(super) shared: Arc<Shared>,
    /// Where workers of other processes tell outcomes.
    pub(super) queue: QueueName,
    /// Renewed by a task of its own.
    pub(super) lease: Arc<Mutex<PartitionLease>>,
    /// Fires when the lease is lost.
    pub(super) lost: CancellationToken,
    pub(super) runs: FxHashMap<RunId, ActiveRun>,
    /// How many of them wait, for whoever lets more in.
    pub(super) backlog: Backlog,
    /// Open runs that this process cannot go on with.
    pub(super) stuck: FxHashSet<RunId>,
    /// Runs that are damaged, or written by a newer release: they are left as they are.
    pub(super) unreadable: FxHashSet<RunId>,
    /// Attempts that could not be handed out.
    pub(super) refused: Vec<Outcome>,
    pub(super) classes: Classes,
    pub(super) timers: Timers,
    pub(super) parked: Parked,
    /// When something that is held is tried.
    pub(super) held_until: Option<Timestamp>,
    /// Limits over the whole deployment.
    pub(super) gates: Gates,
    pub(super) to_told: mpsc::Sender<News>,
    pub(super) turns: PriorityTurns,
    pub(super) batch: Batch,
    /// What is done once the batch is committed.
    pub(super) deferred: Vec<Deferred>,
    pub(super) effects: Vec<Effect>,
    pub(super) now: Timestamp,
    pub(super) outbox: Outbox,
    /// What workers are yet to be told to stop.
    pub(super) stopping: FxHashSet<AttemptId>,
    pub(super) outcomes: mpsc::Sender<Outcome>,
    pub(super) to_finished: mpsc::Sender<Finished>,
    /// Notified when a slot of this process is free, or there is room in the outbox.
    pub(super) wake: Arc<Notify>,
    pub(super) inbox_after: Seq,
    pub(super) next_sweep: Timestamp,
    /// Looks whether child runs have outlived their parents.
    pub(super) looking: Option<JoinHandle<()>>,
    /// Up to which attempt of a queue the last sweep has asked, where there were more.
    pub(super) swept: FxHashMap<QueueName, sweep::Suspect>,
    /// What this owner has sent itself and waits for.
    pub(super) echo: Option<Echo>,
    /// Fires when the partition is to be handed over.
    pub(super) leave: CancellationToken,
    /// Since when it is being handed over, from which on nothing is dispatched.
    pub(super) leaving: Option<Timestamp>,
    pub(super) sources: Sources,
}

/// Where things that have happened come from.
pub(super) struct Sources {
    pub(super) local: mpsc::Receiver<Outcome>,
    pub(super) bus: Hearing,
    pub(super) inbox: Watch,
    pub(super) finished: mpsc::Receiver<Finished>,
    /// Attempts whose instance could not be reached.
    pub(super) returned: mpsc::Receiver<AttemptId>,
    /// What the store has told of shares of limits.
    pub(super) shares: mpsc::Receiver<News>,
    /// Told of queues that were found or left, where they are followed.
    pub(super) followed: Option<watch::Receiver<()>>,
    /// Told of queues that lost what they had.
    pub(super) anew: Notices,
}

/// What comes through the partition's queue.
enum Read {
    Outcomes(Vec<Result<Outcome, Box<Unreadable>>>),
    Holding(Said, Holding),
    Absence(Word, Absence),
    Echo(Echo),
}

/// What an aggregator has made of a scope.
pub(super) struct Finished {
    pub(super) run: RunId,
    pub(super) scope: Option<TaskId>,
    /// The attempt of the scope's task, none for the run's own scope.
    pub(super) attempt: Attempt,
    /// How often the run had been opened again.
    pub(super) opening: u32,
    pub(super) result: Result<Bytes, Failure>,
}

/// The partition belongs to somebody else, or cannot be written to.
#[derive(Debug)]
pub(super) struct Lost;

impl Owner {
    /// Carries the partition's runs forward until it is drained or lost.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let view = shared.view.clone();
        let mut local = Vec::with_capacity(TURN);
        let mut changed = Box::pin(view.changed());
        // What changed while the partition was taken over was not waited for.
        self.look();
        loop {
            let draining = shared.drain.is_cancelled();
            let ended = shared.abort.is_cancelled() || self.lost.is_cancelled();
            if ended {
                break;
            }
            let timer = self.next_wake().map(|at| shared.ports.clock.instant(at));
            let mut from_bus: Option<Heard> = None;
            let (mut finished, mut returned, mut shares) = (None, None, None);
            let (mut inbox, mut look, mut woken, mut quiet) = (false, false, false, false);
            // What is rare comes first, and a turn takes in what else is there: none waits for what never ends.
            tokio::select! {
                biased;
                () = shared.abort.cancelled() => break,
                () = self.lost.cancelled() => break,
                () = shared.drain.cancelled(), if !draining => {}
                () = self.leave.cancelled(), if self.leaving.is_none() => {}
                () = &mut changed => look = true,
                () = told(&mut self.sources.followed) => look = true,
                (queue, gone) = self.sources.anew.next() => self.publish_again(queue.as_ref(), gone),
                () = self.sources.inbox.changed() => inbox = true,
                one = self.sources.finished.recv() => finished = one,
                Some(one) = self.sources.returned.recv() => returned = Some(one),
                one = self.sources.shares.recv() => shares = one,
                () = self.wake.notified() => woken = true,
                heard = self.sources.bus.next() => from_bus = Some(heard),
                _ = self.sources.local.recv_many(&mut local, TURN) => {}
                () = shared.worker.attempts_ended(), if draining && self.leaving.is_none() => quiet = true,
                () = sleep_until(timer) => {}
            }
            self.now = shared.ports.clock.now();
            self.follow_limits();
            while let Some(news) = shares {
                self.told_of_shares(news);
                shares = self.sources.shares.try_recv().ok();
            }
            if look {
                changed = Box::pin(view.changed());
                self.look();
            }
            while local.len() < TURN
                && let Ok(outcome) = self.sources.local.try_recv()
            {
                local.push(outcome);
            }
            for outcome in local.drain(..).chain(std::mem::take(&mut self.refused)) {
                self.outcome(outcome, false);
            }
            inbox |= self.sources.inbox.changed().now_or_never().is_some();
            finished = finished.or_else(|| self.sources.finished.try_recv().ok());
            returned = returned.or_else(|| self.sources.returned.try_recv().ok());
            from_bus = from_bus.or_else(|| self.sources.bus.try_next().map(Heard::Delivery));
            match from_bus {
                Some(Heard::Delivery(delivery)) => self.deliveries(delivery),
                Some(Heard::Anew) => self.missed(),
                Some(Heard::Closed) => break,
                None => {}
            }
            if let Some(finished) = finished {
                self.finished(finished);
            }
            while let Some(attempt) = returned {
                self.returned(attempt);
                returned = self.sources.returned.try_recv().ok();
            }
            if inbox {
                match shared.asked_of_store(self.read_inbox()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(
                            error,
                            "the partition's inbox cannot be read; giving it back"
                        );
                        break;
                    }
                    Err(Lost) => break,
                }
            }
            self.due();
            self.sweep();
            self.let_them_go_on();
            if self.leave.is_cancelled() {
                self.prepare_to_leave();
            } else {
                self.dispatch();
            }
            if woken {
                self.pass_wake_on();
            }
            let progressed = !self.batch.is_empty();
            if self.commit().await.is_err() {
                break;
            }
            self.settle_shares();
            self.backlog.set(|| self.classes.waiting());
            if quiet && !progressed {
                if !shared.hands_over {
                    break;
                }
                self.leave.cancel();
            }
            if let Some(how) = self.may_leave() {
                return self.hand_over(how).await;
            }
        }
        self.give_back().await;
    }

    /// Takes in a delivery and those that wait behind it.
    fn deliveries(&mut self, first: Delivery) {
        let mut next = Some(first);
        let mut count = 0;
        while let Some(delivery) = next {
            self.delivery(delivery);
            count += 1;
            next = if count < TURN {
                self.sources.bus.try_next()
            } else {
                None
            };
        }
    }

    /// Takes in what a worker tells, or what this owner told itself.
    fn delivery(&mut self, delivery: Delivery) {
        let envelope = delivery.envelope();
        let kind = envelope.header(KIND);
        let said = Said::ALL.into_iter().find(|said| kind == Some(said.kind()));
        let word = Word::ALL.into_iter().find(|word| kind == Some(word.kind()));
        let read = match (said, word) {
            (None, Some(word)) => {
                Absence::read(envelope).map(|absence| Read::Absence(word, absence))
            }
            (Some(said), _) => Holding::read(envelope).map(|holding| Read::Holding(said, holding)),
            _ if kind == Some(Echo::KIND) => Echo::read(envelope).map(Read::Echo),
            _ if kind == Some(Outcome::SEVERAL) => {
                Outcome::read_several(envelope).map(Read::Outcomes)
            }
            _ => Ok(Read::Outcomes(vec![Outcome::read(envelope)])),
        };
        match read {
            Ok(Read::Outcomes(outcomes)) => self.outcomes(outcomes, delivery),
            Ok(Read::Holding(said, holding)) => self.heard(said, &holding, delivery),
            Ok(Read::Absence(word, absence)) => self.heard_absence(word, &absence, delivery),
            Ok(Read::Echo(echo)) => {
                self.echoed(echo);
                self.deferred.push(Deferred::Ack(delivery));
            }
            Err(error) => {
                tracing::warn!(kind, %error, "what a worker told cannot be read and was set aside");
                self.deferred
                    .push(Deferred::Reject(delivery, error.with_causes()));
            }
        }
    }

    /// When the loop has to turn even if nothing happens.
    fn next_wake(&self) -> Option<Timestamp> {
        let sweeps = |run: &ActiveRun| !run.flights.is_empty() || run.parent.is_some();
        let sweeps = self.runs.values().any(sweeps);
        let sweep = sweeps.then_some(self.next_sweep);
        let times = self.timers.next().into_iter().chain(sweep);
        let times = times.chain(self.leaving.map(|since| self.leaves_by(since)));
        times
            .chain(self.parked.next)
            .chain(self.held_until)
            .chain(self.gates.next())
            .min()
    }
}

/// Waits until queues were found or left; for ever where none are followed.
async fn told(followed: &mut Option<watch::Receiver<()>>) {
    let told = match followed {
        Some(followed) => followed.changed().await.is_ok(),
        None => false,
    };
    if !told {
        std::future::pending().await
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
