//! Agent registry of CODITECT: who is there, what they can do, and whom to give the next task.
//!
//! Agents are found by **capability**, not by address. A process that starts draws an [`Incarnation`] and registers an
//! [`AgentRecord`] for each of its agents: what it can do ([`Capability`], with a semantic version and JSON schemas), how
//! much it may do at once, where it stands. The record lives under a **lease** that the process renews, and with each
//! renewal it reports its [`Load`] and [`Health`]. A process that dies renews nothing, so its records vanish by
//! themselves; no one has to notice first.
//!
//! Whoever has tasks to give follows the registry with a [`View`]: a copy in the same process, kept true by the
//! registry's [`Watch`]. A task states a [`Requirement`] such as `summarize@^1.2`; the view knows who meets it, and a
//! [`Balancer`] chooses one of them. Its [`Choice`] counts the task as in flight there until it is dropped, and takes the
//! outcome, from which the next choices learn. None of this does I/O: a pick among 10,000 agents that offer five
//! capabilities each takes less than a microsecond (`cargo bench -p coditect-registry --bench selection`).
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use coditect_registry::{
//!     AgentRecord, Balancer, Capability, Health, Incarnation, Load, MemoryRegistry, Outcome, Registry, View,
//! };
//! use tokio::time::Instant;
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
//! // A coordinator chooses it for a task; the time and the random number are handed in.
//! let balancer = Balancer::new(view.clone());
//! let now = Instant::now();
//! let choice = balancer.pick(&"summarize@^1.2".parse()?, now, 42).ok_or("unserved")?;
//! assert_eq!(choice.instance(), &registration.instance);
//! choice.done(Outcome::Succeeded, now.elapsed());
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
//! Who meets a requirement is chosen from in tiers, and the first that is not empty counts: an agent's own tenant before
//! those who serve all; among each, the ready, then the degraded, then those who are set aside. Within a tier a selector
//! decides. [`Strategy`] names them for settings, a [`Policy`] takes one, or a [`Selector`] of your own:
//!
//! | selector | `Strategy` | chooses | cost among *n* |
//! |---|---|---|---|
//! | [`RoundRobin`] | `round-robin` | each in turn, exactly | O(1) |
//! | [`PowerOfTwoChoices`] | `two-choices` | the less loaded of two drawn at random; the usual one | O(1) |
//! | [`PeakEwma`] | `peak-ewma` | of two drawn at random the one expected to be done sooner | O(1) |
//! | [`Weighted`] | `weighted` | at random, in proportion to the capacities | O(log n) |
//! | [`LeastConnections`] | `least-connections` | the least loaded of all, exactly | O(log n), and again when a task ends |
//!
//! Loads are compared for the capacity, which is [`Weight`] × slots. Take `peak-ewma` where the speed of agents differs,
//! `least-connections` where one process gives all the work, `weighted` where many do and reports are old, `round-robin`
//! where every agent and every task are alike. What they make of one agent in ten that is ten times slower is printed by
//! `cargo test -p coditect-registry slow_agent -- --nocapture`.
//!
//! On top of the selector:
//!
//! - **In-flight counts** are held by guards, so they are right after panics and cancellations; another incarnation is
//!   another candidate, so they are right after crashes. The reports of agents tell what other processes have given them.
//! - **[`SlowStart`]** (of the view) gives who is new a part of its capacity at first.
//! - **[`Ejection`]** (of the policy) sets aside who fails in a row, or much more than the others do; for longer each time,
//!   never all of them, and never so that nobody is left.
//! - **[`Choice::lost`]** tells the moment at which the instance leaves the registry or is evicted, so that the task goes
//!   elsewhere at once.
//!
//! # Health
//!
//! | is judged by | tells | seen in |
//! |---|---|---|
//! | the lease | that its process lives | the record is there |
//! | itself, by `renew` and `update` | whether it wants work ([`Health`]), and why ([`Reason`]) | `health`, `health_reason` |
//! | a [`Checker`], by [`Registry::judge`] | whether it answers ([`Verdict`]), and why | `verdict` |
//! | each balancer | whether tasks of a capability succeed there | [`Candidate::success_rate`], [`Candidate::ejected_until`] |
//!
//! [`AgentRecord::standing`] is the worse of what an instance reports and what a checker has found. An evicted instance keeps
//! its lease, is chosen by nobody, and comes back when it answers again, or when it registers anew. A checker asks on the
//! way on which tasks go, by a [`Probe`] that the caller brings. [`View::catalogue`] lists what is on offer, and how those
//! are who offer it.
//!
//! # When the registry is out of reach
//!
//! Choices go on from the view, which says since when it has been [stale](View::stale_since); after a
//! [limit](ViewBuilder::with_stale_limit) (5 minutes, if not set) picks give nothing. A gap in the watch, or a new one,
//! begins with a resync that changes only what differs: counts and observations stay. If a registry has lost
//! its data, or comes back without most of those it knew, they stay for a [grace](ViewBuilder::with_grace) until they have registered again.
//!
//! # Backends
//!
//! [`MemoryRegistry`] lives in the process; `RedisRegistry` (feature `redis`) is one for all processes of a deployment, with
//! leases by the server's clock and records that survive its loss of data. [`Registry`] states the contract by numbered rules, and the module
//! `conformance` (feature `test-util`) holds any backend to them. Changes go to watchers through a bounded buffer; who
//! falls behind gets a [`Change::Resync`] in place of what was missed, or a [`Change::Reset`] when the data were lost.
//!
//! # Features
//!
//! - `redis`: the registry on Redis: one server, behind sentinels, or a cluster, with TLS.
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
pub use identity::{AgentId, FencingToken, Incarnation, Instance, Role, TenantId};
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
