//! How an owner leaves its partition: in order, so that the next one only has to go on, or in need.

use std::sync::Arc;

use coditect_dag::Timestamp;
use coditect_dag::journal::{PartitionLease, RecordKind};

use super::Shared;
use super::active::{ActiveRun, Flight, Place};
use super::owner::Owner;
use crate::wire::AttemptId;

/// What the next owner finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Every open attempt was handed out, and the journal says where to.
    InOrder,
    /// It does not, and they are handed out again.
    InNeed,
}

impl Owner {
    /// Dispatches no more, and brings what has to be on the bus on its way there.
    pub(super) fn prepare_to_leave(&mut self) {
        if self.leaving.is_none() {
            self.leaving = Some(self.now);
            self.outbox.wake_when_idle();
        }
        for (queue, gone) in self.sources.anew.take() {
            self.publish_again(queue.as_ref(), gone);
        }
    }

    /// When it is waited for no longer: a bus that takes nothing keeps no partition from being left.
    pub(super) fn leaves_by(&self, since: Timestamp) -> Timestamp {
        since.saturating_add(self.shared.ports.settings.partition_lease)
    }

    /// Says whether the partition can be left now, and how.
    pub(super) fn may_leave(&mut self) -> Option<Left> {
        let since = self.leaving?;
        let late = self.now >= self.leaves_by(since);
        // In this order: what the publisher could not deliver is returned before it is idle.
        let is_settled = self.outbox.is_idle()
            && self.sources.returned.is_empty()
            && self.sources.anew.is_quiet()
            && self.refused.is_empty()
            && self.stopping.is_empty();
        if is_settled && self.is_all_recorded() {
            return Some(Left::InOrder);
        }
        // What is on the bus can be given up at once when the process is to end.
        let hurries = is_settled && self.shared.drain.is_cancelled();
        (late || hurries).then_some(Left::InNeed)
    }

    /// Says whether the journal has all that the next owner needs to know of what was handed out.
    fn is_all_recorded(&self) -> bool {
        let is_recorded = |flight: &Flight| match &flight.place {
            Place::Bus(_) | Place::Instance(_) => {
                let class = self.classes.get(flight.class);
                let routes = class.routes(self.shared.routes.as_ref());
                flight.is_recorded || routes.is_none()
            }
            _ => true,
        };
        let all = |run: &ActiveRun| {
            let mut open = run.machine.open_attempts();
            open.all(|(task, _)| run.flights.get(&task).is_some_and(is_recorded))
        };
        let is_whole = self.stuck.is_empty() && self.unreadable.is_empty();
        is_whole && self.runs.values().all(all)
    }

    /// Leaves the partition to another: what runs in this process goes on, claimed, and tells the partition's queue.
    pub(super) async fn hand_over(mut self, left: Left) {
        let worker = Arc::clone(&self.shared.worker);
        let mut local = Vec::new();
        for (run, active) in &self.runs {
            for (task, flight) in &active.flights {
                if let Place::Local(token) = &flight.place {
                    let attempt = AttemptId {
                        run: *run,
                        task: *task,
                        attempt: flight.attempt,
                    };
                    local.push((attempt, token.clone()));
                }
            }
        }
        for (attempt, _) in &local {
            let active = self.runs.get(&attempt.run);
            let is_granted =
                |run: &ActiveRun| run.machine.is_granted(attempt.task, attempt.attempt);
            if active.is_some_and(is_granted) {
                // The journal says already by whom it is held.
                continue;
            }
            let claimed = RecordKind::Claimed {
                task: attempt.task,
                attempt: attempt.attempt,
                incarnation: Arc::clone(&self.shared.name),
                lease_ms: Some(worker.claim_lease_ms()),
            };
            self.must(attempt.run, claimed);
        }
        if self.commit().await.is_err() {
            return self.give_back().await;
        }
        worker.keep_working(&self.queue, local);
        for run in self.runs.values_mut() {
            // They are not this owner's to stop any more.
            run.flights.clear();
        }
        let (partition, runs) = (self.lease.lock().partition(), self.runs.len());
        let (shared, lease) = self.end();
        if left == Left::InNeed {
            tracing::warn!(%partition, runs, "not all could be handed out before the partition is left; its next owner does it again");
            return release(&shared, lease).await;
        }
        tracing::info!(%partition, runs, "the partition is handed over");
        hand_over(&shared, lease).await;
    }

    /// Leaves the partition as it is: what runs in this process for it is stopped, and the next owner hands it out again.
    pub(super) async fn give_back(self) {
        let (shared, lease) = self.end();
        release(&shared, lease).await;
    }

    /// As [`give_back`](Self::give_back), before anything was done in the partition.
    pub(super) async fn return_untouched(self) {
        let (shared, lease) = self.end();
        return_untouched(&shared, lease).await;
    }

    /// Ends all that is done for the partition.
    fn end(mut self) -> (Arc<Shared>, PartitionLease) {
        self.lost.cancel();
        // From here on attempts tell the partition's queue; what they told this owner goes there too.
        self.sources.local.close();
        while let Ok(outcome) = self.sources.local.try_recv() {
            let machine = self.runs.get(&outcome.run).map(|active| &active.machine);
            let is_granted =
                machine.is_some_and(|machine| machine.is_granted(outcome.task, outcome.attempt));
            let worker = &self.shared.worker;
            worker.pass_outcome_on(&self.queue, outcome, is_granted);
        }
        for class in self.classes.all() {
            for offer in &self.classes.get(class).local {
                offer.hosted.forget(&self.wake);
            }
        }
        for run in self.runs.values() {
            for (task, flight) in &run.flights {
                // What nobody else may begin goes on, and tells the next owner.
                if let Place::Local(token) = &flight.place
                    && !run.machine.is_granted(*task, flight.attempt)
                {
                    token.cancel();
                }
            }
        }
        let lease = self.lease.lock().clone();
        // With it goes the subscription: what was not taken in is for the next owner.
        (Arc::clone(&self.shared), lease)
    }
}

/// Gives back a lease under which nothing was done, as it was found.
pub(super) async fn return_untouched(shared: &Shared, lease: PartitionLease) {
    if lease.follows_hand_over() {
        hand_over(shared, lease).await;
    } else {
        release(shared, lease).await;
    }
}

async fn release(shared: &Shared, lease: PartitionLease) {
    // Whoever holds it by now is right; where nobody answers, it ends by itself.
    let release = shared.ports.journal.release(lease);
    let _ = shared.asked_of_store(release).await;
}

async fn hand_over(shared: &Shared, lease: PartitionLease) {
    let hand_over = shared.ports.journal.hand_over(lease);
    let _ = shared.asked_of_store(hand_over).await;
}
