//! The port: what every registry promises, whichever system keeps the records.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    AgentId, AgentRecord, Catalogue, Error, FencingToken, Filter, Health, Incarnation, Instance,
    Load, Requirement, Result, Role, Verdict, Watch,
};

/// Keeps the records of live agents, each under a lease that its agent renews.
///
/// Held as `Arc<dyn Registry>`. Lookups here may cost a round trip; to choose an agent for each task follow the
/// registry with a [`View`](crate::View).
///
/// # Contract
///
/// - **R1** A registered record is found by `list` and `find` until it expires, is deregistered or is replaced.
/// - **R2** A lease that is not renewed within its time-to-live expires by itself: its record vanishes from every
///   lookup, and watchers are told [`RemovalReason::Expired`](crate::RemovalReason::Expired).
/// - **R3** A renewal starts the lease's time anew and stores the reported load and health; another health than before drops
///   the reason that was given for it.
/// - **R4** What a lost registration asks for is refused with [`ErrorKind::LeaseLost`](crate::ErrorKind::LeaseLost):
///   register again.
/// - **R5** Every registration has a greater fencing token than all before it.
/// - **R6** Registering the same instance again replaces its record and ends the older registration; there is one
///   record per instance, and repeating a registration whose outcome is unknown does no harm.
/// - **R7** Incarnations of one agent stand beside each other, unless the record of either is exclusive: then the newer
///   registration replaces the older ones, watchers are told `Replaced`, and the older ones' renewals *and*
///   registrations are refused with [`ErrorKind::Superseded`](crate::ErrorKind::Superseded) while the newer one lives.
/// - **R8** `update` replaces the record of a live registration without extending its lease.
/// - **R9** `deregister` takes the record out at once; doing it twice, or too late, succeeds and changes nothing. A
///   registration that was lost cannot take out its successor.
/// - **R10** `find` returns the records that offer a capability of that name in a version that matches.
/// - **R11** A watch starts with a [`Resync`](crate::Change::Resync) of all records and then tells every change after it,
///   in order, with sequence numbers that grow by one.
/// - **R12** A watch that falls behind gets a `Resync` in place of what it missed: never an error, never unbounded memory.
///   Where the data may have been lost it is a [`Reset`](crate::Change::Reset), here and at the start.
/// - **R13** Agents of different tenants are strangers, even under the same name: neither replaces the other.
/// - **R14** Invalid records and lifetimes are refused with [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) and change
///   nothing.
/// - **R15** The catalogue lists each offered capability in each version once, with its schemas and who offers it.
/// - **R16** `judge` sets or takes back what a checker has found out about a live instance, and watchers are told. It stays
///   through renewals and updates until the registration ends; what `register` and `update` carry of it is ignored. A
///   judged instance keeps its lease and is found as before. The same verdict again changes nothing and is not told.
/// - **R17** `elect` gives a role to one candidate at a time. Its holder keeps it by asking again, under the same token; all
///   others get `None` until its time is over or it has resigned. A new term has a greater token than all terms and
///   registrations before it. Resigning from what is another's changes nothing.
///
/// Time is the registry's own, never that of its clients: a client whose clock is wrong changes nothing.
#[async_trait]
pub trait Registry: Debug + Send + Sync + 'static {
    /// Registers an instance under a lease of `ttl`.
    ///
    /// # Errors
    ///
    /// `Invalid` if the record is over a limit ([`AgentRecord::validate`]) or `ttl` is outside [`MIN_TTL`]..=[`MAX_TTL`];
    /// `Superseded` if a newer incarnation holds this exclusive name.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the instance may or may not be registered; call it again, or let the lease expire.
    async fn register(&self, record: AgentRecord, ttl: Duration) -> Result<Registration>;

    /// Renews the lease: the heartbeat, which also reports load and health.
    ///
    /// # Errors
    ///
    /// `LeaseLost` if the lease has expired or was given up (register again); `Superseded` if a newer incarnation has
    /// replaced this one (stop).
    ///
    /// # Cancel safety
    ///
    /// If dropped, the lease may or may not be renewed; call it again.
    async fn renew(&self, registration: &Registration, load: Load, health: Health) -> Result<()>;

    /// Replaces the record, for instance when an agent learns a capability. The lease goes on unchanged.
    ///
    /// # Errors
    ///
    /// As for [`renew`](Self::renew), and `Invalid` as for [`register`](Self::register) or if the record is about
    /// another instance.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the record may or may not be replaced; call it again.
    async fn update(&self, registration: &Registration, record: AgentRecord) -> Result<()>;

    /// Sets what a checker has found out about a live instance, or takes it back with `None`.
    ///
    /// # Errors
    ///
    /// `LeaseLost` if the instance is not registered (any more).
    ///
    /// # Cancel safety
    ///
    /// If dropped, the verdict may or may not be set; call it again.
    async fn judge(&self, instance: &Instance, verdict: Option<Verdict>) -> Result<()>;

    /// Gives a role to a candidate for `ttl`, or keeps it so for its holder; `None` while it is another's.
    ///
    /// The token is that of the term: it stays while the holder asks in time, and what is written elsewhere can carry it.
    ///
    /// # Errors
    ///
    /// `Invalid` if `ttl` is outside [`MIN_TTL`]..=[`MAX_TTL`].
    ///
    /// # Cancel safety
    ///
    /// If dropped, the candidate may or may not hold the role; call it again, or [`resign`](Self::resign).
    async fn elect(
        &self,
        role: &Role,
        candidate: Incarnation,
        ttl: Duration,
    ) -> Result<Option<FencingToken>>;

    /// Gives up a role, so that the next who asks has it; does nothing for one who does not hold it.
    ///
    /// # Errors
    ///
    /// Only those of the connection.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the role may or may not be given up; call it again, or let its time run out.
    async fn resign(&self, role: &Role, candidate: Incarnation) -> Result<()>;

    /// Ends the registration; succeeds if it has already ended.
    ///
    /// # Errors
    ///
    /// Only those of the connection.
    ///
    /// # Cancel safety
    ///
    /// If dropped, it may or may not have ended; call it again, or let the lease expire.
    async fn deregister(&self, registration: &Registration) -> Result<()>;

    /// Lists the live records that pass the filter, in no particular order.
    ///
    /// # Errors
    ///
    /// Only those of the connection.
    ///
    /// # Cancel safety
    ///
    /// Reads only; may be dropped at any time.
    async fn list(&self, filter: &Filter) -> Result<Vec<Arc<AgentRecord>>>;

    /// Finds the live records that offer what is required, whatever their health and tenant.
    ///
    /// # Errors
    ///
    /// Only those of the connection.
    ///
    /// # Cancel safety
    ///
    /// Reads only; may be dropped at any time.
    async fn find(&self, requirement: &Requirement) -> Result<Vec<Arc<AgentRecord>>> {
        self.list(&Filter::all().with_requirement(requirement.clone()))
            .await
    }

    /// Lists what is on offer among the records that pass the filter: each capability with its schemas and its agents.
    ///
    /// # Errors
    ///
    /// Only those of the connection.
    ///
    /// # Cancel safety
    ///
    /// Reads only; may be dropped at any time.
    async fn catalogue(&self, filter: &Filter) -> Result<Catalogue> {
        Ok(Catalogue::of(&self.list(filter).await?))
    }

    /// Watches all records, beginning with a resync.
    ///
    /// # Errors
    ///
    /// Only those of the connection.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    async fn watch(&self) -> Result<Watch>;
}

/// The shortest lease.
pub const MIN_TTL: Duration = Duration::from_millis(10);

/// The longest lease: one day.
pub const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Checks a lease's time-to-live; backends call it before they register.
///
/// # Errors
///
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if it is outside [`MIN_TTL`]..=[`MAX_TTL`].
pub fn validate_ttl(ttl: Duration) -> Result<()> {
    if (MIN_TTL..=MAX_TTL).contains(&ttl) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "a lease must last {MIN_TTL:?} to {MAX_TTL:?}, not {ttl:?}"
    )))
}

/// Proves that an instance is registered: what `renew`, `update` and `deregister` ask for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Registration {
    /// The instance that is registered.
    pub instance: Instance,
    /// The token of this registration, greater than those of all before it.
    pub token: FencingToken,
    /// How long the lease lasts after each renewal; renew about three times as often.
    pub ttl: Duration,
}

impl Registration {
    /// Returns the agent's logical identity.
    pub fn agent(&self) -> &AgentId {
        &self.instance.agent
    }

    /// Returns the start of the process that is registered.
    pub fn incarnation(&self) -> Incarnation {
        self.instance.incarnation
    }
}
