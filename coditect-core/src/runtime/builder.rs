//! Describing and starting a runtime.

mod check;
mod shown;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use coditect_dag::journal::PartitionCount;
use tokio::sync::{Notify, OnceCell};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::check::{check_names, check_spans};
use super::discovery::Discovery;
use super::request::Hedges;
use super::resilience::Resilience;
use super::source::{BusSource, RegistrySource, StateSource, StateTerms};
use super::{Inner, Runtime};
use crate::agent::{Agent, ErasedAgent, TypedAgent};
use crate::aggregate::{AggregatorCatalogue, ResultAggregator};
use crate::chance::Chance;
use crate::context::{ProgressPublisher, Services};
use crate::coordinator::{Coordinator, Listeners, Routes, Shared};
use crate::error::Error;
use crate::guard::GuardSet;
use crate::limit::known::Limits;
use crate::orchestrator::{Orchestrator, TypedOrchestrator};
use crate::ports::{Dispatch, Ports, Settings};
use crate::quarantine::Quarantines;
use crate::run::{PreparedRuns, Submitter};
use crate::worker::{GuardBoard, Hosted, Worker};

const DEFAULT_PARTITIONS: u16 = 8;

/// Describes a runtime; made by [`Runtime::builder`].
///
/// # Examples
///
/// Two runtimes that share their ports, as two processes would: one coordinates, the other works.
///
/// ```
/// use std::sync::Arc;
/// use coditect_core::bus::{MemoryBus, MessageBus};
/// use coditect_core::dag::journal::{MemoryJournal, RunJournal};
/// use coditect_core::prelude::*;
/// use coditect_core::registry::{MemoryRegistry, Registry};
/// use coditect_core::state::{MemoryStore, StateStore};
///
/// const DOUBLE: Call<u64, u64> = Call::new("double");
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), coditect_core::Error> {
/// let bus: Arc<dyn MessageBus> = Arc::new(MemoryBus::new());
/// let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
/// let journal: Arc<dyn RunJournal> = Arc::new(MemoryJournal::default());
/// let store: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
/// let shared = || {
///     Runtime::builder()
///         .bus(Arc::clone(&bus))
///         .registry(Arc::clone(&registry))
///         .state((Arc::clone(&journal), Arc::clone(&store)))
/// };
/// let coordinator = shared().start().await?;
/// let worker = shared()
///     .worker_only()
///     .agent(agent("double", async |x: u64| Ok::<_, AgentError>(2 * x)))
///     .start()
///     .await?;
/// assert_eq!(coordinator.run(&DOUBLE, 21).await?, 42);
/// worker.shutdown().await?;
/// coordinator.shutdown().await
/// # }
/// ```
#[must_use = "a runtime is described until it is started"]
pub struct RuntimeBuilder {
    agents: Vec<Arc<dyn ErasedAgent>>,
    catalogue: AggregatorCatalogue,
    bus: Option<BusSource>,
    registry: Option<RegistrySource>,
    state: Option<StateSource>,
    settings: Settings,
    dispatch: Option<Dispatch>,
    partitions: Option<u16>,
    retention: Option<(u64, Duration)>,
    coordinates: bool,
    drain: Duration,
    pub(super) discovery: Discovery,
    pub(crate) chance: Chance,
    pub(super) resilience: Resilience,
}

impl Default for RuntimeBuilder {
    fn default() -> Self {
        Self {
            agents: Vec::new(),
            catalogue: AggregatorCatalogue::with_builtins(),
            bus: None,
            registry: None,
            state: None,
            settings: Settings::default(),
            dispatch: None,
            partitions: None,
            retention: None,
            coordinates: true,
            drain: Duration::from_secs(30),
            discovery: Discovery::default(),
            chance: Chance::default(),
            resilience: Resilience::default(),
        }
    }
}

impl RuntimeBuilder {
    /// Adds an agent, or a function that [`agent`](crate::agent) made one of.
    pub fn agent(mut self, agent: impl Agent) -> Self {
        self.agents.push(Arc::new(TypedAgent(agent)));
        self
    }

    /// Adds an orchestrator, or a function that [`orchestrator`](crate::orchestrator) made one of.
    pub fn orchestrator(mut self, orchestrator: impl Orchestrator) -> Self {
        self.agents.push(Arc::new(TypedOrchestrator(orchestrator)));
        self
    }

    /// Makes an aggregator known under a name, by which plans call it.
    ///
    /// Every runtime that coordinates must know the aggregators of the runs that it may take up.
    pub fn aggregator<A: ResultAggregator>(
        mut self,
        name: impl Into<String>,
        make: impl Fn() -> A + Send + Sync + 'static,
    ) -> Self {
        self.catalogue.insert(name, make);
        self
    }

    /// Sets the message bus: a URL or a bus; without it one of this runtime alone.
    pub fn bus(mut self, bus: impl Into<BusSource>) -> Self {
        self.bus = Some(bus.into());
        self
    }

    /// Sets the registry: a URL or a registry; without it one of this runtime alone.
    pub fn registry(mut self, registry: impl Into<RegistrySource>) -> Self {
        self.registry = Some(registry.into());
        self
    }

    /// Sets where runs and shared values are kept: a URL, or a journal and a store; without it in the
    /// memory of this process.
    pub fn state(mut self, state: impl Into<StateSource>) -> Self {
        self.state = Some(state.into());
        self
    }

    /// Leaves runs to other processes: this one only works, and submits.
    pub fn worker_only(mut self) -> Self {
        self.coordinates = false;
        self
    }

    /// Sets where ready tasks go that an agent of this process could take.
    pub fn dispatch(mut self, dispatch: Dispatch) -> Self {
        self.dispatch = Some(dispatch);
        self
    }

    /// Sets how many tasks of one capability and tenant may be on the bus at once; 256.
    pub fn dispatch_window(mut self, tasks: usize) -> Self {
        self.settings.dispatch_window = tasks.max(1);
        self
    }

    /// Sets into how many partitions runs are divided where this runtime makes the journal; 8, or 1 where runs
    /// are kept in memory and the bus is one that others share, as each has queues there. A file or a server keeps the number that it
    /// began with, and refuses another.
    pub fn partitions(mut self, partitions: u16) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// Sets how many runs are kept that have settled, and for how long after that, where this runtime makes the
    /// journal; 1,000 and 24 hours in memory, 100,000 and 7 days in a file or on a server.
    ///
    /// As soon as one of the limits is passed, the oldest are forgotten: their history and outputs, their idempotency keys,
    /// their blackboards and what [`once`](crate::TaskContext::once) has kept. Coordinators do it, a few runs with
    /// each renewal of a partition's lease. Runs that have not settled are never forgotten, nor those that somebody watches.
    pub fn retention(mut self, runs: u64, age: Duration) -> Self {
        self.retention = Some((runs, age));
        self
    }

    /// Sets the largest input or output in bytes; 1 MiB.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.settings.max_payload = bytes;
        self
    }

    /// Sets how long a handler may go on after it was told to stop; 5 s. With zero it is dropped at once.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// Sets how long handlers may take to end when the runtime shuts down; 30 s. With zero they are told to
    /// stop at once.
    pub fn drain_limit(mut self, limit: Duration) -> Self {
        self.drain = limit;
        self
    }

    /// Sets after how long silence a coordinator's partitions, and a process's agents, are taken for
    /// dead; 5 s and 10 s. Both must be 10 ms at least.
    pub fn leases(mut self, partition: Duration, agent: Duration) -> Self {
        self.settings.partition_lease = partition;
        self.settings.agent_lease = agent;
        self
    }

    /// Sets after how long an agent claims a task that it got over the bus; half of what the bus lets it hold a
    /// delivery for, and never where it may hold it for ever.
    ///
    /// A claimed task is acknowledged, and its agent heard of at intervals: when the agent falls silent for as long as
    /// its [lease](Self::leases), the task is handed out again.
    pub fn claim_after(mut self, span: Duration) -> Self {
        self.settings.claim_after = Some(span);
        self
    }

    /// Starts the runtime: when this returns, its agents can be found and its runs are taken up.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for a name, version, URL, lease or timeout that
    /// cannot be used; [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when a server cannot be
    /// reached.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub async fn start(self) -> Result<Runtime, Error> {
        let private_bus = self.bus.as_ref().is_none_or(BusSource::is_private);
        let owns_bus = self.bus.as_ref().is_none_or(BusSource::is_url);
        let private_registry = self
            .registry
            .as_ref()
            .is_none_or(RegistrySource::is_private);
        let in_memory = self.state.as_ref().is_none_or(StateSource::is_private);
        let mut settings = self.settings;
        settings.dispatch = self.dispatch.unwrap_or(if private_bus {
            Dispatch::LocalOnly
        } else {
            Dispatch::LocalFirst
        });
        let partitions = self.partitions.unwrap_or(match (private_bus, in_memory) {
            // Each has queues on the bus, and nobody shares them.
            (false, true) => 1,
            _ => DEFAULT_PARTITIONS,
        });
        let partitions = PartitionCount::new(partitions)
            .ok_or_else(|| Error::invalid("there must be at least one partition"))?;
        let mut guards = GuardBoard::new(self.resilience.rates()?, self.chance.randomness());
        let hosted: Vec<_> = self
            .agents
            .into_iter()
            .map(|agent| Hosted::new(agent, &mut guards).map(Arc::new))
            .collect::<Result<_, _>>()?;
        check_names(&hosted)?;
        check_spans(&settings, &hosted)?;
        let routes = self.discovery.routes()?;
        let budgets = self.resilience.budgets()?;
        let redrives = self.resilience.redrives()?;
        let held = self.resilience.quarantines()?;
        let offered = self.resilience.limits(self.coordinates)?;
        let hosted: Arc<[Arc<Hosted>]> = hosted.into();
        let incarnation = self.chance.incarnation();
        let (mut guarded, policies) = (GuardSet::default(), &self.resilience.guards);
        let terms = StateTerms {
            partitions,
            retention: self.retention,
        };
        let state = self.state.unwrap_or_else(|| "memory:".into());
        let guard = |store| guarded.state(store, policies, self.chance.randomness());
        let ((journal, store), private) = state.open(terms, guard).await?;
        let bus = self.bus.unwrap_or_else(|| "memory:".into());
        let bus = bus.open(settings.max_payload).await?;
        let bus = guarded.bus(bus, policies, self.chance.randomness());
        let longest = bus.capabilities().max_hold;
        let claim_after = settings.claim_after.or(longest.map(|longest| longest / 2));
        let registry = self.registry.unwrap_or_else(|| "memory:".into());
        let registry = registry.open().await?;
        let randomness = self.chance.randomness();
        let registry = guarded.registry(registry, private_registry, policies, randomness);
        let lease = settings.agent_lease;
        let ports = Arc::new(Ports {
            bus,
            claim_after,
            shared_registry: !private_registry,
            registry,
            journal,
            for_agents: guarded.for_agents(&store),
            store,
            clock: self.chance.clock(),
            calendar: Arc::default(),
            chance: self.chance,
            settings,
            limits: Limits::default(),
            private,
        });
        ports.limits.load(&ports.store, &offered).await?;
        let prepared = Arc::new(PreparedRuns::default());
        let admission = self.resilience.admission().filter(|_| self.coordinates);
        let submitter = Submitter::new(
            Arc::clone(&ports),
            Arc::clone(&hosted),
            self.coordinates.then(|| Arc::clone(&prepared)),
            admission.clone(),
        );
        let (progress, publisher) = ProgressPublisher::new();
        let services = Arc::new(Services {
            ports: Arc::clone(&ports),
            submitter: submitter.clone(),
            progress,
            reported: Notify::new(),
        });
        let worker = Worker::new(incarnation, hosted, guards, services);
        // A start that fails half-way leaves no agents behind.
        let unless_started = worker.stop_on_drop();
        worker.start(publisher).await?;
        // Begun after the registrations, so that the view is complete with them.
        let view = self.discovery.view(lease);
        let view = view.follow(Arc::clone(&ports.registry)).await?;
        let follows_queues = private_registry && !private_bus;
        let chance = &ports.chance;
        let routes =
            (!routes.is_empty()).then(|| Routes::new(view.clone(), routes, chance.randomness()));
        let quarantines = Quarantines::new(held, ports.clock, chance.randomness());
        let quarantines = Arc::new(quarantines);
        let coordinator = if self.coordinates {
            let listeners =
                follows_queues.then(|| Arc::new(Listeners::new(Arc::clone(&ports.bus))));
            let shared = Shared {
                ports: Arc::clone(&ports),
                worker: Arc::clone(&worker),
                view: view.clone(),
                listeners,
                routes: routes.clone(),
                budgets,
                redrives,
                quarantines: Arc::clone(&quarantines),
                check: self.discovery.check.filter(|_| !private_registry),
                catalogue: self.catalogue,
                prepared,
                admission,
                drain: CancellationToken::new(),
                abort: CancellationToken::new(),
                tracker: TaskTracker::new(),
                hands_over: !private_bus,
                name: worker.incarnation.to_string().into(),
                randomness: chance.randomness(),
            };
            Some(Coordinator::start(Arc::new(shared)).await?)
        } else {
            None
        };
        unless_started.disarm();
        Ok(Runtime {
            inner: Arc::new(Inner {
                submitter,
                worker,
                quarantines: coordinator.is_some().then_some(quarantines),
                coordinator,
                view,
                routes,
                asker: OnceCell::new(),
                hedges: Hedges::default(),
                drain: self.drain,
                owns_bus,
                follows_queues,
                guarded,
                closed: AtomicBool::new(false),
            }),
        })
    }
}
