//! A store behind a bad network, whose commits meet prescribed fates.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::error::{Error, ErrorKind, Result};
use crate::memory::MemoryStore;
use crate::observer::{Committed, StateObserver};
use crate::range::{Page, Range};
use crate::store::{Capabilities, Limits, StateStore};
use crate::transact::StateStoreExt;
use crate::transaction::{Transaction, TransactionExt};
use crate::version::{CommitVersion, Stamped};
use crate::watch::Watch;

/// What becomes of a commit that writes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Committed,
    /// It happened, and the answer was lost.
    LostAnswer,
    /// It never arrived, and neither did the answer.
    LostRequest,
    /// It is still under way when the answer is lost, and arrives before the commit that follows the next one.
    Late,
    /// The store was out of reach before it began.
    Unavailable,
    /// It never answers.
    Stuck,
}

/// Is a memory store behind a bad network, whose commits meet the given fates.
#[derive(Debug)]
pub(super) struct BadNetwork {
    pub(super) store: MemoryStore,
    fates: Arc<Mutex<VecDeque<Fate>>>,
    late: Arc<Mutex<Vec<Box<dyn Transaction>>>>,
    pub(super) late_outcomes: Arc<Mutex<Vec<Result<CommitVersion>>>>,
    observer: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    events: Mutex<Vec<String>>,
}

impl StateObserver for Seen {
    fn committed(&self, commit: &Committed) {
        self.events
            .lock()
            .push(format!("committed after {}", commit.attempts));
    }
    fn retried(&self, kind: ErrorKind, attempt: u32) {
        self.events.lock().push(format!("{kind:?} in {attempt}"));
    }
    fn outcome_resolved(&self, happened: bool) {
        self.events.lock().push(format!("happened: {happened}"));
    }
    fn failed(&self, kind: ErrorKind) {
        self.events.lock().push(format!("failed: {kind:?}"));
    }
}

impl BadNetwork {
    pub(super) fn new(fates: impl IntoIterator<Item = Fate>) -> Self {
        Self {
            store: MemoryStore::new(),
            fates: Arc::new(Mutex::new(fates.into_iter().collect())),
            late: Arc::default(),
            late_outcomes: Arc::default(),
            observer: Seen::default(),
        }
    }

    pub(super) fn events(&self) -> Vec<String> {
        self.observer.events.lock().clone()
    }

    pub(super) async fn increment(&self) -> Result<u64> {
        self.transact(|mut tx| async move {
            let next = tx.get_json(b"count").await?.unwrap_or(0u64) + 1;
            tx.set_json(b"count", &next)?;
            Ok(next)
        })
        .await
    }

    pub(super) async fn count(&self) -> Option<u64> {
        let mut tx = self.store.begin().await.unwrap();
        tx.get_json(b"count").await.unwrap()
    }
}

#[async_trait]
impl StateStore for BadNetwork {
    async fn begin(&self) -> Result<Box<dyn Transaction>> {
        Ok(Box::new(BadTransaction {
            inner: self.store.begin().await?,
            fates: self.fates.clone(),
            late: self.late.clone(),
            late_outcomes: self.late_outcomes.clone(),
        }))
    }
    async fn watch(&self, key: &[u8]) -> Result<Watch> {
        self.store.watch(key).await
    }
    async fn now(&self) -> Result<SystemTime> {
        self.store.now().await
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities::in_process().with_unknown_outcomes(true)
    }
    fn limits(&self) -> Limits {
        self.store.limits()
    }
    fn observer(&self) -> &dyn StateObserver {
        &self.observer
    }
}

#[derive(Debug)]
struct BadTransaction {
    inner: Box<dyn Transaction>,
    fates: Arc<Mutex<VecDeque<Fate>>>,
    late: Arc<Mutex<Vec<Box<dyn Transaction>>>>,
    late_outcomes: Arc<Mutex<Vec<Result<CommitVersion>>>>,
}

#[async_trait]
impl Transaction for BadTransaction {
    async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>> {
        self.inner.get(key).await
    }
    async fn get_snapshot(&mut self, key: &[u8]) -> Result<Option<Bytes>> {
        self.inner.get_snapshot(key).await
    }
    async fn range(&mut self, range: Range) -> Result<Page> {
        self.inner.range(range).await
    }
    fn set(&mut self, key: &[u8], value: Bytes) -> Result<()> {
        self.inner.set(key, value)
    }
    fn set_stamped_key(&mut self, key: Stamped, value: Bytes) -> Result<()> {
        self.inner.set_stamped_key(key, value)
    }
    fn set_stamped_value(&mut self, key: &[u8], value: Stamped) -> Result<()> {
        self.inner.set_stamped_value(key, value)
    }
    fn clear(&mut self, key: &[u8]) -> Result<()> {
        self.inner.clear(key)
    }
    fn clear_range(&mut self, begin: &[u8], end: &[u8]) -> Result<()> {
        self.inner.clear_range(begin, end)
    }
    fn size(&self) -> usize {
        self.inner.size()
    }
    async fn commit(self: Box<Self>) -> Result<CommitVersion> {
        let fate = self.fates.lock().pop_front().unwrap_or(Fate::Committed);
        let lost = || Err(Error::new(ErrorKind::OutcomeUnknown, "connection lost"));
        match fate {
            Fate::Committed => {
                let outcome = self.inner.commit().await;
                let late = std::mem::take(&mut *self.late.lock());
                for transaction in late {
                    let outcome = transaction.commit().await;
                    self.late_outcomes.lock().push(outcome);
                }
                outcome
            }
            Fate::LostAnswer => {
                self.inner.commit().await?;
                lost()
            }
            Fate::LostRequest => lost(),
            Fate::Late => {
                self.late.lock().push(self.inner);
                lost()
            }
            Fate::Unavailable => Err(Error::new(ErrorKind::Unavailable, "no route")),
            Fate::Stuck => std::future::pending().await,
        }
    }
}
