//! By which rules the agents of a capability are chosen.

use std::sync::Arc;
use std::time::Duration;

use super::Strategy;
use crate::{Ejection, Selector};

/// Says how agents are chosen for a capability, for how long observations count, and when an agent is set aside.
///
/// By default the less loaded of two drawn at random is chosen, ejection is on, and observations fade over ten seconds.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use coditect_registry::{Ejection, Policy, Strategy};
///
/// let policy = Policy::new("least-connections".parse::<Strategy>()?)
///     .with_decay(Duration::from_secs(60))
///     .with_ejection(Some(Ejection::default().with_failures_in_row(3)));
/// # let _ = policy;
/// # Ok::<_, coditect_registry::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Policy {
    selector: Arc<dyn Selector>,
    decay: Duration,
    ejection: Option<Ejection>,
}

impl Policy {
    /// For how long observations count, unless set otherwise.
    pub const DEFAULT_DECAY: Duration = Duration::from_secs(10);

    /// Chooses by a [`Strategy`], or a selector of one's own.
    pub fn new(selector: impl Selector) -> Self {
        Self {
            selector: Arc::new(selector),
            decay: Self::DEFAULT_DECAY,
            ejection: Some(Ejection::default()),
        }
    }

    /// Sets for how long observations of latency and failure count in [`PeakEwma`](crate::PeakEwma): after this time a third
    /// of their weight is left. A few times as long as tasks usually take is about right.
    #[must_use]
    pub fn with_decay(mut self, decay: Duration) -> Self {
        self.decay = decay;
        self
    }

    /// Sets when agents are set aside because they fail; `None` for never.
    #[must_use]
    pub fn with_ejection(mut self, ejection: Option<Ejection>) -> Self {
        self.ejection = ejection;
        self
    }

    pub(super) fn selector(&self) -> &dyn Selector {
        &*self.selector
    }

    pub(super) fn decay(&self) -> Duration {
        self.decay
    }

    pub(super) fn ejection(&self) -> Option<&Ejection> {
        self.ejection.as_ref()
    }
}

impl From<Strategy> for Policy {
    fn from(strategy: Strategy) -> Self {
        Self::new(strategy)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new(Strategy::default())
    }
}
