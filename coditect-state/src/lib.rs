//! State store of CODITECT: serializable transactions over ordered keys, leases, checkpoints, blackboard.

pub mod key;
pub mod memory;

mod error;
mod observer;
mod range;
mod store;
mod token;
mod transact;
mod transaction;
mod version;
mod watch;

pub use crate::error::{Error, ErrorKind, Result};
pub use crate::memory::MemoryStore;
pub use crate::observer::{Committed, NoObserver, StateObserver};
pub use crate::range::{Entry, Page, Range};
pub use crate::store::{Capabilities, Limits, StateStore};
pub use crate::token::FencingToken;
pub use crate::transact::{StateStoreExt, TransactOptions, Tx};
pub use crate::transaction::{Transaction, TransactionExt};
pub use crate::version::{CommitVersion, Stamped, Versionstamp};
pub use crate::watch::{Watch, WatchNotifier};
