//! A registry's records kept in this process, so that choosing an agent costs no round trip.

mod builder;
mod follow;
mod index;
mod offer;
mod picked;
mod pool;
mod shared;
mod slow_start;

pub use builder::ViewBuilder;
pub use picked::Picked;
pub use slow_start::SlowStart;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::shared::Shared;
use crate::{
    AgentRecord, Candidate, CapabilityName, Catalogue, Ejection, Filter, Instance, Observer,
    Registry, Requirement, Result, Selector, TenantId,
};

/// Keeps a copy of a registry by its watch and chooses agents from it, without I/O.
///
/// A clone is another handle to the same copy. The task that follows the registry ends when the last handle is
/// dropped; [`close`](Self::close) also waits for it.
///
/// **What is chosen.** Instances that are draining or evicted never; degraded ones only if no ready one meets the
/// requirement; those that a [`Balancer`](crate::Balancer) has ejected, and those that a registry seems to have forgotten,
/// only if nobody else does. Agents of a tenant are chosen only through [`for_tenant`](Self::for_tenant), and there before
/// those that serve all.
///
/// **When the registry cannot be reached** the view goes on with what it knows, is [stale](Self::is_stale), and tries to
/// follow again, for ever, after waits that grow from 0.1 to 5 seconds and are half random. When it can, it takes over what
/// there is now, and keeps what is in flight at those who are still there. Only when it has been stale for longer than a
/// [limit](ViewBuilder::with_stale_limit) do picks give nothing. If the registry has come back with less than half of
/// those who were known, it is more likely to have lost its data than they are to have ended: the others stay for a
/// [grace](ViewBuilder::with_grace), chosen only if nobody else is there.
///
/// **What it costs.** For each requirement that is asked for, the view keeps the matching candidates at hand: the first
/// pick sorts them out, O(n), and every later change costs O(log n). At most [`MAX_STANDING`](Self::MAX_STANDING) different
/// requirements per capability name are kept so, and the oldest makes room.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use coditect_registry::{AgentRecord, Capability, Incarnation, LeastConnections, MemoryRegistry, Registry, View};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Arc::new(MemoryRegistry::new());
/// let record = AgentRecord::new("writer".parse()?, Incarnation::fresh())
///     .with_capabilities([Capability::new("summarize", "1.0.0".parse()?)?]);
/// registry.register(record, Duration::from_secs(10)).await?;
///
/// let view = View::follow(registry).await?;
/// let picked = view.pick(&"summarize".parse()?, &LeastConnections, 42).ok_or("nobody can summarize")?;
/// assert_eq!(picked.record().agent().as_str(), "writer");
/// assert_eq!(picked.candidate().load().in_flight, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct View {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    follower: TaskTracker,
    cancel: CancellationToken,
    _cancel_on_drop: DropGuard,
}

impl View {
    /// How many different requirements per capability name (and tenant) are kept at hand.
    pub const MAX_STANDING: usize = pool::MAX_STANDING;

    /// Begins to follow a registry; the view is complete when this returns.
    ///
    /// # Errors
    ///
    /// Those of [`Registry::watch`].
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub async fn follow(registry: Arc<dyn Registry>) -> Result<Self> {
        Self::builder().follow(registry).await
    }

    /// As [`follow`](Self::follow), and tells an observer of resyncs and interruptions.
    ///
    /// # Errors
    ///
    /// Those of [`Registry::watch`].
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub async fn follow_observed(
        registry: Arc<dyn Registry>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self> {
        Self::builder()
            .with_observer(observer)
            .follow(registry)
            .await
    }

    /// Begins to make a view with other settings.
    pub fn builder() -> ViewBuilder {
        ViewBuilder::default()
    }

    async fn begin(settings: ViewBuilder, registry: Arc<dyn Registry>) -> Result<Self> {
        let shared = Arc::new(Shared::new(settings));
        let watch = follow::begin(&shared, &*registry).await?;
        let (cancel, follower) = (CancellationToken::new(), TaskTracker::new());
        let task = follow::run(Arc::clone(&shared), registry, watch);
        let stopped = cancel.clone();
        follower.spawn(async move { stopped.run_until_cancelled(task).await });
        follower.close();
        let _cancel_on_drop = cancel.clone().drop_guard();
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                follower,
                cancel,
                _cancel_on_drop,
            }),
        })
    }

    /// Chooses an agent that serves all and counts the task as in flight there; `None` if nobody offers what is required.
    ///
    /// `random` is uniform over all `u64`; the same view, selector, time and number give the same choice. What becomes of
    /// the task is not heard of; a [`Balancer`](crate::Balancer) also learns from that.
    pub fn pick(
        &self,
        requirement: &Requirement,
        selector: &dyn Selector,
        random: u64,
    ) -> Option<Picked> {
        self.pick_at(None, requirement, selector, Instant::now(), random)
    }

    pub(crate) fn pick_at(
        &self,
        tenant: Option<&TenantId>,
        requirement: &Requirement,
        selector: &dyn Selector,
        now: Instant,
        random: u64,
    ) -> Option<Picked> {
        self.inner
            .shared
            .pick(tenant, requirement, selector, now, random)
    }

    pub(crate) fn eject(
        &self,
        candidate: &Candidate,
        name: &CapabilityName,
        policy: &Ejection,
        now: Instant,
        random: u64,
    ) {
        self.inner
            .shared
            .eject(candidate, name, policy, now, random);
    }

    /// Tells whether [`pick`](Self::pick) has someone to choose from.
    pub fn offers(&self, requirement: &Requirement) -> bool {
        self.inner.shared.index.read().offers(None, requirement)
    }

    /// Chooses on behalf of a tenant.
    pub fn for_tenant<'a>(&'a self, tenant: &'a TenantId) -> TenantView<'a> {
        TenantView { view: self, tenant }
    }

    /// Returns the candidate that stands for an instance, for instance to send it what belongs to it.
    pub fn candidate(&self, instance: &Instance) -> Option<Candidate> {
        self.inner.shared.index.read().candidate(instance).cloned()
    }

    /// Returns all records as last heard, in no particular order.
    pub fn records(&self) -> Vec<Arc<AgentRecord>> {
        self.inner.shared.index.read().records()
    }

    /// Lists what is on offer among the records that pass the filter, as last heard: each capability in each version, with
    /// its schemas, who offers it, and how they are.
    pub fn catalogue(&self, filter: &Filter) -> Catalogue {
        let mut records = self.records();
        records.retain(|record| filter.matches(record));
        Catalogue::of(&records)
    }

    /// Returns how many instances there are.
    pub fn len(&self) -> usize {
        self.inner.shared.index.read().len()
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of the last change that the view knows.
    pub fn sequence(&self) -> u64 {
        self.inner.shared.sequence.load(Ordering::Acquire)
    }

    /// Tells whether the view is following; `false` while its watch is broken and it goes on with what it knows.
    pub fn is_current(&self) -> bool {
        !self.is_stale()
    }

    /// Tells whether the watch is broken, or the view closed: it goes on with what it knows.
    pub fn is_stale(&self) -> bool {
        self.inner.shared.is_stale()
    }

    /// Returns since when the view has been stale, if it is.
    pub fn stale_since(&self) -> Option<Instant> {
        self.inner.shared.stale_since()
    }

    /// Tells whether the view has been stale for longer than its [limit](ViewBuilder::with_stale_limit), so that picks give
    /// nothing although somebody may be known who meets the requirement.
    pub fn is_expired(&self, now: Instant) -> bool {
        self.inner.shared.is_expired(now)
    }

    /// Waits until who may be chosen has changed since this was *called*; changes of load alone do not count.
    ///
    /// A hint: look again after it. Call it before you look, so that nothing falls between:
    ///
    /// ```
    /// # use coditect_registry::{Requirement, View};
    /// async fn offered(view: &View, requirement: &Requirement) {
    ///     loop {
    ///         let changed = view.changed();
    ///         if view.offers(requirement) {
    ///             return;
    ///         }
    ///         changed.await;
    ///     }
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + '_ {
        self.inner.shared.changed.notified()
    }

    /// Stops following and waits until the task has ended; what is known can still be read.
    ///
    /// # Cancel safety
    ///
    /// If dropped, following stops all the same.
    pub async fn close(&self) {
        self.inner.cancel.cancel();
        self.inner.follower.wait().await;
        self.inner.shared.set_stale(Instant::now());
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("instances", &self.len())
            .field("sequence", &self.sequence())
            .field("current", &self.is_current())
            .finish_non_exhaustive()
    }
}

/// Chooses on behalf of a tenant: among its own agents, and if none of them will do, among those that serve all.
#[derive(Clone, Copy, Debug)]
pub struct TenantView<'a> {
    view: &'a View,
    tenant: &'a TenantId,
}

impl TenantView<'_> {
    /// Chooses an agent for the tenant; otherwise as [`View::pick`].
    pub fn pick(
        &self,
        requirement: &Requirement,
        selector: &dyn Selector,
        random: u64,
    ) -> Option<Picked> {
        let now = Instant::now();
        self.view
            .pick_at(Some(self.tenant), requirement, selector, now, random)
    }

    /// Tells whether [`pick`](Self::pick) has someone to choose from.
    pub fn offers(&self, requirement: &Requirement) -> bool {
        self.view
            .inner
            .shared
            .index
            .read()
            .offers(Some(self.tenant), requirement)
    }
}

#[cfg(test)]
mod tests;
