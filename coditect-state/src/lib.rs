//! State store of CODITECT: serializable transactions over ordered keys, leases, checkpoints, blackboard.

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
pub mod key;
pub mod memory;

mod blackboard;
mod checkpoint;
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
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::lease::{KeptLease, Lease, LeaseInfo, Leases};
pub use crate::memory::MemoryStore;
pub use crate::observer::{Committed, NoObserver, StateObserver};
pub use crate::range::{Entry, Page, Range};
pub use crate::steps::Steps;
pub use crate::store::{Capabilities, Limits, StateStore};
pub use crate::token::FencingToken;
pub use crate::transact::{StateStoreExt, TransactOptions, Tx};
pub use crate::transaction::{Transaction, TransactionExt};
pub use crate::version::{CommitVersion, Stamped, Versionstamp};
pub use crate::watch::{Watch, WatchNotifier};
