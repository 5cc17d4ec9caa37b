//! Where Redis is, and the limits of a registry on it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::RedisRegistry;
use super::address::{Address, certificates};
use super::error::invalid;
use super::follow::Settings;
use super::link::Limits;
use super::query;
use crate::{Error, NoObserver, Observer};

/// Builds a [`RedisRegistry`] with limits of its own.
///
/// Its `Debug` shows neither credentials nor keys.
#[derive(Clone)]
#[must_use = "a builder connects to nothing until `connect`"]
pub struct RedisRegistryBuilder {
    pub(super) url: String,
    pub(super) namespace: String,
    pub(super) limits: Limits,
    pub(super) settings: Settings,
    pub(super) observer: Arc<dyn Observer>,
    ca_pem: Option<String>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl RedisRegistryBuilder {
    /// How many changes a watch may be behind before it gets a resync, unless set otherwise.
    pub const DEFAULT_WATCH_BUFFER: usize = 4096;

    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            namespace: "coditect".to_owned(),
            limits: Limits {
                connect: Duration::from_secs(3),
                response: Duration::from_secs(2),
                patience: Duration::from_secs(5),
            },
            settings: Settings {
                buffer: Self::DEFAULT_WATCH_BUFFER,
                stale_after: Duration::from_secs(4),
                reconcile: Duration::from_secs(60),
            },
            observer: Arc::new(NoObserver),
            ca_pem: None,
            identity: None,
        }
    }

    /// Sets the namespace, which keeps deployments on one server apart; `coditect` unless told otherwise.
    ///
    /// It has 1 to 24 lower-case letters, digits, `-` or `_`.
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Trusts this certificate authority, in PEM, in place of those of the system. For `rediss://`.
    pub fn with_ca_pem(mut self, pem: impl Into<String>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// Shows this certificate to the server; certificate chain and private key are in PEM. For `rediss://`.
    pub fn with_client_certificate(
        mut self,
        certificate_pem: impl Into<Vec<u8>>,
        key_pem: impl Into<Vec<u8>>,
    ) -> Self {
        self.identity = Some((certificate_pem.into(), key_pem.into()));
        self
    }

    /// Sets how long one attempt to connect may take; 3 s unless told otherwise.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.limits.connect = timeout;
        self
    }

    /// Sets how long one answer may take before the connection is given up; 2 s unless told otherwise.
    pub fn with_response_timeout(mut self, timeout: Duration) -> Self {
        self.limits.response = timeout;
        self
    }

    /// Sets how long a call is repeated while Redis cannot be reached; 5 s unless told otherwise.
    ///
    /// The last attempt may take as long as connecting and an answer take.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.limits.patience = patience;
        self
    }

    /// Sets how many changes a watch may be behind before it gets a resync: rounded up to a power of two, at most 2²⁰.
    pub fn with_watch_buffer(mut self, changes: usize) -> Self {
        self.settings.buffer = changes.clamp(1, 1 << 20);
        self
    }

    /// Sets how long Redis may be silent before watches end, and views say that they are not current; 4 s unless told
    /// otherwise, and at least 2 s.
    pub fn with_stale_after(mut self, silence: Duration) -> Self {
        self.settings.stale_after = silence;
        self
    }

    /// Sets how often this process compares its copy of the records with the whole; about every 60 s unless told
    /// otherwise.
    pub fn with_reconcile_interval(mut self, interval: Duration) -> Self {
        self.settings.reconcile = interval;
        self
    }

    /// Sets who is told what happens. Removals are told in each process that watches.
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Connects, and has a look at the server.
    ///
    /// # Errors
    ///
    /// - `Invalid` if the URL or a limit is none, the server refuses the credentials or has no such database, or the
    ///   namespace's keys hold something else or belong to a later version.
    /// - `Unavailable` if no Redis answers. Only the first connection is the caller's concern: later ones are made again and
    ///   again until the registry is closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a connection that was half made ends.
    pub async fn connect(self) -> Result<RedisRegistry, Error> {
        let settings = query::apply(self)?;
        let address = settings.validated()?;
        RedisRegistry::from_config(settings, address).await
    }

    fn validated(&self) -> Result<Address, Error> {
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
        };
        let namespace = &self.namespace;
        if !(1..=24).contains(&namespace.len()) || !namespace.bytes().all(allowed) {
            let rule = "namespace must have 1 to 24 lower-case letters, digits, `-` or `_`";
            return Err(invalid(rule));
        }
        let Limits {
            connect, response, ..
        } = self.limits;
        if connect.is_zero() || response.is_zero() || self.settings.reconcile.is_zero() {
            return Err(invalid("time limits must be longer than zero"));
        }
        if self.settings.stale_after < Duration::from_secs(2) {
            let rule = "redis must be silent for 2 s at least before watches end";
            return Err(invalid(rule));
        }
        let tls = certificates(self.ca_pem.as_deref(), self.identity.as_ref());
        Address::parse(&self.url, tls)
    }
}

impl fmt::Debug for RedisRegistryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisRegistryBuilder")
            .field("namespace", &self.namespace)
            .field("limits", &self.limits)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn builder() -> RedisRegistryBuilder {
        RedisRegistry::builder("redis://me:secret@127.0.0.1")
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        assert!(builder().validated().is_ok());
        let too_long = "x".repeat(25);
        for namespace in ["", "Upper", "a b", "a:b", "{a}", &too_long] {
            let refused = builder().with_namespace(namespace).validated();
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
        }
        for wrong in [
            builder().with_connect_timeout(Duration::ZERO),
            builder().with_response_timeout(Duration::ZERO),
            builder().with_reconcile_interval(Duration::ZERO),
            builder().with_stale_after(Duration::from_secs(1)),
            builder().with_ca_pem("no pem"),
        ] {
            let refused = wrong.validated().unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
        }
    }

    #[test]
    fn debug_shows_no_credentials() {
        let shown = format!("{:?}", builder().with_client_certificate("cert", "key"));
        assert!(shown.contains("coditect"), "{shown}");
        for hidden in ["secret", "me:", "cert", "key"] {
            assert!(!shown.contains(hidden), "{shown}");
        }
    }
}
