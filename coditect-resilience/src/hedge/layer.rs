//! Puts hedging around services.

use std::fmt;
use std::sync::Arc;

use tower::Layer;

use super::latency::LatencyTracker;
use super::observer::HedgeObserver;
use super::policy::HedgePolicy;
use super::service::Hedge;
use crate::retry::{BudgetPolicy, RetryBudget};
use crate::sync::Mutex;

/// Says of a request whether making it twice at once does no harm. Any `Fn(&Req) -> bool` is one.
pub trait IsSafe<Req> {
    /// Tells whether the request may be made twice at once.
    fn is_safe(&self, request: &Req) -> bool;
}

impl<F, Req> IsSafe<Req> for F
where
    F: Fn(&Req) -> bool,
{
    fn is_safe(&self, request: &Req) -> bool {
        self(request)
    }
}

/// Makes a second call where the first takes unusually long, and takes whichever succeeds first.
///
/// Only requests that say so are hedged: those without effects, or whose repetition has none. The other call is dropped.
/// A budget (one hedge for ten calls unless it is replaced) keeps hedges from doubling the load of a callee that has become
/// slow altogether.
///
/// ```
/// use std::time::Duration;
/// use coditect_resilience::{Error, HedgeLayer, HedgePolicy, retry_errors};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// #[derive(Clone)]
/// struct Call { is_pure: bool }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Error> {
/// let layer = HedgeLayer::new(HedgePolicy::default(), |call: &Call| call.is_pure, retry_errors);
/// let service = layer.layer(service_fn(|_: Call| async { Ok::<_, Error>("done") }));
/// assert_eq!(service.oneshot(Call { is_pure: true }).await?, "done");
/// # Ok(())
/// # }
/// ```
pub struct HedgeLayer<P, C> {
    pub(super) settings: Arc<Settings<P, C>>,
}

pub(super) struct Settings<P, C> {
    pub(super) policy: HedgePolicy,
    pub(super) is_safe: P,
    pub(super) classify: C,
    pub(super) budget: Arc<RetryBudget>,
    pub(super) observer: Arc<dyn HedgeObserver>,
    pub(super) latencies: Arc<Mutex<LatencyTracker>>,
}

impl<P, C> HedgeLayer<P, C> {
    /// Makes a layer from a policy, what may be hedged, and the judgement of outcomes.
    ///
    /// All services made by one layer share its latencies and its budget: one layer for each callee.
    #[must_use]
    pub fn new(policy: HedgePolicy, is_safe: P, classify: C) -> Self {
        let budget = BudgetPolicy::new(0.1, 10).expect("a tenth lies between 0 and 1000");
        Self {
            settings: Arc::new(Settings {
                policy,
                is_safe,
                classify,
                budget: Arc::new(RetryBudget::new(budget)),
                observer: Arc::new(()),
                latencies: Arc::new(Mutex::new(LatencyTracker::new())),
            }),
        }
    }

    /// Pays for each hedge out of a budget, into which each call that succeeds pays.
    #[must_use]
    pub fn with_budget(self, budget: Arc<RetryBudget>) -> Self
    where
        P: Clone,
        C: Clone,
    {
        self.change(|settings| settings.budget = budget)
    }

    /// Tells an observer about every hedge.
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn HedgeObserver>) -> Self
    where
        P: Clone,
        C: Clone,
    {
        self.change(|settings| settings.observer = observer)
    }

    fn change(mut self, change: impl FnOnce(&mut Settings<P, C>)) -> Self
    where
        P: Clone,
        C: Clone,
    {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S, P, C> Layer<S> for HedgeLayer<P, C> {
    type Service = Hedge<S, P, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Hedge {
            inner,
            settings: Arc::clone(&self.settings),
        }
    }
}

impl<P, C> Clone for HedgeLayer<P, C> {
    fn clone(&self) -> Self {
        Self {
            settings: Arc::clone(&self.settings),
        }
    }
}

impl<P: Clone, C: Clone> Clone for Settings<P, C> {
    fn clone(&self) -> Self {
        Self {
            policy: self.policy,
            is_safe: self.is_safe.clone(),
            classify: self.classify.clone(),
            budget: Arc::clone(&self.budget),
            observer: Arc::clone(&self.observer),
            latencies: Arc::clone(&self.latencies),
        }
    }
}

impl<P, C> fmt::Debug for HedgeLayer<P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.debug(f, "HedgeLayer")
    }
}

impl<P, C> Settings<P, C> {
    pub(super) fn debug(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        f.debug_struct(name)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
