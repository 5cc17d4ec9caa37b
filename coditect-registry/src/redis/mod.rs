//! The registry on Redis: many processes, one truth.

mod address;
mod config;
mod error;
mod follow;
mod hazard;
mod held;
mod link;
mod query;
mod read;
mod renew;
mod role;
mod script;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::address::Address;
use self::error::{Failure, invalid};
use self::follow::Follower;
use self::held::Held;
use self::link::Link;
use self::read::Range;
use self::renew::{Renewals, Ruling};
use self::wire::{next_number, next_text, words};
use crate::{
    AgentRecord, Error, ErrorKind, FencingToken, Filter, Health, Incarnation, Instance, Load,
    Observer, Registration, Registry, Result, Role, Verdict, Watch, validate_ttl,
};

pub use config::RedisRegistryBuilder;
pub use hazard::Hazard;

/// Keeps the records of agents in Redis, so that all processes of a deployment know each other.
///
/// **Time** is the server's: leases end by its clock, and no client's clock is ever sent or compared. **Tokens** begin with
/// the server's time, so they grow even over a server that lost its data. Every operation is one atomic script of bounded
/// work that may be repeated, and is repeated while the server cannot be reached, with jittered waits.
///
/// **Renewals** of all agents of a process that come within some milliseconds are one call. If Redis has lost its data,
/// the next renewal brings the record back from this process's own copy, under the same incarnation and token; after a
/// restart with its data, leases that ended meanwhile have 10 s more. An agent is told `LeaseLost` only if its lease ran
/// out while the server lived.
///
/// **Watches** are served from one copy of the records per process, kept by the log of changes. It is made anew after a gap
/// or when Redis has lost its data, and is compared with the whole now and then. When Redis has been silent for some
/// seconds, watches end: a [`View`](crate::View) goes on with what it knows, says that it is not current, and follows
/// again when Redis is back. Whoever watches also takes out what has expired, so that all others are told within a second.
///
/// # Where it is
///
/// | URL | what |
/// |---|---|
/// | `redis://[user:password@]host[:port][/database]` | one server; `rediss://` with TLS |
/// | `redis+sentinel://[user:password@]host:port[,host:port…]/master[/database]` | the master that sentinels name; they are asked without a login |
/// | `redis+cluster://[user:password@]host:port[,host:port…]` | a cluster; a namespace is on one of its nodes |
///
/// Parameters may follow, as in `?namespace=blue&cacertfile=/etc/ca.pem`: `namespace`, and the PEM files `cacertfile`, `certfile`
/// and `keyfile`. They count before what the builder says.
///
/// # Examples
///
/// ```no_run
/// use coditect_registry::RedisRegistry;
///
/// # async fn connect() -> coditect_registry::Result<()> {
/// let registry = RedisRegistry::connect("redis://127.0.0.1").await?;
/// for hazard in registry.hazards() {
///     eprintln!("{hazard}");
/// }
/// # Ok(())
/// # }
/// ```
pub struct RedisRegistry {
    link: Arc<Link>,
    renewals: Renewals,
    held: Held,
    follower: Arc<Follower>,
    is_followed: AtomicBool,
    hazards: Vec<Hazard>,
    observer: Arc<dyn Observer>,
    tasks: TaskTracker,
    end: CancellationToken,
    _end_on_drop: DropGuard,
}

impl RedisRegistry {
    /// Connects with the usual limits.
    ///
    /// # Errors
    ///
    /// Those of [`RedisRegistryBuilder::connect`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a connection that was half made ends.
    pub async fn connect(url: impl Into<String>) -> Result<Self> {
        Self::builder(url).connect().await
    }

    /// Begins to make a registry with other limits.
    pub fn builder(url: impl Into<String>) -> RedisRegistryBuilder {
        RedisRegistryBuilder::new(url.into())
    }

    async fn from_config(config: RedisRegistryBuilder, address: Address) -> Result<Self> {
        let link = Arc::new(Link::new(address, config.namespace, config.limits));
        let attached = link.begin().await?;
        let hazards = hazard::look(&link, &attached).await;

        let (tasks, end) = (TaskTracker::new(), CancellationToken::new());
        let (renewals, renewing) = Renewals::new(Arc::clone(&link));
        tasks.spawn(end.clone().run_until_cancelled_owned(renewing));
        let observer = config.observer;
        let follower = Follower::new(Arc::clone(&link), config.settings, Arc::clone(&observer));
        Ok(Self {
            link,
            renewals,
            held: Held::default(),
            follower: Arc::new(follower),
            is_followed: AtomicBool::new(false),
            hazards,
            observer,
            tasks,
            _end_on_drop: end.clone().drop_guard(),
            end,
        })
    }

    /// Returns what was unsafe about the server's settings when this connected; it is also logged then, once.
    pub fn hazards(&self) -> &[Hazard] {
        &self.hazards
    }

    /// Stops, and waits until all tasks have ended: watches end, and leases run out if nobody renews them.
    ///
    /// Dropping it does the same without waiting.
    ///
    /// # Cancel safety
    ///
    /// If dropped, it stops all the same.
    pub async fn close(&self) {
        self.end.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn follow(&self) {
        if self.is_followed.swap(true, Ordering::Relaxed) {
            return;
        }
        let (follower, end) = (Arc::clone(&self.follower), self.end.clone());
        self.tasks.spawn(async move {
            end.run_until_cancelled(follower.run()).await;
            follower.end_watches();
        });
    }

    /// Stores a record; with a token that it once had it comes back to where it was.
    async fn put(
        &self,
        record: AgentRecord,
        ttl: Duration,
        token: Option<FencingToken>,
    ) -> Result<Registration> {
        let instance = record.instance.clone();
        let mut command = self.link.script.call("register");
        command
            .arg(wire::name(&instance))
            .arg(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX))
            .arg(u8::from(record.exclusive))
            .arg(wire::capabilities(&record))
            .arg(wire::json(&record)?)
            .arg(wire::report(record.load, record.health))
            .arg(token.map(|token| token.to_string()).unwrap_or_default());
        let mut words = words(self.link.call(&command).await?)?;
        let epoch = next_text(&mut words)?;
        let ruling = Ruling::read(next_number(&mut words)?)?;
        if ruling != Ruling::Granted {
            return Err(self.refusal(&instance, ruling));
        }
        let registration = Registration {
            instance,
            token: FencingToken::new(next_number(&mut words)?),
            ttl,
        };
        self.held.put(&registration, record, epoch);
        Ok(registration)
    }

    /// Brings a record back that was lost with the data of Redis.
    async fn restore(&self, registration: &Registration, record: AgentRecord) -> Result<()> {
        let put = self.put(record, registration.ttl, Some(registration.token));
        if let Err(error) = put.await {
            if !error.is_retryable() {
                self.held.forget(registration);
            }
            return Err(error);
        }
        tracing::info!(instance = %registration.instance, "redis had lost a record, which is back");
        Ok(())
    }

    fn refusal(&self, instance: &Instance, ruling: Ruling) -> Error {
        let error = match ruling {
            Ruling::Superseded => Error::new(
                ErrorKind::Superseded,
                format!("a newer incarnation than {instance} holds the name"),
            ),
            _ => Error::new(
                ErrorKind::LeaseLost,
                format!("{instance} is no longer registered"),
            ),
        };
        self.observer.refused(instance, error.kind());
        error
    }

    fn ended(&self, registration: &Registration, ruling: Ruling) -> Error {
        self.held.forget(registration);
        self.refusal(&registration.instance, ruling)
    }
}

#[async_trait]
impl Registry for RedisRegistry {
    async fn register(&self, record: AgentRecord, ttl: Duration) -> Result<Registration> {
        record.validate()?;
        validate_ttl(ttl)?;
        let registration = self.put(record.judged(None), ttl, None).await?;
        self.observer.registered(&registration);
        Ok(registration)
    }

    async fn renew(&self, registration: &Registration, load: Load, health: Health) -> Result<()> {
        let name = wire::name(&registration.instance);
        let token = registration.token.to_string();
        let report = wire::report(load, health);
        let (epoch, ruling) = self.renewals.renew(name, token, report).await?;
        if ruling == Ruling::Granted {
            self.held.report(registration, load, health);
        } else if let Some(record) = self.held.lost_with_data(registration, &epoch) {
            self.restore(registration, record.reported(load, health))
                .await?;
        } else {
            return Err(self.ended(registration, ruling));
        }
        self.observer.renewed(registration);
        Ok(())
    }

    async fn update(&self, registration: &Registration, record: AgentRecord) -> Result<()> {
        record.validate()?;
        if record.instance != registration.instance {
            return Err(invalid(format!(
                "the record is about {}, not {}",
                record.instance, registration.instance
            )));
        }
        let record = record.judged(None);
        let mut command = self.link.script.call("update");
        command
            .arg(wire::name(&registration.instance))
            .arg(registration.token.to_string())
            .arg(wire::capabilities(&record))
            .arg(wire::json(&record)?)
            .arg(wire::report(record.load, record.health));
        let mut words = words(self.link.call(&command).await?)?;
        let epoch = next_text(&mut words)?;
        let ruling = Ruling::read(next_number(&mut words)?)?;
        if ruling == Ruling::Granted {
            self.held.update(registration, record);
            return Ok(());
        }
        if self.held.lost_with_data(registration, &epoch).is_some() {
            return self.restore(registration, record).await;
        }
        Err(self.ended(registration, ruling))
    }

    async fn judge(&self, instance: &Instance, verdict: Option<Verdict>) -> Result<()> {
        let found = verdict.as_ref().map(serde_json::to_string).transpose();
        let found = found
            .map_err(|source| invalid("verdict cannot be written").with_source(source))?
            .unwrap_or_default();
        let mut command = self.link.script.call("judge");
        command.arg(wire::name(instance)).arg(found);
        let mut words = words(self.link.call(&command).await?)?;
        let _epoch = next_text(&mut words)?;
        let ruling = Ruling::read(next_number(&mut words)?)?;
        if ruling != Ruling::Granted {
            return Err(self.refusal(instance, ruling));
        }
        if next_number::<u8>(&mut words)? == 1 {
            self.observer.judged(instance, verdict.as_ref());
        }
        Ok(())
    }

    async fn elect(
        &self,
        role: &Role,
        candidate: Incarnation,
        ttl: Duration,
    ) -> Result<Option<FencingToken>> {
        validate_ttl(ttl)?;
        Ok(role::elect(&self.link, role, candidate, ttl).await?)
    }

    async fn resign(&self, role: &Role, candidate: Incarnation) -> Result<()> {
        Ok(role::resign(&self.link, role, candidate).await?)
    }

    async fn deregister(&self, registration: &Registration) -> Result<()> {
        self.held.forget(registration);
        let mut command = self.link.script.call("deregister");
        command
            .arg(wire::name(&registration.instance))
            .arg(registration.token.to_string());
        self.link.call(&command).await?;
        Ok(())
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Arc<AgentRecord>>> {
        let records = read::all(&self.link, Range::of(filter)).await?;
        let records = records.into_iter().map(|stored| stored.record);
        let passing = records.filter(|record| filter.matches(record));
        Ok(passing.map(Arc::new).collect())
    }

    async fn watch(&self) -> Result<Watch> {
        if self.end.is_cancelled() {
            return Err(Failure::Closed.into());
        }
        self.follow();
        self.follower.watch().await
    }
}

impl fmt::Debug for RedisRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisRegistry")
            .field("link", &self.link)
            .field("follower", &self.follower)
            .finish_non_exhaustive()
    }
}
