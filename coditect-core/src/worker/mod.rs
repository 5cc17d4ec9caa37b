//! The worker: agents of this process, the slots they work in, and where their tasks come from.

mod absence;
mod anew;
mod attempt;
mod board;
mod breaker;
mod claim;
mod consume;
mod control;
mod grant;
mod handed;
mod hosted;
mod hungry;
mod local;
mod lull;
mod membership;
mod offer;
mod own_queue;
mod pass_on;
mod rate;
mod report;
mod request;
mod running;
mod slots;
mod stand_in;
mod standing;
mod task;
mod tell;

use std::sync::Arc;
use std::time::Duration;

use coditect_dag::journal::DEFAULT_TENANT;
use coditect_registry::{Incarnation, Requirement};
use coditect_resilience::{Breaker, BreakerStore, RateLimitStore, SplitMix};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::absence::Absences;
pub(crate) use self::absence::Counted;
pub(crate) use self::anew::tell_anew;
pub(crate) use self::attempt::Ended;
pub(crate) use self::board::GuardBoard;
pub(crate) use self::hosted::{Away, Hosted, Slot};
pub(crate) use self::local::LocalJob;
pub(crate) use self::offer::Offer;
pub(crate) use self::rate::RateGate;
pub use self::rate::RateLimits;
pub(crate) use self::standing::Reported;

use self::attempt::Bounds;
use self::claim::Claims;
use self::grant::Grants;
use self::handed::Handed;
use self::running::Running;
use self::tell::Tellers;
use crate::context::{ProgressPublisher, Services};
use crate::error::Error;
use crate::sharing::{StateBreakerStore, StateRateLimitStore};
use crate::wire::Control;

/// Runs the agents of one process.
pub(crate) struct Worker {
    pub(crate) incarnation: Incarnation,
    /// The incarnation in the words of the journal.
    pub(crate) name: Arc<str>,
    hosted: Arc<[Arc<Hosted>]>,
    guards: GuardBoard,
    services: Arc<Services>,
    /// Owns the attempts, as long as their handlers run and their outcomes are on the way.
    attempts: TaskTracker,
    /// Owns every other task of the worker.
    tracker: TaskTracker,
    /// Ends the taking of new work.
    stop: CancellationToken,
    /// Tells handlers of local requests to stop.
    halt: CancellationToken,
    /// What came over the bus, to be found by those who want to stop it.
    running: Arc<Running>,
    claims: Arc<Claims>,
    /// The claims that wait for leave to begin.
    grants: Grants,
    /// Handlers that wait for others.
    absences: Absences,
    randomness: SplitMix,
    tellers: Arc<Tellers>,
    /// What runs here for owners that have handed their partitions over.
    handed: Handed,
    /// Tells the owners of this process which queues were made anew.
    anew: anew::Bell,
    default_tenant: Arc<str>,
}

impl Worker {
    pub(crate) fn new(
        incarnation: Incarnation,
        hosted: Arc<[Arc<Hosted>]>,
        guards: GuardBoard,
        services: Arc<Services>,
    ) -> Arc<Self> {
        let name = incarnation.to_string().into();
        for hosted in hosted.iter() {
            hosted.set_incarnation(&name);
        }
        Arc::new(Self {
            name,
            incarnation,
            hosted,
            guards,
            randomness: services.ports.chance.randomness(),
            services,
            attempts: TaskTracker::new(),
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            halt: CancellationToken::new(),
            running: Arc::default(),
            claims: Arc::default(),
            grants: Grants::default(),
            absences: Absences::default(),
            tellers: Arc::default(),
            handed: Handed::default(),
            anew: anew::Bell::default(),
            default_tenant: DEFAULT_TENANT.into(),
        })
    }

    /// Declares and subscribes to the queues, and only then makes the agents known.
    pub(crate) async fn start(self: &Arc<Self>, progress: ProgressPublisher) -> Result<(), Error> {
        let bus = Arc::clone(&self.services.ports.bus);
        self.tracker.spawn(progress.run(bus, self.stop.clone()));
        for hosted in self.hosted.iter() {
            for capability in 0..hosted.capabilities.len() {
                consume::start(self, hosted, capability).await?;
            }
            if self.services.ports.shared_registry {
                own_queue::start(self, hosted).await?;
            }
        }
        self.tracker.spawn(Arc::clone(self).tend_breakers());
        self.share();
        self.follow_limits();
        control::start(self).await?;
        self.tracker.spawn(Arc::clone(self).heartbeats());
        membership::start(self).await
    }

    /// The agents of this process that meet a requirement, those of the highest version first, as it is
    /// their queue that tasks go to over the bus; each with the capability that meets it.
    pub(crate) fn offering(&self, requirement: &Requirement) -> Vec<Offer> {
        let standing = self
            .hosted
            .iter()
            .filter(|hosted| !hosted.standing.is_superseded());
        let offering = standing.filter_map(|hosted| Offer::of(hosted, requirement));
        let mut offering: Vec<_> = offering.collect();
        offering.sort_by(|a, b| b.version().cmp(a.version()));
        offering
    }

    /// The agent of this process to ask for what is required: of the highest version, and one that takes work now if there
    /// is one; none that wants no work.
    pub(crate) fn find(&self, requirement: &Requirement) -> Option<Offer> {
        let open = self
            .hosted
            .iter()
            .filter(|hosted| hosted.standing.is_open());
        let ranked = open.filter_map(|hosted| Some((hosted.rank_for(requirement)?, hosted)));
        // Of equals the last is the greatest, and the first is to be asked.
        let best = ranked.rev().max_by(|(a, _), (b, _)| a.cmp(b));
        best.and_then(|(_, hosted)| Offer::of(hosted, requirement))
    }

    /// The breakers of the agents, those of one agent and capability only where that is said.
    pub(crate) fn breakers(&self, of: Option<(&str, &str)>) -> Vec<Breaker> {
        let guards = self.hosted.iter().flat_map(|hosted| {
            let guards = hosted.guards();
            guards.filter(move |(capability, _)| {
                of.is_none_or(|(agent, name)| {
                    hosted.id.as_str() == agent && capability.name.as_str() == name
                })
            })
        });
        guards
            .filter_map(|(_, guard)| guard.breaker().cloned())
            .collect()
    }

    /// Lets calls go at their rates and tells what breakers find out, together with other processes where a store is shared.
    fn share(self: &Arc<Self>) {
        let store = &self.services.ports.store;
        let is_shared = store.capabilities().shared;
        if is_shared {
            let words: Arc<dyn BreakerStore> = Arc::new(StateBreakerStore::new(Arc::clone(store)));
            let worker = Arc::clone(self);
            self.until_ended(async move { worker.guards.share(&words).await });
        }
        for rate in self.guards.rates() {
            let store = is_shared.then(|| {
                Arc::new(StateRateLimitStore::new(Arc::clone(store))) as Arc<dyn RateLimitStore>
            });
            let rate = Arc::clone(rate);
            self.until_ended(async move { rate.run(store).await });
        }
    }

    /// Follows which limits there are, and tells who does not count for them.
    fn follow_limits(self: &Arc<Self>) {
        let ports = Arc::clone(&self.services.ports);
        let store = Arc::clone(&ports.store);
        self.until_ended(async move { ports.limits.follow(store).await });
        let worker = Arc::clone(self);
        self.until_ended(async move { worker.tell_absences().await });
    }

    fn until_ended(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        let worker = Arc::clone(self);
        self.tracker.spawn(async move {
            tokio::select! {
                biased;
                () = worker.attempts_ended() => {}
                () = work => {}
            }
        });
    }

    /// Has the registry told what breakers do, and those who wait for one told that its open time is over.
    async fn tend_breakers(self: Arc<Self>) {
        loop {
            let guards = self.hosted.iter().flat_map(|hosted| hosted.guards());
            let next = guards.filter_map(|(_, guard)| guard.tend()).min();
            tokio::select! {
                biased;
                () = self.attempts_ended() => return,
                () = self.guards.changed() => self.services.reported.notify_one(),
                // Who may be tried again is no longer to be avoided.
                () = after(next) => self.services.reported.notify_one(),
            }
        }
    }

    /// Ends the taking of new work; what runs goes on.
    pub(crate) fn stop_taking(&self) {
        self.stop.cancel();
        for hosted in self.hosted.iter() {
            hosted.standing.taking().cancel();
        }
        self.attempts.close();
        self.tracker.close();
    }

    /// Ends the taking of new work when what is returned is dropped, unless it is disarmed.
    #[must_use = "it is stopped at once where this is dropped"]
    pub(crate) fn stop_on_drop(self: &Arc<Self>) -> StopOnDrop {
        StopOnDrop(Some(Arc::clone(self)))
    }

    /// Takes over what an agent says of itself; none if there is no agent of that name.
    pub(crate) fn report(&self, agent: &str, reported: Reported) -> Option<()> {
        let mut hosted = self.hosted.iter();
        let hosted = hosted.find(|hosted| hosted.id.as_str() == agent)?;
        hosted.report(reported);
        self.services.reported.notify_one();
        Some(())
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
        self.running.halt();
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

    /// Stops what the owner of a partition wants stopped, unless that owner has been replaced.
    fn obey(&self, control: &Control) {
        self.running.obey(control);
    }
}

async fn after(span: Option<Duration>) {
    match span {
        Some(span) => tokio::time::sleep(span).await,
        None => std::future::pending().await,
    }
}

/// Ends the taking of new work when dropped.
pub(crate) struct StopOnDrop(Option<Arc<Worker>>);

impl StopOnDrop {
    /// Lets the worker go on.
    pub(crate) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(worker) = &self.0 {
            worker.stop_taking();
        }
    }
}
