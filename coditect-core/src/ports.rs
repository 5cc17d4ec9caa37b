//! The ports that a runtime stands on, shared by its worker, coordinator and handles.

use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{MessageBus, QueueSpec};
use coditect_dag::journal::{Partition, RunJournal};
use coditect_registry::Registry;
use coditect_state::StateStore;
use tokio_util::sync::CancellationToken;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::error::Error;
use crate::limit::known::Limits;
use crate::schedule::CalendarClock;
use crate::wire;

/// What everything in a runtime shares.
pub(crate) struct Ports {
    pub(crate) bus: Arc<dyn MessageBus>,
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) journal: Arc<dyn RunJournal>,
    pub(crate) store: Arc<dyn StateStore>,
    /// The same store for what agents keep in it.
    pub(crate) for_agents: Arc<dyn StateStore>,
    pub(crate) clock: Clock,
    /// By which schedules go.
    pub(crate) calendar: Arc<CalendarClock>,
    pub(crate) chance: Chance,
    pub(crate) settings: Settings,
    /// How many tasks of capabilities and tenants may be worked on, by all together.
    pub(crate) limits: Limits,
    /// After how long a handler claims what it works on and lets its delivery go; none where deliveries may be held
    /// for ever.
    pub(crate) claim_after: Option<Duration>,
    /// Whether agents of other processes may be in the registry, and see those of this one.
    pub(crate) shared_registry: bool,
    /// Said of a journal that nobody else sees.
    pub(crate) private: Option<PrivateJournal>,
}

/// A journal of this runtime alone.
pub(crate) struct PrivateJournal {
    /// Tells its partitions from those of others on the same bus.
    name: Arc<str>,
    lifetime: Lifetime,
    /// Fires when nobody will carry its runs forward any more.
    ended: CancellationToken,
}

/// How long the runs of a journal are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// As long as this process lives.
    Process,
    /// Until they are deleted, so that another process goes on with them.
    #[cfg_attr(not(feature = "embedded"), expect(dead_code, reason = "no such store"))]
    Store,
}

impl PrivateJournal {
    pub(crate) fn new(name: Arc<str>, lifetime: Lifetime) -> Self {
        Self {
            name,
            lifetime,
            ended: CancellationToken::new(),
        }
    }
}

impl Ports {
    /// Says whether the runs of the journal will never change again.
    pub(crate) fn has_ended(&self) -> bool {
        let private = self.private.as_ref();
        private.is_some_and(|private| private.ended.is_cancelled())
    }

    /// Waits until nobody will carry runs forward any more.
    pub(crate) async fn ended(&self) {
        match &self.private {
            Some(private) => private.ended.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Tells those who wait for runs that nobody will carry them forward any more.
    pub(crate) fn end(&self) {
        if let Some(private) = &self.private {
            private.ended.cancel();
        }
    }

    /// The queue of what workers tell the owner of a partition. That of a journal which goes with its process goes
    /// with it, as nobody else could use what it holds.
    pub(crate) fn outcome_queue(&self, partition: Partition) -> Result<QueueSpec, Error> {
        match &self.private {
            Some(private) => {
                let name = wire::outcome_queue(Some(&private.name), partition)?;
                Ok(match private.lifetime {
                    Lifetime::Process => QueueSpec::temporary(name),
                    Lifetime::Store => QueueSpec::new(name),
                })
            }
            None => Ok(QueueSpec::new(wire::outcome_queue(None, partition)?)),
        }
    }
}

/// What can be tuned, with the values where nothing is said.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The largest input or output, in bytes.
    pub(crate) max_payload: usize,
    /// How long a handler may go on after it was told to stop.
    pub(crate) grace: Duration,
    /// How many tasks of one capability and tenant may be on the bus at once.
    pub(crate) dispatch_window: usize,
    /// How long a partition stays with a coordinator that has fallen silent.
    pub(crate) partition_lease: Duration,
    /// How long an agent stays in the registry when its process has fallen silent.
    pub(crate) agent_lease: Duration,
    pub(crate) dispatch: Dispatch,
    /// After how long an attempt is claimed, where that was said.
    pub(crate) claim_after: Option<Duration>,
}

/// Where ready tasks go that an agent of the same process could take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dispatch {
    /// To an agent of this process when it has a free slot, over the bus otherwise.
    LocalFirst,
    /// To agents of this process only, as long as it has some; right where nobody else is on the bus.
    LocalOnly,
    /// Always over the bus.
    Bus,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_payload: 1024 * 1024,
            grace: Duration::from_secs(5),
            dispatch_window: 256,
            partition_lease: Duration::from_secs(5),
            agent_lease: Duration::from_secs(10),
            dispatch: Dispatch::LocalFirst,
            claim_after: None,
        }
    }
}
