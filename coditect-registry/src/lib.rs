//! Agent registry of CODITECT: who is there, what they can do, and whom to give the next task.
//!
//! Agents are found by **capability**, not by address. A process that starts draws an [`Incarnation`] and registers an
//! [`AgentRecord`] for each of its agents: what it can do ([`Capability`], with a semantic version and JSON schemas), how
//! much it may do at once, where it stands. The record lives under a **lease** that the process renews, and with each
//! renewal it reports its [`Load`] and [`Health`]. A process that dies renews nothing, so its records vanish by
//! themselves; no one has to notice first.
//!
//! Whoever has tasks to give follows the registry with a [`View`]: a copy in the same process, kept true by the
//! registry's [`Watch`]. A task states a [`Requirement`] such as `summarize@^1.2`; the view knows who meets it, a
//! [`Selector`] chooses one of them, and [`Picked`] counts the task as in flight there until it is dropped. None of this
//! does I/O: a pick among 10,000 agents takes less than a microsecond.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use coditect_registry::{
//!     AgentRecord, Capability, Health, Incarnation, LeastConnections, Load, MemoryRegistry, Registry, View,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Arc::new(MemoryRegistry::new());
//! let view = View::follow(registry.clone()).await?;
//!
//! // A worker starts and offers what it can do, under a lease of ten seconds.
//! let changed = view.changed();
//! let record = AgentRecord::new("writer".parse()?, Incarnation::fresh())
//!     .with_capabilities([Capability::new("summarize", "1.4.0".parse()?)?])
//!     .with_load(Load::idle(8));
//! let registration = registry.register(record, Duration::from_secs(10)).await?;
//! changed.await;
//!
//! // A coordinator chooses it for a task; the random number is handed in.
//! let picked = view.pick(&"summarize@^1.2".parse()?, &LeastConnections, 42).ok_or("unserved")?;
//! assert_eq!(picked.instance(), &registration.instance);
//!
//! // The worker's heartbeat says that it wants no more work.
//! let changed = view.changed();
//! registry.renew(&registration, Load::new(1, 8), Health::Draining).await?;
//! changed.await;
//! assert!(!view.offers(&"summarize".parse()?));
//! # Ok(())
//! # }
//! ```
//!
//! # Identity
//!
//! An [`AgentId`] names an agent over all its restarts and replicas; an [`Instance`] is one of them: the agent, the
//! incarnation, and the tenant if it belongs to one. A restarted process has another incarnation, so it can never
//! heartbeat for its dead predecessor. Replicas stand beside each other, unless the agent is exclusive: then the newest
//! start wins, and the older one's renewals are refused. Each [`Registration`] bears a [`FencingToken`], greater than all
//! before it, by which other systems can refuse what an outdated instance still writes.
//!
//! # What a refusal means
//!
//! | [`ErrorKind`] | what to do |
//! |---|---|
//! | `LeaseLost` | register again: the lease ran out, and what was in flight here has gone elsewhere |
//! | `Superseded` | stop: a newer incarnation holds the exclusive name |
//! | `Invalid` | correct the record; repeating it fails again |
//! | `Unavailable`, `OutcomeUnknown` | try again after a backoff; every call may be repeated |
//!
//! # Choosing
//!
//! | selector | chooses | cost among *n* |
//! |---|---|---|
//! | [`RoundRobin`] | each in turn, exactly | O(1) |
//! | [`PowerOfTwoChoices`] | the less loaded of two drawn at random | O(1) |
//! | [`Weighted`] | at random, in proportion to the weights | O(log n) |
//! | [`LeastConnections`] | the least loaded of all for its weight, exactly | O(log n), and again when a task ends |
//!
//! # Backends
//!
//! [`MemoryRegistry`] lives in the process. [`Registry`] states the contract by numbered rules, and the module
//! `conformance` (feature `test-util`) holds any backend to them. Changes go to watchers through a bounded buffer; who
//! falls behind gets a [`Change::Resync`] in place of what was missed.
//!
//! # Features
//!
//! - `test-util`: the conformance suite.

mod balancer;
mod capability;
mod catalogue;
#[cfg(feature = "test-util")]
pub mod conformance;
mod deadlines;
mod error;
mod filter;
mod health;
mod identity;
mod memory;
mod observed;
mod observer;
mod random;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod registry;
mod selector;
mod view;
mod watch;

pub use balancer::{Balancer, Choice, Policy, Strategy};
pub use capability::{Capability, CapabilityName, Requirement};
pub use catalogue::{Catalogue, CatalogueEntry};
pub use error::{Error, ErrorKind, Result};
pub use filter::Filter;
pub use health::{Answer, CheckPolicy, Checker, Finding, Probe, Reason, Standing, Verdict};
pub use identity::{AgentId, FencingToken, Incarnation, Instance, TenantId};
pub use memory::{MemoryRegistry, MemoryRegistryBuilder};
pub use observed::{Ejection, Outcome};
pub use observer::{NoObserver, Observer};
pub use record::{AgentRecord, Health, Load, Weight};
#[cfg(feature = "redis")]
pub use redis::{Hazard, RedisRegistry, RedisRegistryBuilder};
pub use registry::{MAX_TTL, MIN_TTL, Registration, Registry, validate_ttl};
pub use selector::{
    Candidate, Candidates, InFlight, LeastConnections, PeakEwma, PowerOfTwoChoices, RoundRobin,
    Selector, Weighted,
};
pub use view::{Picked, SlowStart, TenantView, View, ViewBuilder};
pub use watch::{Change, Event, RemovalReason, Watch};
