//! An in-process cluster: several runtimes on one bus, registry and journal, any of which can be killed.

mod node;
mod simulated;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{MemoryBus, MessageBus};
use coditect_dag::journal::{MemoryConfig, MemoryJournal, PartitionCount, RunJournal};
use coditect_registry::{MemoryRegistry, Registry};
use coditect_state::{MemoryStore, StateStore};

pub use self::node::Node;

use crate::error::Error;
use crate::ports::Dispatch;
use crate::runtime::{Runtime, RuntimeBuilder};

/// How long silence lasts before a node is taken for dead.
const LEASE: Duration = Duration::from_millis(400);

/// Several runtimes that share a bus, a registry, a journal and a store, all in memory.
///
/// Each node has threads of its own, so that [`Node::kill`] is as sudden as the death of a process:
/// nothing of the node runs after it, no lease is given back and no delivery settled.
///
/// # Examples
///
/// ```
/// use coditect_core::prelude::*;
/// use coditect_core::testing::Cluster;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), coditect_core::Error> {
/// const DOUBLE: Call<u64, u64> = Call::new("double");
///
/// let cluster = Cluster::new();
/// let _coordinator = cluster.node(|builder| builder).await?;
/// let worker = cluster
///     .node(|builder| {
///         builder
///             .worker_only()
///             .agent(agent("double", async |x: u64| Ok::<_, AgentError>(2 * x)))
///     })
///     .await?;
/// assert_eq!(worker.runtime().run(&DOUBLE, 21).await?, 42);
/// # Ok(())
/// # }
/// ```
pub struct Cluster {
    bus: Arc<MemoryBus>,
    registry: Arc<dyn Registry>,
    journal: Arc<dyn RunJournal>,
    store: Arc<dyn StateStore>,
    dispatch: Dispatch,
}

impl Cluster {
    /// Makes a cluster without nodes, of four partitions, in which every task goes over the bus.
    #[must_use]
    pub fn new() -> Self {
        const PARTITIONS: PartitionCount = PartitionCount::new(4).expect("four is not none");
        let config = MemoryConfig::default().with_partitions(PARTITIONS);
        Self {
            bus: Arc::new(MemoryBus::new()),
            registry: Arc::new(MemoryRegistry::new()),
            journal: Arc::new(MemoryJournal::new(config)),
            store: Arc::new(MemoryStore::new()),
            dispatch: Dispatch::Bus,
        }
    }

    /// Sets where nodes send tasks that agents of their own could take.
    #[must_use]
    pub fn with_dispatch(mut self, dispatch: Dispatch) -> Self {
        self.dispatch = dispatch;
        self
    }

    /// Starts a node; `describe` adds agents and settings to a builder that stands on the cluster.
    ///
    /// # Errors
    ///
    /// Those of [`RuntimeBuilder::start`].
    pub async fn node(
        &self,
        describe: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder,
    ) -> Result<Node, Error> {
        let builder = Runtime::builder()
            .bus(Arc::clone(&self.bus) as Arc<dyn MessageBus>)
            .registry(Arc::clone(&self.registry))
            .state((Arc::clone(&self.journal), Arc::clone(&self.store)))
            .dispatch(self.dispatch)
            .leases(LEASE, LEASE);
        Node::start(describe(builder)).await
    }

    /// The bus of the cluster; [`MemoryBus::sever`] cuts every connection to it.
    #[must_use]
    pub fn bus(&self) -> &Arc<MemoryBus> {
        &self.bus
    }

    /// The journal of the cluster.
    #[must_use]
    pub fn journal(&self) -> &Arc<dyn RunJournal> {
        &self.journal
    }

    /// How long silence lasts before a node is taken for dead.
    #[must_use]
    pub const fn lease(&self) -> Duration {
        LEASE
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("dispatch", &self.dispatch)
            .finish_non_exhaustive()
    }
}
