//! A transaction of the store in a file.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::committer::Request;
use super::error::Fault;
use super::group::Pending;
use super::snapshot::{Held, Snapshot};
use super::{Core, Handle};
use crate::draft::{Draft, RangeSet};
use crate::error::{Error, ErrorKind, Result};
use crate::range::{Entry, Page, Range};
use crate::transaction::Transaction;
use crate::version::{CommitVersion, Stamped};

pub(super) struct EmbeddedTransaction {
    handle: Arc<Handle>,
    /// What is read; set by the first read.
    held: Option<Held>,
    draft: Draft,
}

impl EmbeddedTransaction {
    pub(super) fn new(handle: Arc<Handle>) -> Self {
        let draft = Draft::new(handle.core.limits);
        Self {
            handle,
            held: None,
            draft,
        }
    }

    /// Reads the transaction's state of the file, off the async threads.
    async fn read<T: Send + 'static>(
        &mut self,
        look: impl FnOnce(&Snapshot) -> std::result::Result<T, Fault> + Send + 'static,
    ) -> Result<T> {
        let core = Arc::clone(&self.handle.core);
        let held = self.held.clone();
        let read = tokio::task::spawn_blocking(move || read_held(&core, held, look)).await;
        let broken = |error: tokio::task::JoinError| {
            // The engine trusts what it reads, and panics where it should not have.
            let kind = if error.is_panic() {
                ErrorKind::Corrupt
            } else {
                ErrorKind::Unavailable
            };
            Error::new(kind, "reading the store's file broke off").with_source(error)
        };
        let (value, held) = read.map_err(broken)??;
        self.held.get_or_insert(held);
        Ok(value)
    }

    async fn look_up(&mut self, key: &[u8], snapshot: bool) -> Result<Option<Bytes>> {
        if let Some(own) = self.draft.own(key)? {
            return Ok(own);
        }
        if !snapshot {
            self.draft.note_key(key);
        }
        let key = Bytes::copy_from_slice(key);
        self.read(move |snapshot| {
            let value = snapshot.data.get(&*key)?;
            Ok(value.map(|value| Bytes::copy_from_slice(value.value())))
        })
        .await
    }
}

type Looked<T> = Result<(T, Held)>;

fn read_held<T>(
    core: &Core,
    held: Option<Held>,
    look: impl FnOnce(&Snapshot) -> std::result::Result<T, Fault>,
) -> Looked<T> {
    // Held while reading, so that nothing closes or compacts the file meanwhile.
    let database = core.database.read();
    let what = "reading the store's file";
    let database = database
        .as_ref()
        .ok_or_else(|| Fault::Failed.during(what))?;
    let (held, snapshot) = match held {
        Some(held) => {
            let behind = || Error::conflict("the state that the transaction reads is gone");
            let snapshot = held.get().ok_or_else(behind)?;
            (held, snapshot)
        }
        None => {
            let current = core.snapshots.current(database);
            current.map_err(|fault| fault.during(what))?
        }
    };
    let value = look(&snapshot).map_err(|fault| fault.during(what))?;
    Ok((value, held))
}

/// Reads up to `wanted` entries of a range that were not cleared.
fn entries(
    snapshot: &Snapshot,
    range: &Range,
    cleared: &RangeSet,
    wanted: usize,
) -> std::result::Result<Vec<Entry>, Fault> {
    let bounds = (
        Bound::Included(&**range.begin()),
        Bound::Excluded(&**range.end()),
    );
    let mut stored = snapshot.data.range::<&[u8]>(bounds)?;
    let mut entries = Vec::new();
    while entries.len() < wanted {
        let next = if range.is_reversed() {
            stored.next_back()
        } else {
            stored.next()
        };
        let Some(next) = next else { break };
        let (key, value) = next?;
        if !cleared.contains(key.value()) {
            entries.push(Entry {
                key: Bytes::copy_from_slice(key.value()),
                value: Bytes::copy_from_slice(value.value()),
            });
        }
    }
    Ok(entries)
}

#[async_trait]
impl Transaction for EmbeddedTransaction {
    async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>> {
        self.look_up(key, false).await
    }

    async fn get_snapshot(&mut self, key: &[u8]) -> Result<Option<Bytes>> {
        self.look_up(key, true).await
    }

    async fn range(&mut self, range: Range) -> Result<Page> {
        if range.is_empty() {
            return Ok(Page::default());
        }
        let wanted = self.draft.wanted(&range);
        let cleared = self.draft.writes.cleared.clone();
        let asked = range.clone();
        let look = move |snapshot: &Snapshot| entries(snapshot, &asked, &cleared, wanted);
        let stored = self.read(look).await?;
        let stored = stored.iter().map(|entry| (&entry.key, &entry.value));
        let page = self.draft.page(&range, stored)?;
        self.draft.note_page(&range, &page);
        Ok(page)
    }

    fn set(&mut self, key: &[u8], value: Bytes) -> Result<()> {
        self.draft.set(key, value)
    }

    fn set_stamped_key(&mut self, key: Stamped, value: Bytes) -> Result<()> {
        self.draft.set_stamped_key(key, value)
    }

    fn set_stamped_value(&mut self, key: &[u8], value: Stamped) -> Result<()> {
        self.draft.set_stamped_value(key, value)
    }

    fn clear(&mut self, key: &[u8]) -> Result<()> {
        self.draft.clear(key)
    }

    fn clear_range(&mut self, begin: &[u8], end: &[u8]) -> Result<()> {
        self.draft.clear_range(begin, end)
    }

    fn size(&self) -> usize {
        self.draft.writes.size
    }

    async fn commit(self: Box<Self>) -> Result<CommitVersion> {
        let version = self.held.as_ref().map(|held| held.version);
        if self.draft.writes.is_empty() {
            return Ok(version.unwrap_or_else(|| self.handle.core.snapshots.latest()));
        }
        let (reply, answer) = oneshot::channel();
        let version = version.filter(|_| !self.draft.reads.is_empty());
        let pending = Pending {
            draft: self.draft,
            version,
            reply,
        };
        self.handle.send(Request::Commit(pending)).await?;
        let lost = |_| {
            let text = "the committing thread broke off without an answer";
            Error::new(ErrorKind::OutcomeUnknown, text)
        };
        answer.await.map_err(lost)?
    }
}

impl fmt::Debug for EmbeddedTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedTransaction")
            .field("version", &self.held.as_ref().map(|held| held.version))
            .field("size", &self.draft.writes.size)
            .finish_non_exhaustive()
    }
}
