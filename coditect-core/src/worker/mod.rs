//! The worker: agents of this process, the slots they work in, and where their tasks come from.

mod attempt;
mod consume;
mod hosted;
mod local;
mod membership;
mod report;
mod stand_in;

use std::sync::Arc;

use coditect_bus::Delivery;
use coditect_dag::journal::{DEFAULT_TENANT, Partition};
use coditect_registry::{Incarnation, Requirement};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub(crate) use self::attempt::Ended;
pub(crate) use self::hosted::{Away, Hosted, Slot};
pub(crate) use self::local::LocalJob;

use self::attempt::Bounds;
use crate::context::{ProgressPublisher, Services};
use crate::error::Error;
use crate::wire::{Control, Stop};

/// Runs the agents of one process.
pub(crate) struct Worker {
    pub(crate) incarnation: Incarnation,
    hosted: Arc<[Arc<Hosted>]>,
    services: Arc<Services>,
    /// Owns the attempts, as long as their handlers run and their outcomes are on the way.
    attempts: TaskTracker,
    /// Owns every other task of the worker.
    tracker: TaskTracker,
    /// Ends the taking of new work.
    stop: CancellationToken,
    /// Tells handlers of local requests to stop.
    halt: CancellationToken,
    /// Attempts that came over the bus, to be found by those who want to stop them.
    running: Mutex<FxHashMap<Stop, CancellationToken>>,
    /// The newest owner's token of each partition.
    fences: Mutex<FxHashMap<Partition, u64>>,
    default_tenant: Arc<str>,
}

impl Worker {
    pub(crate) fn new(hosted: Arc<[Arc<Hosted>]>, services: Arc<Services>) -> Arc<Self> {
        Arc::new(Self {
            incarnation: Incarnation::fresh(),
            hosted,
            services,
            attempts: TaskTracker::new(),
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            halt: CancellationToken::new(),
            running: Mutex::default(),
            fences: Mutex::default(),
            default_tenant: DEFAULT_TENANT.into(),
        })
    }

    /// Declares and subscribes to the queues, and only then makes the agents known.
    pub(crate) async fn start(self: &Arc<Self>, progress: ProgressPublisher) -> Result<(), Error> {
        let bus = Arc::clone(&self.services.ports.bus);
        self.tracker.spawn(progress.run(bus, self.stop.clone()));
        for hosted in self.hosted.iter() {
            for capability in &hosted.capabilities {
                consume::start(self, hosted, capability).await?;
            }
        }
        consume::start_control(self).await?;
        membership::start(self).await
    }

    /// The agents of this process that meet a requirement, those of the highest version first, as it is
    /// their queue that tasks go to over the bus.
    pub(crate) fn offering(&self, requirement: &Requirement) -> Vec<Arc<Hosted>> {
        let offering = self
            .hosted
            .iter()
            .filter(|hosted| hosted.offers(requirement));
        let mut offering: Vec<_> = offering.cloned().collect();
        offering.sort_by(|a, b| b.version_for(requirement).cmp(&a.version_for(requirement)));
        offering
    }

    /// The agent of this process to ask for what is required: of the highest version, and free if one is.
    pub(crate) fn find(&self, requirement: &Requirement) -> Option<&Arc<Hosted>> {
        let ranked = self
            .hosted
            .iter()
            .filter_map(|hosted| Some((hosted.rank_for(requirement)?, hosted)));
        // Of equals the last is the greatest, and the first is to be asked.
        let best = ranked.rev().max_by(|(a, _), (b, _)| a.cmp(b));
        best.map(|(_, hosted)| hosted)
    }

    /// Ends the taking of new work; what runs goes on.
    pub(crate) fn stop_taking(&self) {
        self.stop.cancel();
        self.attempts.close();
        self.tracker.close();
    }

    /// Ends the taking of new work when what is returned is dropped, unless it is disarmed.
    pub(crate) fn stop_on_drop(&self) -> DropGuard {
        self.stop.clone().drop_guard()
    }

    /// Waits, once no more work is taken, until every attempt has ended and its outcome was handed over.
    ///
    /// An attempt that waits for another of this process has not ended, so nothing that it needs is
    /// missed.
    pub(crate) async fn attempts_ended(&self) {
        self.attempts.wait().await;
    }

    /// Waits, once no more work is taken, until everything has ended.
    pub(crate) async fn idle(&self) {
        self.attempts.wait().await;
        self.tracker.wait().await;
    }

    /// Tells every handler to stop that no owner of this process could tell.
    pub(crate) fn cancel_all(&self) {
        self.halt.cancel();
        for token in self.running.lock().values() {
            token.cancel();
        }
    }

    fn bounds(&self) -> Bounds {
        let settings = &self.services.ports.settings;
        Bounds {
            timeout: None,
            deadline: None,
            grace: settings.grace,
            max_payload: settings.max_payload,
        }
    }

    /// Makes an attempt from the bus known under what others call it, until the guard is dropped.
    fn enrol(self: &Arc<Self>, attempt: Stop, delivery: &Delivery) -> Enrolled {
        // A child fires with the loss of the delivery, and alone when somebody stops the attempt.
        let token = delivery.lost().child_token();
        self.running.lock().insert(attempt, token.clone());
        Enrolled {
            worker: Arc::clone(self),
            attempt,
            token,
        }
    }

    /// Stops what the owner of a partition wants stopped, unless that owner has been replaced.
    fn obey(&self, control: &Control) {
        {
            let mut fences = self.fences.lock();
            let newest = fences.entry(control.partition).or_default();
            if control.token < *newest {
                return;
            }
            *newest = control.token;
        }
        let running = self.running.lock();
        for attempt in &control.stop {
            if let Some(token) = running.get(attempt) {
                token.cancel();
            }
        }
    }
}

/// An attempt that can be stopped by name.
struct Enrolled {
    worker: Arc<Worker>,
    attempt: Stop,
    token: CancellationToken,
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        self.worker.running.lock().remove(&self.attempt);
    }
}
