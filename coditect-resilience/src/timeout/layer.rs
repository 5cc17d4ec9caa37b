//! Puts a timeout around services.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tower::Layer;

use super::observer::TimeoutObserver;
use super::service::Timeout;

/// Drops the calls of a service that do not end in time.
#[derive(Clone)]
pub struct TimeoutLayer {
    limit: Duration,
    observer: Arc<dyn TimeoutObserver>,
}

impl TimeoutLayer {
    /// Gives every call the same time, counted from the call and not from when the service was asked
    /// whether it is ready.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            observer: Arc::new(()),
        }
    }

    /// Tells an observer about every timeout.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn TimeoutObserver>) -> Self {
        self.observer = observer;
        self
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Timeout {
            inner,
            limit: self.limit,
            observer: Arc::clone(&self.observer),
        }
    }
}

impl fmt::Debug for TimeoutLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeoutLayer")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
