//! The port: a store of ordered keys with serializable transactions.

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;

use crate::error::Result;
use crate::observer::{NoObserver, StateObserver};
use crate::transact::random_share;
use crate::transaction::Transaction;
use crate::watch::Watch;

/// Keeps ordered keys and values behind serializable transactions.
///
/// Held as `Arc<dyn StateStore>`. [`StateStoreExt::transact`](crate::StateStoreExt::transact) is the way
/// to use it; `begin` and `commit` are there for those who keep their own retries.
///
/// # Contract
///
/// The conformance suite (feature `test-util`) has a test named after each rule.
///
/// - **R1** A key that was never set reads as `None`; a committed value is read by every transaction begun later.
/// - **R2** Inside a transaction its own writes are read back: sets, clears and cleared ranges, by
///   `get` and by `range`, in forward and in reverse.
/// - **R3** A transaction dropped without commit changes nothing.
/// - **R4** All reads of a transaction see one state: that of its first read. A store that no longer has it refuses the
///   read with [`Conflict`](crate::ErrorKind::Conflict).
/// - **R5** Two transactions that read and write the same key cannot both commit: the later fails with
///   [`Conflict`](crate::ErrorKind::Conflict) and changes nothing.
/// - **R6** Write skew does not happen: what was read by `get` must be unchanged at commit.
/// - **R7** Phantoms do not happen: a range that was read must have gained, lost and changed no key at commit.
///   Only what the page covered counts.
/// - **R8** Snapshot reads never make a commit conflict, and see the same state as other reads, own writes included.
/// - **R9** A transaction that only writes, or only reads, never conflicts.
/// - **R10** `range` gives keys in byte order, reversed on request, at most `limit` a page, and a `next`
///   that neither repeats nor leaves out a key.
/// - **R11** `clear_range` removes exactly `begin <= key < end`; writes of one transaction take effect in the order
///   in which they were made.
/// - **R12** Keys, values and transactions up to the [`Limits`] are taken; larger ones fail with
///   [`TooLarge`](crate::ErrorKind::TooLarge), keys and values when they are written, transactions at the latest
///   by commit, and then nothing is changed.
/// - **R13** `compare_and_set` writes only if the value is the expected one, and of several racing ones at most one wins.
/// - **R14** Commit versions grow, and a transaction that sees a commit commits with a greater version.
/// - **R15** Versionstamped keys and values carry the version of their commit, so that their byte order is the
///   order of commits, and of the writer's number within one. They cannot be read in their own transaction: the key is
///   not there yet, and to get a key whose value waits for its stamp is an error of kind
///   [`Invalid`](crate::ErrorKind::Invalid).
/// - **R16** A watch reports every change committed after `watch` returned, whether or not somebody was waiting.
///   Other keys, failed and dropped transactions need not be reported.
/// - **R17** Any bytes are a key or a value, the empty ones too; keys that start with `0xff` are refused
///   with [`Invalid`](crate::ErrorKind::Invalid), they belong to stores themselves.
/// - **R18** `now` does not run backwards within one store.
#[async_trait]
pub trait StateStore: fmt::Debug + Send + Sync + 'static {
    /// Begins a transaction.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) if the store cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a transaction that was not returned has done nothing.
    async fn begin(&self) -> Result<Box<dyn Transaction>>;

    /// Registers a watch on a key; it is in force when this returns.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) if the store cannot be reached or has no watch left.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a watch that was not returned is ended.
    async fn watch(&self, key: &[u8]) -> Result<Watch>;

    /// Reads the store's clock, by which leases expire.
    ///
    /// Where [`Capabilities::server_clock`] is false it is this machine's clock, and machines that
    /// share the store must agree on the time to within the slack of their leases. Fencing
    /// tokens keep data safe even when they do not.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) if the store cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only reads.
    async fn now(&self) -> Result<SystemTime>;

    /// Returns what the store can do beyond the contract, or cannot help.
    fn capabilities(&self) -> Capabilities;

    /// Returns the greatest sizes that the store takes.
    fn limits(&self) -> Limits;

    /// Returns a number from 0.0 up to 1.0 by which [`transact`](crate::StateStoreExt::transact) spreads its attempts; at
    /// random, unless the store is one of a simulation that is to repeat itself.
    fn jitter(&self) -> f64 {
        random_share()
    }

    /// Returns who is told of commits, conflicts and leases; nobody by default.
    fn observer(&self) -> &dyn StateObserver {
        &NoObserver
    }
}

/// States what differs between stores that all keep the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// A committed transaction outlives this process.
    pub durable: bool,
    /// Several processes can share the store.
    pub shared: bool,
    /// A commit may end with [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown), so that
    /// [`transact`](crate::StateStoreExt::transact) writes an operation key with each attempt.
    pub unknown_outcomes: bool,
    /// [`StateStore::now`] is one clock for all who share the store.
    pub server_clock: bool,
}

impl Capabilities {
    /// Creates the capabilities of a store within one process: nothing durable, nothing shared, nothing unknown, one clock.
    pub const fn in_process() -> Self {
        Self {
            durable: false,
            shared: false,
            unknown_outcomes: false,
            server_clock: true,
        }
    }

    /// Sets whether a committed transaction outlives the process.
    #[must_use]
    pub const fn with_durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Sets whether several processes can share the store.
    #[must_use]
    pub const fn with_shared(mut self, shared: bool) -> Self {
        self.shared = shared;
        self
    }

    /// Sets whether a commit may end without an answer.
    #[must_use]
    pub const fn with_unknown_outcomes(mut self, unknown_outcomes: bool) -> Self {
        self.unknown_outcomes = unknown_outcomes;
        self
    }

    /// Sets whether all who share the store share its clock.
    #[must_use]
    pub const fn with_server_clock(mut self, server_clock: bool) -> Self {
        self.server_clock = server_clock;
        self
    }
}

/// States the greatest sizes that a store takes, in bytes.
///
/// The default is what FoundationDB takes, for every store, so that what runs in memory
/// today runs on a cluster tomorrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest key.
    pub key: usize,
    /// The longest value; what is larger goes by claim check.
    pub value: usize,
    /// The keys and values written by one transaction, together; cleared keys and ranges count with their bounds.
    pub transaction: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            key: 10_000,
            value: 100_000,
            transaction: 10_000_000,
        }
    }
}
