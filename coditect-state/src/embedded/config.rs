//! How a store in a file is opened.

use std::path::PathBuf;
use std::sync::Arc;

use super::EmbeddedStore;
use crate::error::Result;
use crate::observer::{NoObserver, StateObserver};
use crate::store::Limits;

/// Opens an [`EmbeddedStore`].
#[derive(Debug, Clone)]
#[must_use = "nothing is opened before `open`"]
pub struct EmbeddedStoreBuilder {
    pub(super) path: PathBuf,
    pub(super) limits: Limits,
    pub(super) history: usize,
    pub(super) cache: usize,
    pub(super) verified: bool,
    pub(super) observer: Arc<dyn StateObserver>,
}

impl EmbeddedStoreBuilder {
    /// How many commits a transaction may fall behind when nothing else is asked for.
    pub const DEFAULT_HISTORY: usize = 100_000;

    /// How many bytes of the file are kept in memory when nothing else is asked for: 64 MiB.
    pub const DEFAULT_CACHE: usize = 64 << 20;

    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            limits: Limits::default(),
            history: Self::DEFAULT_HISTORY,
            cache: Self::DEFAULT_CACHE,
            verified: true,
            observer: Arc::new(NoObserver),
        }
    }

    /// Sets the greatest sizes that the store takes.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how many commits a transaction may fall behind its first read before it gets a conflict; at least one.
    ///
    /// What a transaction may still read is not given free in the file, so an idle one cannot make it grow for ever.
    pub fn with_history(mut self, commits: usize) -> Self {
        self.history = commits.max(1);
        self
    }

    /// Sets how many bytes of the file are kept in memory.
    pub fn with_cache(mut self, bytes: usize) -> Self {
        self.cache = bytes;
        self
    }

    /// Sets whether opening reads the whole file and compares its checksums; true by default.
    ///
    /// Without it a file that was closed in order is trusted, and damage may be met only when it is read, or by
    /// [`check`](EmbeddedStore::check). It saves the time to read the file once. After a crash the file is
    /// verified in any case.
    pub fn with_verification(mut self, verified: bool) -> Self {
        self.verified = verified;
        self
    }

    /// Sets who is told of commits, conflicts and leases.
    pub fn with_observer(mut self, observer: Arc<dyn StateObserver>) -> Self {
        self.observer = observer;
        self
    }

    /// Opens the file, or creates it in a directory that exists.
    ///
    /// # Errors
    ///
    /// - [`Unavailable`](crate::ErrorKind::Unavailable): the file is open elsewhere, or the disk is full or does not answer.
    /// - [`Invalid`](crate::ErrorKind::Invalid): there is no such directory, no permission, or a file system that is read only.
    /// - [`Corrupt`](crate::ErrorKind::Corrupt): the file is no store, is damaged, or was written by a newer release.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a store that was not returned is closed again.
    pub async fn open(self) -> Result<EmbeddedStore> {
        EmbeddedStore::open_with(self).await
    }
}
