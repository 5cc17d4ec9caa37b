//! State store of CODITECT: serializable transactions over ordered keys, and what coordination is built of.
//!
//! Agents, coordinators and machines may die at any moment, and yet each transition of a run must happen exactly once.
//! All of that rests on one small idea, the [`StateStore`]: ordered keys and values, read and written in transactions
//! that behave as if they ran one after the other. The contract is written down as numbered rules at the
//! trait; the module `conformance` (feature `test-util`) has a test for each, for this crate's stores and for yours.
//!
//! ```
//! use std::sync::Arc;
//! use coditect_state::key::Subspace;
//! use coditect_state::{Election, Error, MemoryStore, Range, StateStoreExt, TransactionExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! let store = Arc::new(MemoryStore::new());
//! let queue = &Subspace::new(&("queue",));
//!
//! // Versionstamped keys: entries lie in the order of their commits, and writers never conflict.
//! for job in ["compile", "test", "publish"] {
//!     store.transact(|mut tx| async move { tx.set_stamped_key(queue.stamped(&(), 0), job.into()) }).await?;
//! }
//!
//! // One of several candidates leads, under a fencing token that only grows.
//! let election = Election::new(store.clone(), Subspace::new(&("leases",)), "worker", "host-a");
//! let leadership = &election.campaign().await?;
//!
//! // Take the first job, as if nobody else were there. If somebody is, one of both runs again.
//! let job = store
//!     .transact(|mut tx| async move {
//!         leadership.guard(&mut *tx).await?; // A leader that was replaced stops here.
//!         let first = tx.range(queue.range().with_limit(1)).await?.entries.pop();
//!         if let Some(entry) = &first {
//!             tx.clear(&entry.key)?;
//!         }
//!         Ok(first.map(|entry| entry.value))
//!     })
//!     .await?;
//! assert_eq!(job.as_deref(), Some(&b"compile"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! # How it is built
//!
//! - **The port.** [`StateStore`] begins a [`Transaction`], watches a key, tells the time by which leases
//!   expire, and states its [`Limits`] and [`Capabilities`]. Stores differ in what a commit costs and in whether it
//!   outlives the process, never in what it means. [`MemoryStore`] is the one for a single process and for tests;
//!   `EmbeddedStore` (feature `embedded`) keeps one file for one process at a time, and `RedisStore` (feature `redis`) is shared
//!   by many.
//! - **Running transactions.** [`transact`](StateStoreExt::transact) runs a closure until it commits, with bounds on attempts
//!   and time. Where the answer to a commit can get lost, it writes an operation key with each attempt; after a
//!   lost answer it looks for the key, or makes sure that the attempt can never happen any more. A program sees an unknown
//!   outcome only if the store stays out of reach.
//! - **Keys.** [`key`] makes bytes from tuples, in the same order, and [`Subspace`](key::Subspace)s keep the parts of a
//!   program apart.
//! - **Coordination.** [`Leases`] are exclusive rights bounded in time. Time alone protects nothing, since a
//!   holder may be paused past its expiry; so each has a [`FencingToken`], and [`Lease::guard`] makes a transaction
//!   commit only under the current one. [`Election`] is a lease that is kept.
//! - **Shared state.** [`Blackboard`] for the agents of a run, [`Checkpoint`] for snapshots that compare
//!   versions, [`Steps`] for pieces of work whose result is kept.
//!
//! # Which errors to handle
//!
//! [`Error::kind`] says what to do. Most programs meet [`TooLarge`](ErrorKind::TooLarge) (make it smaller),
//! [`LeaseLost`](ErrorKind::LeaseLost) (stop) and [`Unavailable`](ErrorKind::Unavailable) (later), since `transact` takes care of
//! the rest. A [`StateObserver`] is told of commits, conflicts and leases, for metrics.

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod key;
pub mod memory;
#[cfg(feature = "redis")]
pub mod redis;

mod blackboard;
mod checkpoint;
mod draft;
mod election;
mod error;
mod lease;
mod observer;
mod range;
mod steps;
mod store;
mod token;
mod transact;
mod transaction;
mod version;
mod watch;

pub use crate::blackboard::{Blackboard, BlackboardFollow, BlackboardWatch};
pub use crate::checkpoint::{Checkpoint, CheckpointVersion, Versioned};
pub use crate::election::Election;
#[cfg(feature = "embedded")]
pub use crate::embedded::EmbeddedStore;
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::lease::{KeptLease, Lease, LeaseInfo, Leases};
pub use crate::memory::MemoryStore;
pub use crate::observer::{Committed, NoObserver, StateObserver};
pub use crate::range::{Entry, Page, Range};
#[cfg(feature = "redis")]
pub use crate::redis::RedisStore;
pub use crate::steps::Steps;
pub use crate::store::{Capabilities, Limits, StateStore};
pub use crate::token::FencingToken;
pub use crate::transact::{StateStoreExt, TransactOptions, Tx};
pub use crate::transaction::{Transaction, TransactionExt};
pub use crate::version::{CommitVersion, Stamped, Versionstamp};
pub use crate::watch::{Watch, WatchNotifier};
