//! Tasks that go to one instance, chosen by a policy, instead of to whoever takes them first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coditect_bus::QueueName;
use coditect_dag::{RunId, TaskId};
use coditect_registry::{
    Balancer, Candidate, CapabilityName, Choice, Incarnation, Outcome as Went, Policy, Requirement,
    View,
};
use coditect_resilience::{Randomness, SplitMix};
use futures::FutureExt;
use parking_lot::Mutex;
use rustc_hash::FxHashSet;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Shared;
use super::active::{Flight, Place};
use super::classes::ClassState;
use super::commit::Deferred;
use super::owner::Owner;
use crate::failure::FailureKind;
use crate::wire::{self, AttemptId};
use crate::worker::Ended;

/// How many instances are tried until one has room.
const TRIES: usize = 16;

/// The capabilities whose tasks are routed, and by which policies.
pub(crate) struct Routes {
    balancer: Balancer,
    routed: FxHashSet<CapabilityName>,
    randomness: SplitMix,
    /// Owners that have found no room anywhere.
    waiting: Mutex<Vec<Arc<Notify>>>,
    any_waits: AtomicBool,
}

/// Where a task or a request of a routed capability may go.
pub(crate) enum Way {
    /// To this instance.
    Instance(Box<Routed>),
    /// To the queue of the capability: nobody is there who has one of its own.
    Shared,
    /// Nowhere now: whoever might take it has as much as it may have.
    None,
}

/// The instance that was chosen for an attempt, where it counts as in flight until this is dropped.
pub(crate) struct Routed {
    /// Taken when this is dropped; none if a former owner has chosen.
    choice: Option<Choice>,
    chosen: Candidate,
    pub(crate) queue: QueueName,
    since: Instant,
    routes: Arc<Routes>,
}

impl Routes {
    pub(crate) fn new(
        view: View,
        policies: impl IntoIterator<Item = (CapabilityName, Policy)>,
        randomness: SplitMix,
    ) -> Arc<Self> {
        let mut routed = FxHashSet::default();
        let mut balancer = Balancer::new(view);
        for (capability, policy) in policies {
            routed.insert(capability.clone());
            balancer = balancer.with_policy(capability, policy);
        }
        Arc::new(Self {
            balancer,
            routed,
            randomness,
            waiting: Mutex::default(),
            any_waits: AtomicBool::new(false),
        })
    }

    /// Says whether tasks of a capability are routed.
    pub(crate) fn include(&self, requirement: &Requirement) -> bool {
        self.routed.contains(&requirement.name)
    }

    /// Chooses an instance that has room: no more is sent to one from here than it has slots, and one to begin with next.
    pub(crate) fn choose(self: &Arc<Self>, requirement: &Requirement) -> Way {
        let now = Instant::now();
        let mut full = Vec::new();
        while full.len() < TRIES {
            let Some(choice) = self.balancer.pick(requirement, now, self.draw()) else {
                break;
            };
            let candidate = choice.candidate();
            // The choice itself is counted.
            if candidate.own_in_flight() > candidate.load().slots.max(1).saturating_add(1) {
                // Held until the end, so that it is less likely to be chosen again.
                full.push(choice);
                continue;
            }
            let Some(queue) = wire::own_queue_of(&choice.record()) else {
                return Way::Shared;
            };
            return Way::Instance(Box::new(Routed {
                chosen: choice.candidate().clone(),
                choice: Some(choice),
                queue,
                since: now,
                routes: Arc::clone(self),
            }));
        }
        if full.is_empty() {
            Way::Shared
        } else {
            Way::None
        }
    }

    /// Finds the instance that a former owner had chosen, of a process that has but one such.
    pub(super) fn find(
        self: &Arc<Self>,
        view: &View,
        requirement: &Requirement,
        incarnation: &str,
    ) -> Option<Box<Routed>> {
        let incarnation: Incarnation = incarnation.parse().ok()?;
        let records = view.records();
        let mut there = records
            .iter()
            .filter(|record| record.incarnation() == incarnation && record.offers(requirement));
        let record = there.next().filter(|_| there.next().is_none())?;
        Some(Box::new(Routed {
            choice: None,
            chosen: view.candidate(&record.instance)?,
            queue: wire::own_queue_of(record)?,
            since: Instant::now(),
            routes: Arc::clone(self),
        }))
    }

    /// Has an owner woken once an instance may have room again.
    pub(super) fn notify_room(&self, wake: &Arc<Notify>) {
        let mut waiting = self.waiting.lock();
        if !waiting.iter().any(|known| Arc::ptr_eq(known, wake)) {
            waiting.push(Arc::clone(wake));
        }
        self.any_waits.store(true, Ordering::SeqCst);
    }

    fn has_room(&self) {
        if self.any_waits.swap(false, Ordering::SeqCst) {
            let waiting = std::mem::take(&mut *self.waiting.lock());
            waiting.iter().for_each(|wake| wake.notify_one());
        }
    }

    fn draw(&self) -> u64 {
        let half = || (self.randomness.next_unit() * f64::from(u32::MAX)) as u64;
        (half() << 32) | half()
    }
}

impl Routed {
    /// Says whether the instance has left, or was evicted, since it was chosen.
    pub(super) fn is_lost(&self) -> bool {
        self.chosen.lost().now_or_never().is_some()
    }

    /// Waits until the instance has left, or was evicted.
    pub(crate) fn lost(&self) -> impl Future<Output = ()> + Send + 'static {
        self.chosen.lost()
    }

    /// The process of the instance.
    pub(crate) fn process(&self) -> Incarnation {
        self.chosen.instance().incarnation
    }

    /// The process of the instance, in the words of the journal.
    pub(super) fn incarnation(&self) -> Arc<str> {
        self.chosen.instance().incarnation.to_string().into()
    }

    /// Says whether the instance is of this process.
    pub(super) fn is_at(&self, incarnation: &str) -> bool {
        self.chosen.instance().incarnation.to_string() == incarnation
    }

    /// Tells the policy how the attempt went.
    pub(crate) fn done(&mut self, went: Went) {
        if let Some(choice) = self.choice.take() {
            choice.done(went, self.since.elapsed());
        }
    }
}

impl Drop for Routed {
    fn drop(&mut self) {
        drop(self.choice.take());
        self.routes.has_room();
    }
}

/// What an outcome says of the instance that told it.
pub(crate) fn went(ended: &Ended) -> Went {
    match ended {
        Ended::Output(_) | Ended::Plan(_) => Went::Succeeded,
        Ended::Failed { failure, .. } => match failure.kind {
            FailureKind::Cancelled => Went::Cancelled,
            FailureKind::Lost | FailureKind::Panic | FailureKind::Timeout => Went::Failed,
            kind if kind.is_retryable() => Went::Failed,
            _ => Went::Cancelled,
        },
    }
}

impl Shared {
    /// Where a task goes that is routed; none where tasks of its class are not.
    pub(super) fn way(&self, class: &ClassState) -> Option<Way> {
        let routes = class.routes(self.routes.as_ref())?;
        Some(routes.choose(&class.requirement))
    }
}

impl Owner {
    /// As [`Shared::way`]; where there is none, this owner is woken once there may be one.
    pub(super) fn way(&self, class: &ClassState) -> Option<Way> {
        match (self.shared.way(class), &self.shared.routes) {
            (Some(Way::None), Some(routes)) => {
                routes.notify_room(&self.wake);
                // Room that came between the look and the call would wake nobody.
                self.shared.way(class)
            }
            (way, _) => way,
        }
    }

    /// Publishes an attempt anew, as the same, to whoever takes it: the instance that had it has not begun with it, or holds it
    /// no longer.
    pub(super) fn give_to_all(&mut self, run: RunId, task: TaskId) {
        let Some(active) = self.runs.get_mut(&run) else {
            return;
        };
        let Some(flight) = active.flights.get_mut(&task) else {
            return;
        };
        let class = self.classes.get_mut(flight.class);
        let Some(queue) = class.any_queue() else {
            return;
        };
        class.ready.departed(&active.tenant);
        flight.since = self.now;
        flight.is_recorded = false;
        flight.place = Place::Bus(queue);
        let attempt = flight.attempt;
        self.deferred.push(Deferred::Publish { run, task, attempt });
    }

    /// Takes in that the queue was gone to which an attempt was to be published.
    pub(super) fn returned(&mut self, returned: AttemptId) {
        let AttemptId { run, task, attempt } = returned;
        let flight = self.runs.get_mut(&run);
        let flight = flight.and_then(|active| active.flights.get_mut(&task));
        if let Some(Flight {
            place: Place::Instance(routed),
            ..
        }) = flight.filter(|flight| flight.attempt == attempt)
        {
            routed.done(Went::Failed);
            self.give_to_all(run, task);
        }
    }

    /// Finds the attempts whose instances have gone, or are evicted: each is lost, and dispatched elsewhere at once.
    pub(super) fn look_for_lost(&mut self) {
        let mut lost = Vec::new();
        // A registry of this process alone says nothing of others.
        let knows_all = self.shared.listeners.is_none();
        for (run, active) in &mut self.runs {
            for (task, flight) in &mut active.flights {
                let gone = match &mut flight.place {
                    Place::Instance(routed) => routed.is_lost(),
                    Place::Claimed(claim) if knows_all => {
                        let class = self.classes.get(flight.class);
                        claim.find_holders(&self.shared.view, &class.requirement);
                        claim.is_lost()
                    }
                    _ => false,
                };
                if gone {
                    Self::tell_policy(&mut flight.place, Went::Failed);
                    lost.push((*run, *task, flight.attempt));
                }
            }
        }
        for (run, task, attempt) in lost {
            tracing::warn!(%run, %task, %attempt, "the instance that had a task has left or was evicted; it goes elsewhere");
            let reason = "the instance that had it left the registry, or was evicted".into();
            self.vanished(run, task, attempt, reason);
        }
    }

    /// Tells the policy how an attempt went that was routed.
    pub(super) fn tell_policy(place: &mut Place, went: Went) {
        let routed = match place {
            Place::Instance(routed) => Some(routed),
            Place::Claimed(claim) => claim.routed.as_mut(),
            _ => None,
        };
        if let Some(routed) = routed {
            routed.done(went);
        }
    }
}
