//! The store in one file: serializable, crash-safe, for one process at a time.
//!
//! `redb` keeps the file: a tree that is copied on write, with checksums. Reads see the state of one commit and hold up
//! nobody. Commits go to one thread, which owns the file for writing. It takes all that wait, checks each against what was
//! changed since its first read, also by those before it, applies the ones that pass, and makes them durable
//! together: one sync serves thousands of transactions, and each is answered only after it.
//!
//! # What the file survives
//!
//! A commit is written and synced before the byte that makes it valid is, which is synced in its turn. So killing the
//! process or losing power leaves every answered transaction and no half one, and repair never falls back behind a
//! commit that was valid. A full disk fails the commits that need room, changes nothing, and is over when there is room.
//! Truncated files and flipped bits in what is stored are found when the file is opened, see
//! [`with_verification`](EmbeddedStoreBuilder::with_verification), and by [`check`](EmbeddedStore::check).

mod backend;
mod committer;
mod config;
mod conflicts;
mod error;
mod file;
mod group;
mod snapshot;
mod transaction;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use redb::Database;
use tokio::sync::{mpsc, oneshot};

use self::backend::Progress;
use self::committer::{Clock, Committer, Request};
pub use self::config::EmbeddedStoreBuilder;
use self::error::Fault;
use self::file::Opening;
use self::snapshot::Snapshots;
use self::transaction::EmbeddedTransaction;
use crate::error::{Error, ErrorKind, Result};
use crate::observer::StateObserver;
use crate::store::{Capabilities, Limits, StateStore};
use crate::transaction::Transaction;
use crate::watch::{Watch, WatchTable};

/// How many requests wait for the committing thread before those who make them do.
const QUEUE: usize = 4_096;

/// Keeps everything in one file; clones share it.
///
/// The file is locked: a second process that opens it gets an error. It is closed when the last clone and the last
/// transaction are dropped, which waits for the commit under way; [`close`](Self::close) does so without blocking.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use coditect_state::{EmbeddedStore, StateStoreExt, TransactionExt};
///
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("state.redb");
/// let store = EmbeddedStore::open(&path).await?;
/// store.transact(|mut tx| async move { tx.set_json(b"visits", &1) }).await?;
/// store.close().await?;
///
/// let store = EmbeddedStore::open(&path).await?;
/// let visits: Option<u32> = store.transact(|mut tx| async move { tx.get_json(b"visits").await }).await?;
/// assert_eq!(visits, Some(1));
/// # Ok::<_, coditect_state::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct EmbeddedStore {
    handle: Arc<Handle>,
}

/// Is what the store and its transactions share; the last one ends the thread.
struct Handle {
    core: Arc<Core>,
    path: PathBuf,
    /// `None` only while this is dropped.
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

/// Is what they share with the committing thread.
struct Core {
    /// `None` after a failure, until the file is opened again. Locked for writing by the thread alone.
    database: RwLock<Option<Database>>,
    snapshots: Snapshots,
    watches: Mutex<WatchTable>,
    closed: AtomicBool,
    clock: Clock,
    limits: Limits,
    observer: Arc<dyn StateObserver>,
}

impl EmbeddedStore {
    /// Opens a file with the default options, or creates it in a directory that exists.
    ///
    /// # Errors
    ///
    /// As [`EmbeddedStoreBuilder::open`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a store that was not returned is closed again.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self> {
        Self::builder(path).open().await
    }

    /// Begins to say how a file is to be opened.
    pub fn builder(path: impl Into<PathBuf>) -> EmbeddedStoreBuilder {
        EmbeddedStoreBuilder::new(path.into())
    }

    async fn open_with(builder: EmbeddedStoreBuilder) -> Result<Self> {
        let opening = Opening {
            path: builder.path.clone(),
            cache: builder.cache,
            verified: builder.verified,
            progress: Progress::default(),
            #[cfg(test)]
            faults: tests::Faults::default(),
        };
        Self::start(builder, opening).await
    }

    async fn start(builder: EmbeddedStoreBuilder, opening: Opening) -> Result<Self> {
        let (requests, received) = mpsc::channel(QUEUE);
        let (opened, answer) = oneshot::channel();
        let path = builder.path.clone();
        let run = move || {
            // The engine may panic over a damaged file; the answer is dropped then.
            let (core, committer) = match start_thread(&builder, opening) {
                Ok(started) => started,
                Err(fault) => return drop(opened.send(Err(fault))),
            };
            if opened.send(Ok(core)).is_ok() {
                committer.run(received);
            }
        };
        let what = "opening the store's file";
        let thread = thread::Builder::new().name("coditect-state".into());
        let thread = thread
            .spawn(run)
            .map_err(|error| Fault::from(error).during(what))?;
        let core = match answer.await {
            Ok(Ok(core)) => core,
            Ok(Err(fault)) => return Err(fault.during(what)),
            Err(_) => return Err(Fault::Damaged("the engine broke off".into()).during(what)),
        };
        let handle = Handle {
            core,
            path,
            requests: Some(requests),
            thread: Some(thread),
        };
        Ok(Self {
            handle: Arc::new(handle),
        })
    }

    /// Returns where the file is.
    pub fn path(&self) -> &Path {
        &self.handle.path
    }

    /// Reads the whole file and compares every checksum, while everybody else waits.
    ///
    /// Transactions under way get a conflict. After an error the store opens the file again when it is next used, if it
    /// can; what was answered before and is not there then is an error of its own.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](ErrorKind::Corrupt) if the file is damaged, also where the damage could be mended;
    /// [`Unavailable`](ErrorKind::Unavailable) if it cannot be read.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the check goes on and nobody is told.
    pub async fn check(&self) -> Result<()> {
        self.handle.ask(Request::Check).await
    }

    /// Moves what is stored together, gives the rest of the file back to the file system, and returns how many
    /// bytes that were. Everybody else waits meanwhile, and transactions under way get a conflict.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) if the file cannot be read or written; nothing is lost.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the compaction goes on and nobody is told.
    pub async fn compact(&self) -> Result<u64> {
        self.handle.ask(Request::Compact).await
    }

    /// Closes the file for all who share the store, after what was asked before; from then on everything
    /// is [`Unavailable`](ErrorKind::Unavailable).
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) if the file could not be closed in order. It is closed all the same, nothing
    /// is lost, and the next one to open it repairs it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the store is closed and nobody is told.
    pub async fn close(&self) -> Result<()> {
        self.handle.ask(Request::Close).await
    }
}

fn start_thread(
    builder: &EmbeddedStoreBuilder,
    opening: Opening,
) -> std::result::Result<(Arc<Core>, Committer), Fault> {
    let (database, last) = opening.open()?;
    let snapshots = Snapshots::default();
    snapshots.publish(last.version, last.version);
    let core = Arc::new(Core {
        database: RwLock::new(Some(database)),
        snapshots,
        watches: Mutex::default(),
        closed: AtomicBool::new(false),
        clock: Clock::after(last.time),
        limits: builder.limits,
        observer: Arc::clone(&builder.observer),
    });
    let committer = Committer::new(Arc::clone(&core), opening, last, builder.history);
    Ok((core, committer))
}

impl Handle {
    async fn send(&self, request: Request) -> Result<()> {
        let gone = || Fault::Closed.during("asking the committing thread");
        let requests = self.requests.as_ref().ok_or_else(gone)?;
        requests.send(request).await.map_err(|_| gone())
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T>>) -> Request,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.send(request(reply)).await?;
        let lost = |_| {
            let text = "the committing thread broke off without an answer";
            Error::new(ErrorKind::Corrupt, text)
        };
        answer.await.map_err(lost)?
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was reported when it happened.
            drop(thread.join());
        }
    }
}

#[async_trait]
impl StateStore for EmbeddedStore {
    async fn begin(&self) -> Result<Box<dyn Transaction>> {
        // Looked at without waiting: while the thread holds it, the file is about to be open.
        let failed =
            |database: parking_lot::RwLockReadGuard<'_, Option<Database>>| database.is_none();
        if self.handle.core.database.try_read().is_some_and(failed) {
            self.handle.ask(Request::Reopen).await?;
        }
        Ok(Box::new(EmbeddedTransaction::new(Arc::clone(&self.handle))))
    }

    async fn watch(&self, key: &[u8]) -> Result<Watch> {
        let mut watches = self.handle.core.watches.lock();
        if self.handle.core.closed.load(Ordering::SeqCst) {
            return Err(Fault::Closed.during("watching a key"));
        }
        Ok(watches.watch(key))
    }

    async fn now(&self) -> Result<SystemTime> {
        Ok(self.handle.core.clock.now())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::in_process().with_durable(true)
    }

    fn limits(&self) -> Limits {
        self.handle.core.limits
    }

    fn observer(&self) -> &dyn StateObserver {
        &*self.handle.core.observer
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore")
            .field("path", &self.handle.path)
            .field("version", &self.handle.core.snapshots.latest())
            .finish_non_exhaustive()
    }
}
