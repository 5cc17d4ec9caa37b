//! Where the broker is, and the limits of a RabbitMQ bus.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};

use super::RabbitMqBus;
use crate::{Error, ErrorKind, Observer};

/// Chooses what the durable queues of a bus are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueKind {
    /// Quorum queues: replicated, safe when a node dies, and counting deliveries themselves.
    #[default]
    Quorum,
    /// Classic queues: on one node only. Redelivery counts and limits are then kept by the consumers.
    Classic,
}

/// Builds a [`RabbitMqBus`] with limits of its own.
///
/// Its `Debug` shows neither credentials nor keys.
#[derive(Clone)]
#[must_use = "a builder connects to nothing until `connect`"]
pub struct RabbitMqBusBuilder {
    url: String,
    pub(super) namespace: String,
    pub(super) kind: QueueKind,
    pub(super) max_payload: usize,
    pub(super) max_headers: usize,
    pub(super) max_in_flight: NonZeroUsize,
    pub(super) confirm_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) heartbeat: Duration,
    pub(super) pulse: Duration,
    pub(super) temporary_expiry: Duration,
    pub(super) consumer_timeout: Option<Duration>,
    pub(super) max_dead_letters: NonZeroUsize,
    pub(super) observer: Option<Arc<dyn Observer>>,
    ca_pem: Option<String>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl RabbitMqBusBuilder {
    pub(super) fn new(url: String) -> Self {
        const IN_FLIGHT: NonZeroUsize = NonZeroUsize::new(2_048).unwrap();
        const MAX_DEAD_LETTERS: NonZeroUsize = NonZeroUsize::new(50_000).unwrap();
        Self {
            url,
            namespace: "coditect".to_owned(),
            kind: QueueKind::default(),
            max_payload: 1024 * 1024,
            max_headers: 64 * 1024,
            max_in_flight: IN_FLIGHT,
            confirm_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(10),
            pulse: Duration::from_secs(5),
            temporary_expiry: Duration::from_secs(60),
            consumer_timeout: Some(Duration::from_secs(30 * 60)),
            max_dead_letters: MAX_DEAD_LETTERS,
            observer: None,
            ca_pem: None,
            identity: None,
        }
    }

    /// Sets the namespace, which keeps deployments on one virtual host apart; `coditect` unless told otherwise.
    ///
    /// It has 1 to 24 lower-case letters, digits, `-` or `_`.
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Sets what durable queues are made of; quorum unless told otherwise.
    ///
    /// All processes of a namespace give the same: a queue that exists as the other kind is a conflict.
    pub fn with_queue_kind(mut self, kind: QueueKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets the largest payload in bytes; 1 MiB unless told otherwise, and at most what the broker allows (16 MiB since 4.0).
    pub fn with_max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = bytes;
        self
    }

    /// Sets how many bytes all headers of a message may have together; 64 KiB unless told otherwise.
    ///
    /// The broker wants them, with all other properties, in one frame (128 KiB unless set otherwise there).
    pub fn with_max_headers(mut self, bytes: usize) -> Self {
        self.max_headers = bytes;
        self
    }

    /// Sets how many publishes may wait for their confirms at once; 2,048 unless told otherwise. More wait their turn.
    pub fn with_max_in_flight(mut self, count: NonZeroUsize) -> Self {
        self.max_in_flight = count;
        self
    }

    /// Sets how long a publish may take, waiting for a connection included; 10 s unless told otherwise.
    pub fn with_confirm_timeout(mut self, timeout: Duration) -> Self {
        self.confirm_timeout = timeout;
        self
    }

    /// Sets how long one attempt to connect may take; 10 s unless told otherwise.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets after how long a silent broker is taken for lost; 10 s unless told otherwise, in whole seconds.
    pub fn with_heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = interval;
        self
    }

    /// Sets how often the bus sends itself a message to prove that it publishes and consumes; 5 s unless told otherwise.
    pub fn with_pulse(mut self, interval: Duration) -> Self {
        self.pulse = interval;
        self
    }

    /// Sets how long a temporary queue survives without consumers, as while they reconnect; 60 s unless told otherwise.
    pub fn with_temporary_expiry(mut self, expiry: Duration) -> Self {
        self.temporary_expiry = expiry;
        self
    }

    /// Says how long the broker lets deliveries be held: its `consumer_timeout`, which is 30 min unless set otherwise there; `None` if
    /// it is switched off.
    ///
    /// The broker's clock runs from when it sends a message, which may then wait here for a free slot. So
    /// [`Capabilities::max_hold`](crate::Capabilities::max_hold) is a sixth less: 25 min unless told otherwise.
    pub fn with_consumer_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.consumer_timeout = timeout.into();
        self
    }

    /// Sets how many dead letters each queue keeps; 50,000 unless told otherwise, and at most 65,000.
    ///
    /// One more discards the oldest. All processes of a namespace give the same.
    pub fn with_max_dead_letters(mut self, count: NonZeroUsize) -> Self {
        self.max_dead_letters = count;
        self
    }

    /// Sets who is told what happens.
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Trusts this certificate authority, in PEM, beside those of the system. For `amqps://`.
    pub fn with_ca_pem(mut self, pem: impl Into<String>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// Shows this certificate to the broker; certificate chain and private key (PKCS #8) are in PEM. For `amqps://`.
    pub fn with_client_certificate(
        mut self,
        certificate_pem: impl Into<Vec<u8>>,
        key_pem: impl Into<Vec<u8>>,
    ) -> Self {
        self.identity = Some((certificate_pem.into(), key_pem.into()));
        self
    }

    /// Connects, and declares what the namespace needs.
    ///
    /// # Errors
    ///
    /// - `Invalid` if the URL or a limit is none, the broker refuses the credentials, or the virtual host does not exist.
    /// - `Unavailable` if no broker answers. Only the first connection is the caller's concern: later ones are made again and
    ///   again until the bus is closed.
    /// - `Conflict` if an exchange of the namespace exists with other arguments.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a connection that was half made ends.
    pub async fn connect(self) -> Result<RabbitMqBus, Error> {
        let url = self.url.clone();
        let config = super::query::apply(self, &url)?;
        let address = config.validated()?;
        RabbitMqBus::from_config(config, address).await
    }

    /// How long a delivery may be held from its receipt.
    pub(super) fn max_hold(&self) -> Option<Duration> {
        self.consumer_timeout.map(|timeout| timeout / 6 * 5)
    }

    fn validated(&self) -> Result<Address, Error> {
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
        };
        let namespace = &self.namespace;
        if !(1..=24).contains(&namespace.len()) || !namespace.bytes().all(allowed) {
            return Err(invalid(
                "namespace must have 1 to 24 lower-case letters, digits, `-` or `_`",
            ));
        }
        if self.max_dead_letters.get() > 65_000 {
            return Err(invalid("no more than 65000 dead letters can be kept"));
        }
        if self.heartbeat < Duration::from_secs(1) || self.heartbeat > Duration::from_secs(3_600) {
            return Err(invalid("heartbeat must be between a second and an hour"));
        }
        if self
            .consumer_timeout
            .is_some_and(|timeout| timeout.is_zero())
        {
            return Err(invalid("consumer timeout must be longer than nothing"));
        }
        Address::parse(&self.url, self)
    }
}

impl fmt::Debug for RabbitMqBusBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMqBusBuilder")
            .field("namespace", &self.namespace)
            .field("kind", &self.kind)
            .field("max_payload", &self.max_payload)
            .field("max_in_flight", &self.max_in_flight)
            .field("confirm_timeout", &self.confirm_timeout)
            .finish_non_exhaustive()
    }
}

/// Where the broker is and how to enter. Its `Display` and `Debug` never show the password.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) uri: AMQPUri,
    pub(super) tls: Arc<OwnedTLSConfig>,
}

impl Address {
    fn parse(url: &str, config: &RabbitMqBusBuilder) -> Result<Self, Error> {
        // The parser's own words may repeat the URL, and with it the password.
        let mut uri: AMQPUri = url.parse().map_err(|_| {
            invalid("url is not of the form amqp[s]://user:password@host:port/vhost")
        })?;
        if uri.authority.host.is_empty() {
            return Err(invalid("url names no host"));
        }
        if let Some(host) = ipv6_host(url) {
            uri.authority.host = host.to_owned();
        }
        if uri.vhost.is_empty() {
            // `amqp://host/` means the virtual host without a name, which nobody has; everybody means `/`.
            uri.vhost = "/".to_owned();
        }
        let seconds = u16::try_from(config.heartbeat.as_secs()).unwrap_or(u16::MAX);
        uri.query.heartbeat.get_or_insert(seconds);
        let timeout = u64::try_from(config.connect_timeout.as_millis()).unwrap_or(u64::MAX);
        uri.query.connection_timeout.get_or_insert(timeout);
        if uri.scheme == AMQPScheme::AMQP && (config.ca_pem.is_some() || config.identity.is_some())
        {
            return Err(invalid(
                "certificates are given, but the url is not amqps://",
            ));
        }
        let identity = config
            .identity
            .clone()
            .map(|(pem, key)| OwnedIdentity::PKCS8 { pem, key });
        Ok(Self {
            uri,
            tls: Arc::new(OwnedTLSConfig {
                identity,
                cert_chain: config.ca_pem.clone(),
            }),
        })
    }
}

/// Finds the host of a URL if it is an IPv6 address, which the driver's parser takes for a missing one.
fn ipv6_host(url: &str) -> Option<&str> {
    let authority = url.split("://").nth(1)?.split(['/', '?']).next()?;
    let host = authority.rsplit('@').next()?.strip_prefix('[')?;
    host.split(']').next()
}

fn invalid(text: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, text)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = &self.uri.authority;
        write!(f, "{}:{}", authority.host, authority.port)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
