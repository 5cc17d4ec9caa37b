//! The store in Redis: shared by many processes, as durable as the server's append-only file.
//!
//! The keys lie in a sorted set, which gives ranges, and their values in a hash. One Lua script does all: it reads, and it
//! commits after checking that nothing that was read has changed. For that it keeps, for some thousand commits, which key
//! was changed by which. The versions of commits have no gaps; a log of them feeds the watches.
//!
//! # What the server must be
//!
//! It must keep an append-only file (`appendonly yes`) and never evict (`maxmemory-policy noeviction`); others are refused,
//! unless [asked for](RedisStoreBuilder::with_volatile_server). With `appendfsync everysec`, its default, a server that
//! loses power loses the last second, and so does a failover to a replica: `appendfsync always` and `WAIT`-like settings
//! (`min-replicas-to-write`) narrow that, and only a store that agrees by quorum closes it. All keys lie on one node.

mod config;
mod error;
mod follow;
mod link;
mod query;
mod script;
mod transaction;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

pub use self::config::RedisStoreBuilder;
use self::error::Fault;
use self::link::Link;
use self::transaction::RedisTransaction;
use crate::error::Result;
use crate::observer::StateObserver;
use crate::store::{Capabilities, Limits, StateStore};
use crate::transaction::Transaction;
use crate::watch::{Watch, WatchTable};

/// Keeps everything in Redis; clones share the connection.
///
/// ```no_run
/// # async fn example() -> coditect_state::Result<()> {
/// use coditect_state::{RedisStore, StateStoreExt, TransactionExt};
///
/// let store = RedisStore::connect("redis://127.0.0.1").await?;
/// store.transact(|mut tx| async move { tx.set_json(b"visits", &1) }).await
/// # }
/// ```
#[derive(Clone)]
pub struct RedisStore {
    shared: Arc<Shared>,
    _follower: Arc<AbortOnDropHandle<()>>,
}

struct Shared {
    link: Link,
    namespace: String,
    limits: Limits,
    observer: Arc<dyn StateObserver>,
    watches: Mutex<WatchTable>,
    /// The latest time that the server has said.
    now: Mutex<SystemTime>,
}

impl RedisStore {
    /// Connects to a server with the default options.
    ///
    /// # Errors
    ///
    /// As [`RedisStoreBuilder::connect`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a connection that was half made ends.
    pub async fn connect(url: impl Into<String>) -> Result<Self> {
        Self::builder(url).connect().await
    }

    /// Begins to say how to connect: `redis://` or `rediss://`, `[user:password@]host[:port][/database][?namespace=blue]`.
    ///
    /// The namespace of the URL counts before that of the builder.
    pub fn builder(url: impl Into<String>) -> RedisStoreBuilder {
        RedisStoreBuilder::new(url.into())
    }

    async fn connect_with(builder: RedisStoreBuilder) -> Result<Self> {
        let what = "connecting to redis";
        let link = Link::new(&builder.url, &builder.namespace, builder.timeouts);
        let link = link.map_err(|fault| fault.during(what))?;
        let begin = async {
            let mut connection = link.open(Duration::ZERO).await?;
            let hazards = hazards(&link, &mut connection).await?;
            if let (false, Some(hazard)) = (builder.volatile, &hazards) {
                return Err(Fault::Unsafe(hazard.clone()));
            }
            if let Some(hazard) = hazards {
                tracing::warn!(
                    namespace = builder.namespace,
                    "redis may lose what it has acknowledged: {hazard}"
                );
            }
            link.attach(&mut connection).await
        };
        let latest = begin.await.map_err(|fault| fault.during(what))?;
        let shared = Arc::new(Shared {
            link,
            namespace: builder.namespace,
            limits: builder.limits,
            observer: builder.observer,
            watches: Mutex::default(),
            now: Mutex::new(SystemTime::UNIX_EPOCH),
        });
        let follower = follow::follow(Arc::downgrade(&shared), latest);
        let follower: JoinHandle<()> = tokio::spawn(follower);
        Ok(Self {
            shared,
            _follower: Arc::new(AbortOnDropHandle::new(follower)),
        })
    }
}

/// Says what in the server's settings loses what it has acknowledged, by what it tells every client.
async fn hazards(
    link: &Link,
    connection: &mut redis::aio::MultiplexedConnection,
) -> std::result::Result<Option<String>, Fault> {
    let mut hazards = Vec::new();
    for (section, name, good, hazard) in [
        (
            "memory",
            "maxmemory_policy",
            "noeviction",
            "maxmemory-policy is not noeviction",
        ),
        ("persistence", "aof_enabled", "1", "appendonly is not yes"),
    ] {
        let mut command = redis::cmd("INFO");
        let answer = link.send(connection, command.arg(section)).await?;
        let text: String =
            redis::from_redis_value(answer).map_err(|_| Fault::Strange("of INFO"))?;
        let found = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        if found.map(str::trim) != Some(good) {
            hazards.push(hazard);
        }
    }
    Ok((!hazards.is_empty()).then(|| hazards.join(", ")))
}

#[async_trait]
impl StateStore for RedisStore {
    async fn begin(&self) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(RedisTransaction::new(Arc::clone(&self.shared))))
    }

    async fn watch(&self, key: &[u8]) -> Result<Watch> {
        Ok(self.shared.watches.lock().watch(key))
    }

    async fn now(&self) -> Result<SystemTime> {
        let what = "asking redis for the time";
        let answer = self.shared.link.call(&redis::cmd("TIME")).await;
        let (_, answer) = answer.map_err(|fault| fault.during(what))?;
        let time: redis::RedisResult<(u64, u64)> =
            redis::from_redis_value(answer).map_err(Into::into);
        let (seconds, micros) = time.map_err(|_| Fault::Strange("of TIME").during(what))?;
        let time = Duration::from_secs(seconds) + Duration::from_micros(micros);
        let mut now = self.shared.now.lock();
        *now = (*now).max(SystemTime::UNIX_EPOCH + time);
        Ok(*now)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::in_process()
            .with_durable(true)
            .with_shared(true)
            .with_unknown_outcomes(true)
    }

    fn limits(&self) -> Limits {
        self.shared.limits
    }

    fn observer(&self) -> &dyn StateObserver {
        &*self.shared.observer
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("namespace", &self.shared.namespace)
            .finish_non_exhaustive()
    }
}
