//! Where Redis is, and what a store on it is like.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::RedisStore;
use super::link::Timeouts;
use crate::error::{Error, Result};
use crate::observer::{NoObserver, StateObserver};
use crate::store::Limits;

/// Opens a [`RedisStore`]. Its `Debug` shows no credentials.
#[derive(Clone)]
#[must_use = "nothing is opened before `connect`"]
pub struct RedisStoreBuilder {
    pub(super) url: String,
    pub(super) namespace: String,
    pub(super) limits: Limits,
    pub(super) timeouts: Timeouts,
    pub(super) volatile: bool,
    pub(super) observer: Arc<dyn StateObserver>,
}

impl RedisStoreBuilder {
    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            namespace: "coditect".to_owned(),
            limits: Limits::default(),
            timeouts: Timeouts {
                connect: Duration::from_secs(3),
                response: Duration::from_secs(5),
            },
            volatile: false,
            observer: Arc::new(NoObserver),
        }
    }

    /// Sets the namespace, which keeps deployments on one server apart; `coditect` unless told otherwise.
    ///
    /// It has 1 to 24 lower-case letters, digits, `-` or `_`.
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Sets the greatest sizes that the store takes.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how long one attempt to connect may take; 3 s unless told otherwise.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.connect = timeout;
        self
    }

    /// Sets how long one answer may take before the connection is given up; 5 s unless told otherwise.
    pub fn with_response_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.response = timeout;
        self
    }

    /// Takes a server that may lose what it has acknowledged: one without an append-only file, or with an eviction policy.
    pub fn with_volatile_server(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Sets who is told of commits, conflicts and leases.
    pub fn with_observer(mut self, observer: Arc<dyn StateObserver>) -> Self {
        self.observer = observer;
        self
    }

    /// Connects, and has a look at the server.
    ///
    /// # Errors
    ///
    /// - [`Invalid`](crate::ErrorKind::Invalid): the URL or the namespace is none, the server refuses the credentials, or it
    ///   may lose what it has acknowledged.
    /// - [`Unavailable`](crate::ErrorKind::Unavailable): no Redis answers.
    /// - [`Corrupt`](crate::ErrorKind::Corrupt): the keys hold something else, or were written by a newer release.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a connection that was half made ends.
    pub async fn connect(self) -> Result<RedisStore> {
        let this = super::query::apply(self)?;
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
        };
        let namespace = &this.namespace;
        if !(1..=24).contains(&namespace.len()) || !namespace.bytes().all(allowed) {
            return Err(Error::invalid(
                "namespace must have 1 to 24 lower-case letters, digits, `-` or `_`",
            ));
        }
        RedisStore::connect_with(this).await
    }
}

impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreBuilder")
            .field("namespace", &self.namespace)
            .field("limits", &self.limits)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}
