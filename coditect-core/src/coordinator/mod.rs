//! The coordinator: owns partitions, keeps their runs in memory, and moves them by journal records.

mod absence;
mod active;
mod anew;
mod attendance;
mod budget;
mod check;
mod claim;
mod classes;
mod clerk;
mod commit;
mod conclude;
mod dispatch;
mod due;
mod gate;
mod gates;
mod grant;
mod hearing;
mod inbox;
mod keeper;
mod lane;
mod leaving;
mod life;
mod limiting;
mod listeners;
mod machine;
mod orphan;
mod outbox;
mod outcome;
mod outputs;
mod owned;
mod owner;
mod park;
mod publisher;
mod quarantine;
mod record;
mod redrive;
mod renew;
mod replay;
mod route;
mod schedule;
mod scope;
mod share;
mod start;
mod sweep;
mod taking;
mod timer;
mod turns;
mod unserved;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use coditect_registry::{CheckPolicy, Checker, View};
use coditect_resilience::{Randomness, SplitMix};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::budget::Budgets;
pub(crate) use self::check::usual_policy;
use self::keeper::Keeper;
pub(crate) use self::listeners::Listeners;
pub(crate) use self::machine::{Effect, RunMachine, approval_signal, decode_failure};
pub(crate) use self::owned::Owned;
use self::owner::Lost;
pub(crate) use self::route::{Routed, Routes, Way, went};
use crate::aggregate::AggregatorCatalogue;
use crate::error::Error;
use crate::ports::{Dispatch, Ports};
use crate::quarantine::Quarantines;
use crate::redrive::Redrives;
use crate::run::{Admission, PreparedRuns};
use crate::worker::Worker;

/// How long the store may still take for an answer when everything is to end at once.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the owners of all partitions of this process share.
pub(crate) struct Shared {
    pub(crate) ports: Arc<Ports>,
    pub(crate) worker: Arc<Worker>,
    pub(crate) view: View,
    /// Agents that the view may not know, where the registry is not that of all who are on the bus.
    pub(crate) listeners: Option<Arc<Listeners>>,
    /// Capabilities whose tasks go to chosen instances, where there are some.
    pub(crate) routes: Option<Arc<Routes>>,
    /// What pays for retries.
    pub(crate) budgets: Budgets,
    /// What keeps failing in the same way.
    pub(crate) quarantines: Arc<Quarantines>,
    /// When tasks that have failed are put back by themselves.
    pub(crate) redrives: Redrives,
    /// How agents are checked, where others see what is found.
    pub(crate) check: Option<CheckPolicy>,
    pub(crate) catalogue: AggregatorCatalogue,
    pub(crate) prepared: Arc<PreparedRuns>,
    /// Told how many runs wait, where more are refused by that.
    pub(crate) admission: Option<Arc<Admission>>,
    /// Ends dispatching; partitions are given back when what runs here has ended.
    pub(crate) drain: CancellationToken,
    /// Ends everything at once.
    pub(crate) abort: CancellationToken,
    pub(crate) tracker: TaskTracker,
    /// Whether partitions may be handed over: not where nobody else hears what is told over the bus.
    pub(crate) hands_over: bool,
    /// The name of this process in the journal.
    pub(crate) name: Arc<str>,
    pub(crate) randomness: SplitMix,
}

impl Shared {
    /// A random number from 0 up to 1, for the jitter of backoffs.
    fn random(&self) -> f64 {
        self.randomness.next_unit()
    }

    /// Awaits the store; in vain where it has not answered some time after everything was to end at once.
    async fn asked_of_store<T>(&self, answer: impl Future<Output = T>) -> Result<T, Lost> {
        let too_late = async {
            self.abort.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        tokio::select! {
            biased;
            answer = answer => Ok(answer),
            () = too_late => Err(Lost),
        }
    }

    /// Says whether tasks may go to agents of this process without the bus.
    fn stays_local(&self) -> bool {
        self.ports.settings.dispatch != Dispatch::Bus
    }
}

/// Takes its share of the partitions and keeps it until it is told to drain.
pub(crate) struct Coordinator {
    shared: Arc<Shared>,
    owned: Arc<Owned>,
    /// Asks the agents for signs of life, whenever it is this process's turn.
    checker: Option<Checker>,
}

impl Coordinator {
    /// Starts to take partitions. Returns when each that was free was tried once, so that runs submitted afterwards
    /// are taken up at once if this process is to coordinate them.
    pub(crate) async fn start(shared: Arc<Shared>) -> Result<Self, Error> {
        let store = Arc::clone(&shared.ports.store);
        shared.quarantines.load(&store).await;
        let quarantines = Arc::clone(&shared.quarantines);
        let (drain, abort) = (shared.drain.clone(), shared.abort.clone());
        // A runtime that is dropped does not drain, and lets go of its store all the same.
        let follow = async move {
            let until_drained = drain.run_until_cancelled(quarantines.follow(store));
            abort.run_until_cancelled(until_drained).await
        };
        shared.tracker.spawn(follow);
        let followed = shared.listeners.as_ref().map(|listeners| {
            let followed = listeners.subscribe();
            let (listeners, abort) = (Arc::clone(listeners), shared.abort.clone());
            let follow = async move { abort.run_until_cancelled(listeners.follow()).await };
            shared.tracker.spawn(follow);
            followed
        });
        let owned = Arc::new(Owned::default());
        // Where everything is to end already, nothing is tried.
        let _ = Keeper::start(&shared, &owned, followed).await;
        let checker = check::start(&shared);
        Ok(Self {
            shared,
            owned,
            checker,
        })
    }

    /// Lets what runs in this process end, within `limit`, and gives the partitions back.
    pub(crate) async fn drain(&self, limit: Duration) -> bool {
        self.shared.drain.cancel();
        self.shared.tracker.close();
        let drained = tokio::time::timeout(limit, self.shared.tracker.wait())
            .await
            .is_ok();
        if !drained {
            tracing::warn!(
                ?limit,
                "partitions were not given back in time; giving up what they are at"
            );
            self.shared.abort.cancel();
            self.shared.tracker.wait().await;
        }
        if let Some(checker) = &self.checker {
            checker.close().await;
        }
        drained
    }
}

impl Coordinator {
    /// The partitions that this process owns now.
    pub(crate) fn owned(&self) -> &Owned {
        &self.owned
    }

    /// Ends everything at once.
    pub(crate) fn abort(&self) {
        self.shared.abort.cancel();
    }
}
