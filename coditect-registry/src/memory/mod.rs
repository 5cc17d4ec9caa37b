//! The registry that lives in this process, always there and gone with it.

mod role;
mod state;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

use self::state::State;
use crate::{
    AgentRecord, FencingToken, Filter, Health, Incarnation, Instance, Load, NoObserver, Observer,
    Registration, Registry, Result, Role, Verdict, Watch, validate_ttl,
};

/// Keeps the records of agents in this process; its clock is tokio's, so that paused time expires leases.
///
/// Leases need no task: every operation first takes out what has expired, and a watch wakes up for the next expiry.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use coditect_registry::{AgentRecord, Health, Incarnation, Load, MemoryRegistry, Registry};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> coditect_registry::Result<()> {
/// let registry = MemoryRegistry::new();
/// let record = AgentRecord::new("writer".parse()?, Incarnation::fresh());
/// let registration = registry.register(record, Duration::from_secs(10)).await?;
/// registry.renew(&registration, Load::new(3, 8), Health::Ready).await?;
/// # Ok(())
/// # }
/// ```
pub struct MemoryRegistry {
    shared: Arc<Shared>,
}

/// What the registry shares with its watches.
struct Shared {
    state: Mutex<State>,
}

impl MemoryRegistry {
    /// Makes an empty registry with the usual settings.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Begins to make a registry with other settings.
    pub fn builder() -> MemoryRegistryBuilder {
        MemoryRegistryBuilder::default()
    }

    /// Returns the number of the last change.
    pub fn sequence(&self) -> u64 {
        self.with_live(|state, _| state.sequence())
    }

    /// Takes out what has expired, then does something with what is left.
    fn with_live<T>(&self, act: impl FnOnce(&mut State, Instant) -> T) -> T {
        self.shared.with_live(act)
    }
}

impl Shared {
    fn with_live<T>(&self, act: impl FnOnce(&mut State, Instant) -> T) -> T {
        let mut state = self.state.lock();
        let now = Instant::now();
        state.expire(now);
        act(&mut state, now)
    }
}

impl Default for MemoryRegistry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRegistry")
            .field("instances", &self.shared.state.lock().len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Registry for MemoryRegistry {
    async fn register(&self, record: AgentRecord, ttl: Duration) -> Result<Registration> {
        record.validate()?;
        validate_ttl(ttl)?;
        self.with_live(|state, now| state.register(record, ttl, now))
    }

    async fn renew(&self, registration: &Registration, load: Load, health: Health) -> Result<()> {
        self.with_live(|state, now| state.renew(registration, load, health, now))
    }

    async fn update(&self, registration: &Registration, record: AgentRecord) -> Result<()> {
        record.validate()?;
        self.with_live(|state, _| state.update(registration, record))
    }

    async fn judge(&self, instance: &Instance, verdict: Option<Verdict>) -> Result<()> {
        self.with_live(|state, _| state.judge(instance, verdict))
    }

    async fn elect(
        &self,
        role: &Role,
        candidate: Incarnation,
        ttl: Duration,
    ) -> Result<Option<FencingToken>> {
        validate_ttl(ttl)?;
        Ok(self.with_live(|state, now| state.elect(role, candidate, ttl, now)))
    }

    async fn resign(&self, role: &Role, candidate: Incarnation) -> Result<()> {
        self.with_live(|state, _| state.roles.resign(role, candidate));
        Ok(())
    }

    async fn deregister(&self, registration: &Registration) -> Result<()> {
        self.with_live(|state, _| state.deregister(registration));
        Ok(())
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Arc<AgentRecord>>> {
        Ok(self.with_live(|state, _| state.list(filter)))
    }

    async fn watch(&self) -> Result<Watch> {
        Ok(watch::begin(Arc::clone(&self.shared)))
    }
}

/// Collects the settings of a [`MemoryRegistry`].
#[must_use = "nothing is made before `build`"]
pub struct MemoryRegistryBuilder {
    watch_buffer: usize,
    first_token: Option<FencingToken>,
    observer: Arc<dyn Observer>,
}

impl MemoryRegistryBuilder {
    /// How many changes a watch may be behind before it gets a resync, unless set otherwise.
    pub const DEFAULT_WATCH_BUFFER: usize = 1024;

    /// Sets how many changes a watch may be behind before it gets a resync: rounded up to a power of two, at most 2²⁰.
    pub fn with_watch_buffer(mut self, changes: usize) -> Self {
        self.watch_buffer = changes.clamp(1, 1 << 20);
        self
    }

    /// Sets the first fencing token, for a run that must repeat exactly; by default the clock, so that tokens grow over
    /// restarts of the process.
    pub fn with_first_token(mut self, token: FencingToken) -> Self {
        self.first_token = Some(token);
        self
    }

    /// Sets who is told what happens.
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Makes the registry, empty.
    pub fn build(self) -> MemoryRegistry {
        let first = self.first_token.unwrap_or_else(|| {
            FencingToken::new(
                SystemTime::UNIX_EPOCH
                    .elapsed()
                    .map_or(1, |since| since.as_micros() as u64),
            )
        });
        let state = State::new(self.watch_buffer, first, self.observer);
        MemoryRegistry {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
            }),
        }
    }
}

impl Default for MemoryRegistryBuilder {
    fn default() -> Self {
        Self {
            watch_buffer: Self::DEFAULT_WATCH_BUFFER,
            first_token: None,
            observer: Arc::new(NoObserver),
        }
    }
}

impl fmt::Debug for MemoryRegistryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRegistryBuilder")
            .field("watch_buffer", &self.watch_buffer)
            .field("first_token", &self.first_token)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
