//! Guards before the ports: what stands between this crate and a broker, a registry or a store of another process.
//!
//! A server that is gone, or hangs, makes each of its callers wait for as long as a call may take, and all of them come back
//! at once. A guard finds that out once for all of a process: while its breaker is open, calls are refused in a
//! microsecond, with [`Unavailable`](crate::ErrorKind::Unavailable) and what was wrong last; a few probes find the server well
//! again. At most so many calls are under way at once, and no more than so many wait behind them.
//!
//! A guard never repeats a call, as there is a place for each that does: transactions, the publisher of a partition,
//! the keepers of leases and registrations. All of them take a refusal for what it is, a server that is not there.
//!
//! [`RuntimeBuilder`](crate::RuntimeBuilder) puts them before every port of another process. Whoever makes ports may put one
//! there himself, under a journal for instance:
//!
//! ```
//! use std::sync::Arc;
//! use coditect_core::guard::{GuardPolicy, GuardedStore};
//! use coditect_core::state::{MemoryStore, StateStore, StateStoreExt, TransactionExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), coditect_core::state::Error> {
//! let store = GuardedStore::new(Arc::new(MemoryStore::new()), GuardPolicy::state());
//! store.transact(|mut tx| async move { tx.set_json(b"visits", &1) }).await?;
//! store.breaker().force_open();
//! let refused = store.begin().await.unwrap_err();
//! assert_eq!(refused.to_string(), "calls to the state store are refused until its breaker is reset");
//! store.breaker().reset();
//! # Ok(())
//! # }
//! ```

mod bus;
mod circuit;
mod policy;
mod refusal;
mod registry;
mod set;
mod store;
mod transaction;

pub use self::bus::GuardedBus;
pub use self::policy::GuardPolicy;
pub use self::registry::GuardedRegistry;
pub(crate) use self::set::{GuardSet, Guards};
pub use self::store::GuardedStore;
