//! Where a port comes from: a URL, or something made by the caller.

mod state;

pub(super) use self::state::StateTerms;

use std::fmt;
use std::sync::Arc;

use coditect_bus::{MemoryBus, MessageBus};
use coditect_dag::journal::RunJournal;
use coditect_registry::{MemoryRegistry, Registry};
use coditect_state::StateStore;

use crate::error::Error;

/// What the bus is given beyond the largest output for what an envelope says of it.
const ENVELOPE_ROOM: usize = 1024;

macro_rules! source {
    ($(#[$doc:meta])* $name:ident, $port:ty, $what:literal, $known:expr) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(Source<$port>);

        impl From<&str> for $name {
            fn from(url: &str) -> Self {
                Self(Source::Url(url.to_owned()))
            }
        }

        impl From<String> for $name {
            fn from(url: String) -> Self {
                Self(Source::Url(url))
            }
        }

        impl From<$port> for $name {
            fn from(port: $port) -> Self {
                Self(Source::Made(port))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match &self.0 {
                    Source::Url(url) => f.debug_tuple(stringify!($name)).field(&scheme(url)).finish(),
                    Source::Made(_) => f.write_str(concat!(stringify!($name), "(made by the caller)")),
                }
            }
        }

        impl $name {
            /// Says whether it is of this process alone.
            pub(super) fn is_private(&self) -> bool {
                matches!(&self.0, Source::Url(url) if scheme(url) == "memory")
            }

            fn unknown(url: &str) -> Error {
                if scheme(url).is_empty() {
                    return Error::invalid(concat!(
                        "a ", $what, " is named by a URL such as `memory:`, and this one has no scheme",
                    ));
                }
                if let Some(feature) = feature_of($what, scheme(url)) {
                    return Error::invalid(format!(
                        "a {} at `{}:` needs the feature `{feature}` of `coditect-core`, which this build is without",
                        $what,
                        scheme(url),
                    ));
                }
                Error::invalid(format!(
                    "no {} is known for URLs that begin with `{}:`; there are {}",
                    $what,
                    scheme(url),
                    $known,
                ))
            }
        }
    };
}

/// Where runs are kept, and where what their agents share is.
type StatePorts = (Arc<dyn RunJournal>, Arc<dyn StateStore>);

#[derive(Clone)]
enum Source<T> {
    Url(String),
    Made(T),
}

source! {
    /// A message bus: a URL, or a bus made by the caller.
    ///
    /// URLs are `memory:` for one of this process, and, with the feature `rabbitmq`,
    /// `amqp://user:password@host:port/vhost?namespace=blue` or `amqps://…` for RabbitMQ. What a URL cannot say is said to
    /// [`RabbitMqBus::builder`](https://docs.rs/coditect-bus/latest/coditect_bus/struct.RabbitMqBus.html#method.builder),
    /// and the bus given instead.
    BusSource, Arc<dyn MessageBus>, "message bus", "`memory:`, `amqp:` and `amqps:`"
}

source! {
    /// A registry: a URL, or a registry made by the caller.
    ///
    /// URLs are `memory:` for one of this process, and, with the feature `redis`,
    /// `redis://user:password@host:port/database?namespace=blue`, `rediss://…` with TLS,
    /// `redis+sentinel://host:port,host:port/master` and `redis+cluster://host:port,host:port`, the latter two with TLS as
    /// `rediss+…`. What a URL cannot say is said to
    /// [`RedisRegistry::builder`](https://docs.rs/coditect-registry/latest/coditect_registry/struct.RedisRegistry.html#method.builder),
    /// and the registry given instead.
    RegistrySource, Arc<dyn Registry>, "registry",
    "`memory:`, `redis:`, `rediss:`, `redis+sentinel:` and `redis+cluster:`"
}

source! {
    /// A place for runs and shared values: a URL, or ports made by the caller.
    ///
    /// URLs are `memory:` for this process alone; with the feature `embedded`, which is on unless it is switched off,
    /// `file:runs.redb` or `file:///var/lib/app/runs.redb` for a file that one process at a time uses; and with the feature
    /// `redis`, `redis://user:password@host:port/database` or `rediss://…`.
    StateSource, StatePorts, "state store", "`memory:`, `file:`, `redis:` and `rediss:`"
}

impl BusSource {
    /// Says whether it is made here, and not by the caller.
    pub(super) fn is_url(&self) -> bool {
        matches!(&self.0, Source::Url(_))
    }

    /// Opens it, with room for payloads of so many bytes and what an envelope says of them.
    pub(super) async fn open(&self, max_payload: usize) -> Result<Arc<dyn MessageBus>, Error> {
        let max_payload = max_payload.saturating_add(ENVELOPE_ROOM);
        let url = match &self.0 {
            Source::Made(bus) => return Ok(Arc::clone(bus)),
            Source::Url(url) => url,
        };
        match scheme(url) {
            "memory" => Ok(Arc::new(
                MemoryBus::builder().with_max_payload(max_payload).build(),
            )),
            #[cfg(feature = "rabbitmq")]
            "amqp" | "amqps" => {
                let builder = coditect_bus::RabbitMqBus::builder(url);
                let bus = builder.with_max_payload(max_payload).connect().await?;
                Ok(Arc::new(bus))
            }
            _ => Err(Self::unknown(url)),
        }
    }
}

impl RegistrySource {
    pub(super) async fn open(&self) -> Result<Arc<dyn Registry>, Error> {
        let url = match &self.0 {
            Source::Made(registry) => return Ok(Arc::clone(registry)),
            Source::Url(url) => url,
        };
        match scheme(url) {
            "memory" => Ok(Arc::new(MemoryRegistry::new())),
            #[cfg(feature = "redis")]
            of_redis if is_redis(of_redis) => {
                let registry = coditect_registry::RedisRegistry::connect(url).await?;
                Ok(Arc::new(registry))
            }
            _ => Err(Self::unknown(url)),
        }
    }
}

/// The feature without which this build does not know a scheme.
fn feature_of(what: &str, scheme: &str) -> Option<&'static str> {
    match (what, scheme) {
        ("message bus", "amqp" | "amqps") if !cfg!(feature = "rabbitmq") => Some("rabbitmq"),
        ("state store", "file") if !cfg!(feature = "embedded") => Some("embedded"),
        ("state store", "redis" | "rediss") if !cfg!(feature = "redis") => Some("redis"),
        ("registry", of_redis) if is_redis(of_redis) && !cfg!(feature = "redis") => Some("redis"),
        _ => None,
    }
}

/// Says whether a scheme is one of those of Redis.
fn is_redis(scheme: &str) -> bool {
    let (transport, route) = scheme.split_once('+').unwrap_or((scheme, ""));
    matches!(transport, "redis" | "rediss") && matches!(route, "" | "sentinel" | "cluster")
}

/// What a URL begins with; the rest may hold a password and is never shown.
fn scheme(url: &str) -> &str {
    url.split_once(':').map_or("", |(scheme, _)| scheme)
}
