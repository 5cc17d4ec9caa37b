//! Puts a retry around services.

use std::fmt;
use std::sync::Arc;

use tower::Layer;

use super::budget::RetryBudget;
use super::observer::RetryObserver;
use super::policy::RetryPolicy;
use super::service::Retry;
use crate::random::{Randomness, SplitMix};

/// Repeats the failed calls of a service as a [`RetryPolicy`] allows.
///
/// All services made by one layer, and all their clones, share the layer's budget, randomness and observer.
pub struct RetryLayer<C> {
    pub(super) settings: Arc<Settings<C>>,
}

pub(super) struct Settings<C> {
    pub(super) policy: RetryPolicy,
    pub(super) classify: C,
    pub(super) budget: Option<Arc<RetryBudget>>,
    pub(super) randomness: Arc<dyn Randomness>,
    pub(super) observer: Arc<dyn RetryObserver>,
}

impl<C> RetryLayer<C> {
    /// Makes a layer from a policy and the judgement of outcomes, without a budget.
    ///
    /// `classify` is any [`Classify`](crate::Classify), for example the function
    /// [`retry_errors`](crate::retry_errors).
    #[must_use]
    pub fn new(policy: RetryPolicy, classify: C) -> Self {
        Self {
            settings: Arc::new(Settings {
                policy,
                classify,
                budget: None,
                randomness: Arc::new(SplitMix::new()),
                observer: Arc::new(()),
            }),
        }
    }

    /// Pays for each retry out of a budget, which other layers may share.
    #[must_use]
    pub fn with_budget(self, budget: Arc<RetryBudget>) -> Self
    where
        C: Clone,
    {
        self.change(|settings| settings.budget = Some(budget))
    }

    /// Replaces the source of the jitter.
    #[must_use]
    pub fn with_randomness(self, randomness: impl Randomness) -> Self
    where
        C: Clone,
    {
        self.change(|settings| settings.randomness = Arc::new(randomness))
    }

    /// Tells an observer about every retry.
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn RetryObserver>) -> Self
    where
        C: Clone,
    {
        self.change(|settings| settings.observer = observer)
    }

    fn change(mut self, change: impl FnOnce(&mut Settings<C>)) -> Self
    where
        C: Clone,
    {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl<S, C> Layer<S> for RetryLayer<C> {
    type Service = Retry<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry {
            inner,
            settings: Arc::clone(&self.settings),
        }
    }
}

impl<C> Clone for RetryLayer<C> {
    fn clone(&self) -> Self {
        Self {
            settings: Arc::clone(&self.settings),
        }
    }
}

impl<C: Clone> Clone for Settings<C> {
    fn clone(&self) -> Self {
        Self {
            policy: self.policy,
            classify: self.classify.clone(),
            budget: self.budget.clone(),
            randomness: Arc::clone(&self.randomness),
            observer: Arc::clone(&self.observer),
        }
    }
}

impl<C> fmt::Debug for RetryLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.debug(f, "RetryLayer")
    }
}

impl<C> Settings<C> {
    pub(super) fn debug(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        f.debug_struct(name)
            .field("policy", &self.policy)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}
