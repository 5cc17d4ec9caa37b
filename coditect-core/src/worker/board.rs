//! What stands before the calls of this process's agents: its making, what is told of breakers, and what is shared of them.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use coditect_registry::{AgentId, Capability};
use coditect_resilience::{
    Adoption, BreakerNotice, BreakerObserver, BreakerPolicy, BreakerSharing, BreakerState,
    BreakerStore, Breakers, Randomness, SharingPolicy, SplitMix, Transition,
};
use futures::future::join_all;
use parking_lot::{Mutex, RwLock};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::Notify;

use super::breaker::{Bell, Guard};
use super::hungry::Hungry;
use super::rate::RateGate;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How many breakers of one policy a process has at most, far more than it has agents.
const CAPACITY: usize = 1 << 20;

/// The breakers of a process, those of one policy in one table, and the rates of its capabilities.
pub(crate) struct GuardBoard {
    rates: Vec<Arc<RateGate>>,
    tables: Vec<Table>,
    bells: Arc<Bells>,
    randomness: Arc<SplitMix>,
}

struct Table {
    policy: BreakerPolicy,
    breakers: Breakers,
    store: Arc<SharedWords>,
    /// Taken when something is shared, or never.
    sharing: Mutex<Option<BreakerSharing>>,
}

/// What other processes say of the breakers that are in a table, once there is a store to read it in.
#[derive(Default)]
struct SharedWords {
    store: OnceLock<Arc<dyn BreakerStore>>,
    known: RwLock<FxHashSet<String>>,
}

/// Tells those who wait for a breaker that it has changed.
struct Bells {
    by_name: RwLock<FxHashMap<Arc<str>, Arc<Bell>>>,
    /// Some breaker has changed.
    any: Notify,
}

impl GuardBoard {
    pub(crate) fn new(rates: Vec<Arc<RateGate>>, randomness: SplitMix) -> Self {
        Self {
            randomness: Arc::new(randomness),
            rates,
            tables: Vec::new(),
            bells: Arc::new(Bells {
                by_name: RwLock::default(),
                any: Notify::new(),
            }),
        }
    }

    /// Makes the guard of one capability of an agent.
    pub(super) fn guard(
        &mut self,
        agent: &AgentId,
        capability: &Capability,
        policy: Option<BreakerPolicy>,
        hungry: &Arc<Hungry>,
    ) -> Guard {
        let rates = self.rates.iter();
        let rate = rates
            .rev()
            .find(|rate| *rate.capability() == capability.name)
            .cloned();
        let bell = Arc::new(Bell::new(hungry));
        let breaker = policy.map(|policy| {
            let name = format!("{agent}/{}@{}", capability.name, capability.version);
            let mut bells = self.bells.by_name.write();
            bells.insert(name.as_str().into(), Arc::clone(&bell));
            drop(bells);
            let table = self.table(policy);
            table.store.known.write().insert(name.clone());
            table.breakers.breaker(&name)
        });
        Guard::new(breaker, rate, bell)
    }

    /// What lets calls go at the rates that were set.
    pub(super) fn rates(&self) -> &[Arc<RateGate>] {
        &self.rates
    }

    fn table(&mut self, policy: BreakerPolicy) -> &Table {
        let known = self.tables.iter().position(|table| table.policy == policy);
        let index = known.unwrap_or_else(|| {
            let bells: Arc<dyn BreakerObserver> = Arc::clone(&self.bells) as _;
            let breakers =
                Breakers::new(policy, CAPACITY).expect("there is room for many breakers");
            let store = Arc::<SharedWords>::default();
            // Another process may fail for a reason of its own: its word is worth one probe and no more.
            let words = SharingPolicy::default().with_adoption(Adoption::Probe);
            let randomness = Arc::clone(&self.randomness);
            let breakers = breakers
                .with_observer(bells)
                .with_randomness(move || randomness.next_unit());
            let (breakers, sharing) = breakers.shared(Arc::clone(&store) as _, words);
            self.tables.push(Table {
                policy,
                breakers,
                store,
                sharing: Mutex::new(Some(sharing)),
            });
            self.tables.len() - 1
        });
        &self.tables[index]
    }

    /// Shares what the breakers find out with other processes, for as long as what is returned is awaited.
    pub(super) async fn share(&self, store: &Arc<dyn BreakerStore>) {
        let sharing = self.tables.iter().filter_map(|table| {
            // Once, when the worker starts.
            let _ = table.store.store.set(Arc::clone(store));
            table.sharing.lock().take()
        });
        let sharing: Vec<_> = sharing.map(BreakerSharing::run).collect();
        join_all(sharing).await;
    }

    /// Waits until some breaker has changed.
    pub(super) async fn changed(&self) {
        self.bells.any.notified().await;
    }
}

#[async_trait]
impl BreakerStore for SharedWords {
    async fn publish(&self, notice: &BreakerNotice) -> Result<(), BoxError> {
        match self.store.get() {
            Some(store) => store.publish(notice).await,
            None => Ok(()),
        }
    }

    async fn notices(&self, limit: usize) -> Result<Vec<BreakerNotice>, BoxError> {
        let Some(store) = self.store.get() else {
            return Ok(Vec::new());
        };
        let mut notices = store.notices(limit).await?;
        // A breaker is made for what is heard of: those of agents elsewhere are not for this process.
        let known = self.known.read();
        notices.retain(|notice| known.contains(&notice.name));
        Ok(notices)
    }
}

impl BreakerObserver for Bells {
    fn on_transition(&self, name: &str, transition: Transition) {
        let Transition { from, to, cause } = transition;
        match to {
            BreakerState::Open | BreakerState::ForcedOpen => tracing::warn!(
                breaker = name,
                ?from,
                ?to,
                ?cause,
                "the breaker of an agent opened: it is given no more of this work for now"
            ),
            _ => tracing::info!(
                breaker = name,
                ?from,
                ?to,
                ?cause,
                "the breaker of an agent changed"
            ),
        }
        let bell = self.by_name.read().get(name).cloned();
        if let Some(bell) = bell {
            bell.turn(to.is_flowing());
        }
        self.any.notify_one();
    }
}
