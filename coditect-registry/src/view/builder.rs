//! The settings of a view.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{SlowStart, View};
use crate::{NoObserver, Observer, Registry, Result};

/// Collects the settings of a [`View`].
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use coditect_registry::{MemoryRegistry, SlowStart, View};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> coditect_registry::Result<()> {
/// let view = View::builder()
///     .with_slow_start(SlowStart::over(Duration::from_secs(30)))
///     .with_stale_limit(Some(Duration::from_secs(60)))
///     .follow(Arc::new(MemoryRegistry::new()))
///     .await?;
/// assert!(!view.is_stale());
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is followed before `follow`"]
#[derive(Clone)]
pub struct ViewBuilder {
    pub(super) observer: Arc<dyn Observer>,
    pub(super) slow_start: Option<SlowStart>,
    pub(super) grace: Duration,
    pub(super) stale_limit: Option<Duration>,
}

impl ViewBuilder {
    /// How long those are kept whom a registry has forgotten together with most others, unless set otherwise.
    pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);

    /// How long a view is chosen from while its registry cannot be reached, unless set otherwise.
    pub const DEFAULT_STALE_LIMIT: Duration = Duration::from_secs(5 * 60);

    /// Sets who is told of resyncs, interruptions and ejections.
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Sets how instances that are new come up to their share of the work; by default they get all of it at once.
    pub fn with_slow_start(mut self, slow_start: SlowStart) -> Self {
        self.slow_start = Some(slow_start);
        self
    }

    /// Sets how long those are kept whom a resync leaves out together with more than half of all; zero drops them at once.
    ///
    /// A registry that has lost its data and started anew knows nobody until all have registered again, and they are all
    /// there still. Meanwhile they are chosen only if nobody is known for certain. Make it about as long as it takes
    /// for an agent to notice that its lease is lost, which is the time between two renewals.
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets for how long the view is chosen from while its registry cannot be reached; `None` for ever.
    ///
    /// After it picks give nothing, since who is known may be long gone; everything else goes on telling what is known.
    pub fn with_stale_limit(mut self, limit: Option<Duration>) -> Self {
        self.stale_limit = limit;
        self
    }

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
    pub async fn follow(self, registry: Arc<dyn Registry>) -> Result<View> {
        View::begin(self, registry).await
    }
}

impl Default for ViewBuilder {
    fn default() -> Self {
        Self {
            observer: Arc::new(NoObserver),
            slow_start: None,
            grace: Self::DEFAULT_GRACE,
            stale_limit: Some(Self::DEFAULT_STALE_LIMIT),
        }
    }
}

impl fmt::Debug for ViewBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewBuilder")
            .field("slow_start", &self.slow_start)
            .field("grace", &self.grace)
            .field("stale_limit", &self.stale_limit)
            .finish_non_exhaustive()
    }
}
