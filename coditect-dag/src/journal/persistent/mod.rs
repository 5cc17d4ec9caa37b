//! The journal over any [`StateStore`]: as durable, and as shared, as the store is.
//!
//! # How it is laid out
//!
//! The records of a run that are appended together lie together, as lines of JSON under the run and the position of
//! the first; nothing is rewritten but the run's head. Content of agents lies in its record where it is small, and once
//! for each run under its hash where it is large. So what an append writes, and what a load reads, grows with
//! what it is about and not with what was before. The module `key` has the whole table.
//!
//! # How it is kept exact
//!
//! Every append reads who owns the partition, in its own transaction; a claim writes that. So a stale owner's append
//! cannot commit, and renewals, which touch only the time, hold up nobody. Arrivals in an inbox lie in the order
//! of their commits, so that those who submit never wait for one another. An owner keeps the heads of its open
//! runs in memory, for as long as a counter in the store says that nobody else has appended.

mod append;
mod archive;
mod blob;
mod config;
mod error;
mod head;
mod import;
mod inbox;
mod key;
mod line;
mod list;
mod members;
mod owner;
mod payload;
mod port;
mod read;
mod retention;
mod snapshot;
mod submit;
mod touched;
mod watch;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use coditect_state::{StateStore, StateStoreExt, TransactionExt, Tx};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

pub use self::archive::{Belonging, RunArchive};
pub use self::config::StoreJournalConfig;
use self::error::{abort, corrupt};
use self::key::Keys;
use self::owner::Owned;
use self::retention::Swept;
use self::watch::Watched;
use super::{Error, ErrorKind, Partition, PartitionCount};

/// Content that is longer lies in the store by itself.
const INLINE: usize = 4 << 10;

/// What is written to the store, so that an older release does not misread it.
const FORMAT: u32 = 1;

/// Keeps runs in a [`StateStore`].
///
/// Any number of processes may open the same one, if the store can be shared.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use coditect_dag::journal::{RunJournal, StoreJournal, StoreJournalConfig, Submission};
/// use coditect_dag::{RunId, Timestamp};
/// use coditect_state::MemoryStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), coditect_dag::journal::Error> {
/// let store = Arc::new(MemoryStore::new());
/// let journal = StoreJournal::open(store.clone(), StoreJournalConfig::default()).await?;
/// let run = journal.submit(Submission::new(RunId::new(), "{}", Timestamp::from_millis(1))).await?.run;
///
/// let again = StoreJournal::open(store, StoreJournalConfig::default()).await?;
/// assert!(again.run(run).await?.is_some());
/// # Ok(())
/// # }
/// ```
pub struct StoreJournal {
    store: Arc<dyn StateStore>,
    keys: Keys,
    config: StoreJournalConfig,
    /// What this process knows of the partitions that it owns.
    owned: Mutex<FxHashMap<Partition, Owned>>,
    watched: Watched,
    swept: Mutex<FxHashMap<Partition, Swept>>,
}

#[derive(Serialize, Deserialize)]
struct FormatRow {
    format: u32,
    partitions: PartitionCount,
}

impl StoreJournal {
    /// Opens the journal in a store, or makes it.
    ///
    /// # Errors
    ///
    /// `Invalid` if the journal there has another number of partitions; `Corrupt` if a newer release wrote it, or if it
    /// cannot be read; `Unavailable`.
    ///
    /// # Cancel safety
    ///
    /// A dropped future may have made the journal.
    pub async fn open(
        store: Arc<dyn StateStore>,
        config: StoreJournalConfig,
    ) -> Result<Self, Error> {
        let keys = Keys::new(config.prefix.clone());
        let (key, partitions) = (&keys.format(), config.partitions);
        let agree = |mut tx: Tx| async move {
            let Some(row) = tx.get_json::<FormatRow>(key).await? else {
                let format = FORMAT;
                return tx.set_json(key, &FormatRow { format, partitions });
            };
            if row.format > FORMAT {
                let text = format!("it has format {}, this one knows {FORMAT}", row.format);
                return Err(corrupt("the journal was written by a newer release", text));
            }
            if row.partitions != partitions {
                return Err(abort(
                    ErrorKind::Invalid,
                    "the journal has another number of partitions",
                ));
            }
            Ok(())
        };
        store.transact(agree).await?;
        let journal = Self {
            store,
            keys,
            config,
            owned: Mutex::default(),
            watched: Watched::default(),
            swept: Mutex::default(),
        };
        if journal.config.sole_user {
            journal.end_leases().await?;
        }
        Ok(journal)
    }

    fn check_partition(&self, partition: Partition) -> Result<(), Error> {
        if partition.get() < self.config.partitions.get() {
            return Ok(());
        }
        let text = "the partition does not exist";
        Err(Error::new(ErrorKind::Invalid, text))
    }

    fn home(&self, run: crate::RunId) -> Partition {
        super::partition_of(run, self.config.partitions)
    }
}

impl fmt::Debug for StoreJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreJournal")
            .field("store", &self.store)
            .field("partitions", &self.config.partitions)
            .finish_non_exhaustive()
    }
}
