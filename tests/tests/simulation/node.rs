//! The nodes of a simulation: each is started, dies, is started again as another incarnation, until the end.

use std::sync::Arc;
use std::time::Duration;

use coditect_core::bus::{MemoryBus, MessageBus};
use coditect_core::dag::journal::{MemoryConfig, MemoryJournal, PartitionCount, RunJournal};
use coditect_core::guard::GuardPolicy;
use coditect_core::prelude::*;
use coditect_core::registry::{MemoryRegistry, Registry, Strategy};
use coditect_core::resilience::Breaker;
use coditect_core::state::{MemoryStore, StateStore};
use coditect_core::{Dispatch, Error};
use coditect_harness::Random;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::agents::{self, Stage};
use crate::bus::SimBus;
use crate::journal::SimJournal;
use crate::life::Life;
use crate::outage;
use crate::planted::Planted;
use crate::ports::SimRegistry;
use crate::scenario::Scenario;
use crate::store::SimStore;
use crate::witness::Witness;
use crate::world::{NOBODY, World};

/// Said while a breaker holds calls of an agent back.
pub(crate) const LEFT_ALONE: &str = "an agent is left alone";

/// How the nodes of a simulation are set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) nodes: Vec<Role>,
    partitions: u16,
    partition_lease: Duration,
    agent_lease: Duration,
    claim_after: Option<Duration>,
    dispatch: Dispatch,
    window: usize,
    routed: bool,
    guarded: bool,
    slots: usize,
}

/// What a node does, and how far its clock is from the others'.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Role {
    coordinates: bool,
    works: bool,
    ahead: Duration,
    /// It joins the others after this time, also where there are no faults.
    joins_after: Duration,
}

impl Setup {
    pub(crate) fn drawn(random: &mut Random) -> Self {
        let count = 2 + random.below(3);
        let skew = [0, 50, 700][random.below(3) as usize];
        let nodes = (0..count).map(|index| {
            // The first does everything, so that there is one of each.
            let kind = if index == 0 { 0 } else { random.below(4) };
            Role {
                coordinates: kind != 1,
                works: kind != 2,
                ahead: Duration::from_millis(random.below(skew + 1)),
                joins_after: match (index, random.below(2)) {
                    (0, _) | (_, 0) => Duration::ZERO,
                    _ => Duration::from_millis(random.below(4_000)),
                },
            }
        });
        Self {
            nodes: nodes.collect(),
            partitions: 1 + random.below(4) as u16,
            partition_lease: Duration::from_millis(400 + random.below(1_500)),
            agent_lease: Duration::from_millis(500 + random.below(1_500)),
            claim_after: [None, Some(Duration::from_millis(20 + random.below(300)))]
                [random.below(2) as usize],
            dispatch: [Dispatch::Bus, Dispatch::LocalFirst][random.below(2) as usize],
            window: [1, 3, 256][random.below(3) as usize],
            routed: random.below(4) == 0,
            guarded: random.below(3) == 0,
            slots: 1 + random.below(4) as usize,
        }
    }
}

/// All nodes, and what they share.
pub(crate) struct Cluster {
    pub(crate) world: Arc<World>,
    pub(crate) witness: Arc<Witness>,
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) setup: Setup,
    pub(crate) bus: MemoryBus,
    pub(crate) journal: Arc<MemoryJournal>,
    registry: Arc<MemoryRegistry>,
    store: Arc<MemoryStore>,
    pub(crate) planted: Option<Planted>,
    slots: Vec<Slot>,
}

/// The place of a node.
#[derive(Default)]
struct Slot {
    now: Mutex<Option<(Arc<Life>, Option<Runtime>)>>,
    /// Asks the node to leave in an orderly way.
    leave: Notify,
}

impl Cluster {
    pub(crate) fn new(
        world: Arc<World>,
        scenario: Scenario,
        setup: Setup,
        planted: Option<Planted>,
    ) -> Arc<Self> {
        let scenario = Arc::new(scenario);
        let partitions = PartitionCount::new(setup.partitions).expect("there are some");
        let config = MemoryConfig::default().with_partitions(partitions);
        Arc::new(Self {
            witness: Arc::new(Witness::new(&world, &scenario)),
            slots: setup.nodes.iter().map(|_| Slot::default()).collect(),
            bus: MemoryBus::builder().with_wall_clock(World::epoch()).build(),
            journal: Arc::new(MemoryJournal::new(config)),
            registry: Arc::new(MemoryRegistry::new()),
            store: Arc::new(MemoryStore::new()),
            world,
            scenario,
            setup,
            planted,
        })
    }

    /// Some node that lives, if there is one.
    pub(crate) fn any_runtime(&self) -> Option<Runtime> {
        let running: Vec<_> = self
            .slots
            .iter()
            .filter_map(|slot| slot.now.lock().as_ref()?.1.clone())
            .collect();
        let count = running.len() as u64;
        (count > 0).then(|| running[self.world.below(count) as usize].clone())
    }

    /// Writes down when breakers hold calls back.
    pub(crate) async fn watch_breakers(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_millis(150)).await;
            for slot in &self.slots {
                let runtime = slot.now.lock().as_ref().and_then(|now| now.1.clone());
                let Some(runtime) = runtime else { continue };
                let is_open = |breakers: Vec<Breaker>| {
                    let mut open = breakers.iter().filter(|breaker| !breaker.is_flowing());
                    open.next().is_some()
                };
                if is_open(runtime.breakers()) {
                    self.world.note(NOBODY, LEFT_ALONE, [0, 0]);
                }
                if is_open(runtime.port_breakers()) {
                    self.world.note(NOBODY, "a port is left alone", [0, 0]);
                }
            }
        }
    }

    /// The present start of a node, if it has one.
    pub(crate) fn life(&self, node: usize) -> Option<Arc<Life>> {
        let now = self.slots[node].now.lock();
        now.as_ref().map(|(life, _)| Arc::clone(life))
    }

    /// Asks a node to leave in an orderly way.
    pub(crate) fn leave(&self, node: usize) {
        self.slots[node].leave.notify_one();
    }

    /// Keeps a node running: whenever it dies or leaves, it is started again.
    pub(crate) async fn keep(self: Arc<Self>, node: usize) {
        let slot = &self.slots[node];
        let number = u8::try_from(node).expect("they are few");
        tokio::time::sleep(self.setup.nodes[node].joins_after).await;
        loop {
            let life = Life::new(&self.world, number);
            *slot.now.lock() = Some((Arc::clone(&life), None));
            life.note("starts", [0, 0]);
            let started = tokio::select! {
                biased;
                () = life.died() => None,
                started = self.start(node, &life) => Some(started),
            };
            match started {
                Some(Ok(runtime)) => {
                    life.note("has started", [0, 0]);
                    if let Some(now) = &mut *slot.now.lock() {
                        now.1 = Some(runtime.clone());
                    }
                    tokio::select! {
                        biased;
                        () = life.died() => {}
                        () = slot.leave.notified() => {
                            life.note("leaves", [0, 0]);
                            let _ = tokio::time::timeout(
                                Duration::from_secs(4),
                                runtime.shutdown(),
                            )
                            .await;
                        }
                    }
                }
                Some(Err(_)) => life.note("cannot start", [0, 0]),
                None => {}
            }
            let longest = if life.is_dead() { 1_500 } else { 100 };
            life.kill();
            *slot.now.lock() = None;
            let span = Duration::from_millis(20 + self.world.below(longest));
            tokio::time::sleep(span).await;
        }
    }

    async fn start(&self, node: usize, life: &Arc<Life>) -> Result<Runtime, Error> {
        let (setup, role) = (&self.setup, self.setup.nodes[node]);
        let bus = SimBus::new(&self.bus, life, &self.witness, self.planted);
        let journal = SimJournal::new(&self.journal, life, &self.witness, self.planted);
        let registry = SimRegistry {
            inner: Arc::clone(&self.registry),
            life: Arc::clone(life),
        };
        let store = SimStore {
            inner: Arc::clone(&self.store),
            life: Arc::clone(life),
            planted: self.planted,
        };
        let state = (
            Arc::new(journal) as Arc<dyn RunJournal>,
            Arc::new(store) as Arc<dyn StateStore>,
        );
        let now = World::epoch() + self.world.elapsed() + role.ahead;
        let mut builder = Runtime::builder()
            .bus(Arc::new(bus) as Arc<dyn MessageBus>)
            .registry(Arc::new(registry) as Arc<dyn Registry>)
            .state(state)
            .simulated(self.world.number(), now)
            .leases(setup.partition_lease, setup.agent_lease)
            .dispatch(setup.dispatch)
            .dispatch_window(setup.window)
            .grace(Duration::from_millis(50))
            .drain_limit(Duration::from_secs(2))
            .check_agents(None);
        if let Some(span) = setup.claim_after {
            builder = builder.claim_after(span);
        }
        // Those that stand before servers otherwise.
        if setup.guarded {
            builder = builder
                .guard_bus(GuardPolicy::bus().with_breaker(outage::breaker()))
                .guard_registry(GuardPolicy::registry().with_breaker(outage::breaker()))
                .guard_state(GuardPolicy::state().with_breaker(outage::breaker()));
        }
        if setup.routed {
            builder = builder.route("work", Strategy::RoundRobin);
        }
        if !role.coordinates {
            builder = builder.worker_only();
        }
        if role.works {
            let stage = Stage {
                life: Arc::clone(life),
                witness: Arc::clone(&self.witness),
                scenario: Arc::clone(&self.scenario),
                planted: self.planted,
                slots: setup.slots,
                refused: Arc::default(),
            };
            builder = agents::add(builder, &stage, setup.slots);
        }
        builder
            .aggregator("sum", || {
                coditect_core::aggregate::reduce(0, |sum: u64, x: u64| sum + x)
            })
            .start()
            .await
    }
}
