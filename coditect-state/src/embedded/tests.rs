//! What a file can do to a store: fill up, fail at any step, be damaged, be somebody else's.

mod damage;
mod failure;
mod life;

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use redb::StorageBackend;
use redb::backends::FileBackend;
use tempfile::TempDir;

use super::*;
use crate::range::Range;
use crate::transaction::TransactionExt;

/// Makes the file below a store fail.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    /// How many writes, growths and syncs still succeed; `None`: all.
    good: Option<u32>,
    /// Whether it is only the one after them that fails.
    once: bool,
    /// Nothing is written from this byte of the file on.
    full_at: Option<u64>,
    failed: bool,
}

impl Faults {
    fn fail_after(&self, good: u32, once: bool) {
        *self.0.lock() = Plan {
            good: Some(good),
            once,
            ..Plan::default()
        };
    }

    fn fill_disk_at(&self, bytes: u64) {
        self.0.lock().full_at = Some(bytes);
    }

    /// Ends all faults, and returns whether there was any.
    fn heal(&self) -> bool {
        std::mem::take(&mut *self.0.lock()).failed
    }

    fn step(&self) -> io::Result<()> {
        let mut plan = self.0.lock();
        match plan.good {
            Some(0) => {
                plan.failed = true;
                plan.good = (!plan.once).then_some(0);
                Err(io::Error::other("the disk does not answer"))
            }
            Some(good) => {
                plan.good = Some(good - 1);
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn before_growth(&self, _len: u64) -> io::Result<()> {
        self.step()
    }

    pub(super) fn before_sync(&self) -> io::Result<()> {
        self.step()
    }

    /// Fails half-way through: some of the bytes are there, some not.
    pub(super) fn before_write(&self, file: &FileBackend, at: u64, data: &[u8]) -> io::Result<()> {
        let full = self.0.lock().full_at;
        if full.is_some_and(|full| at + data.len() as u64 > full) {
            self.0.lock().failed = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let step = self.step();
        if step.is_err() {
            file.write(at, &data[..data.len() / 2])?;
        }
        step
    }
}

/// Is a store whose file can be made to fail.
struct Fixture {
    directory: TempDir,
    faults: Faults,
    store: EmbeddedStore,
}

impl Fixture {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let faults = Faults::default();
        let builder = EmbeddedStore::builder(directory.path().join("store"));
        let store = open(builder, &faults).await.unwrap();
        Self {
            directory,
            faults,
            store,
        }
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("store")
    }
}

async fn open(builder: EmbeddedStoreBuilder, faults: &Faults) -> Result<EmbeddedStore> {
    let opening = Opening {
        path: builder.path.clone(),
        cache: builder.cache,
        verified: builder.verified,
        progress: Progress::default(),
        faults: faults.clone(),
    };
    EmbeddedStore::start(builder, opening).await
}

async fn put(store: &EmbeddedStore, key: &str, value: impl Into<Bytes>) -> Result<()> {
    let mut tx = store.begin().await?;
    tx.set(key.as_bytes(), value.into())?;
    tx.commit().await.map(|_| ())
}

async fn get(store: &EmbeddedStore, key: &str) -> Result<Option<Bytes>> {
    store.begin().await?.get(key.as_bytes()).await
}

/// Returns everything that a store holds.
async fn all(store: &EmbeddedStore) -> Result<Vec<crate::Entry>> {
    let mut tx = store.begin().await?;
    tx.range_all(Range::bounds::<&[u8]>(..)).await
}

fn flip(path: &Path, at: u64, bit: u8) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    byte[0] ^= 1 << bit;
    file.write_all_at(&byte, at).unwrap();
}
