//! A journal behind a connection that is cut, for owners that do not know what has become of their partitions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use coditect_core::RunId;
use coditect_core::TaskId;
use coditect_core::dag::journal::{
    Batch, Command, Error as JournalError, ErrorKind as StoreKind, EventPage, Hint, InboxEntry,
    Partition, PartitionCount, PartitionLease, Roster, RunFilter, RunJournal, RunLog, RunSummary,
    Seq, Submission, Submitted, Watch,
};
use tokio::sync::Semaphore;

/// What becomes of renewals once the connection is cut.
#[derive(Clone, Copy)]
pub(crate) enum Renewals {
    /// Nobody answers them.
    Hang,
    /// They look as if they had gone well: the process slept, and does not know it.
    Lie,
    /// Nothing is cut.
    Go,
}

/// A journal that is behind a cut connection from some moment on.
pub(crate) struct Cut {
    inner: Arc<dyn RunJournal>,
    renewals: Renewals,
    cut: AtomicBool,
    /// Whether it takes no records.
    pub(crate) refuses: AtomicBool,
    silence: Hint,
    /// How often a partition was given back.
    pub(crate) released: Semaphore,
}

impl Cut {
    pub(crate) fn new(inner: &Arc<dyn RunJournal>, renewals: Renewals) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            renewals,
            cut: AtomicBool::new(false),
            refuses: AtomicBool::new(false),
            silence: Hint::new(),
            released: Semaphore::new(0),
        })
    }

    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    /// Waits for ever once the connection is cut.
    async fn connected(&self) {
        if self.is_cut() {
            std::future::pending().await
        }
    }
}

#[async_trait]
impl RunJournal for Cut {
    fn partitions(&self) -> PartitionCount {
        self.inner.partitions()
    }
    async fn submit(&self, submission: Submission) -> Result<Submitted, JournalError> {
        self.inner.submit(submission).await
    }
    async fn send(&self, run: RunId, command: Command) -> Result<(), JournalError> {
        self.inner.send(run, command).await
    }
    async fn import(&self, log: RunLog) -> Result<(), JournalError> {
        self.inner.import(log).await
    }
    async fn run(&self, run: RunId) -> Result<Option<RunSummary>, JournalError> {
        self.inner.run(run).await
    }
    async fn output(&self, run: RunId, task: TaskId) -> Result<Option<Bytes>, JournalError> {
        self.inner.output(run, task).await
    }
    async fn list(&self, filter: RunFilter) -> Result<Vec<RunSummary>, JournalError> {
        self.inner.list(filter).await
    }
    async fn events(
        &self,
        run: RunId,
        after: Seq,
        limit: usize,
    ) -> Result<EventPage, JournalError> {
        self.inner.events(run, after, limit).await
    }
    async fn watch(&self, run: RunId) -> Result<Watch, JournalError> {
        self.inner.watch(run).await
    }
    async fn claim(
        &self,
        partition: Partition,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<PartitionLease>, JournalError> {
        self.connected().await;
        self.inner.claim(partition, owner, ttl).await
    }
    async fn renew(&self, lease: &PartitionLease) -> Result<PartitionLease, JournalError> {
        match self.renewals {
            Renewals::Lie if self.is_cut() => return Ok(lease.clone()),
            Renewals::Lie | Renewals::Go => {}
            Renewals::Hang => self.connected().await,
        }
        self.inner.renew(lease).await
    }
    async fn release(&self, lease: PartitionLease) -> Result<(), JournalError> {
        self.released.add_permits(1);
        self.inner.release(lease).await
    }
    async fn hand_over(&self, lease: PartitionLease) -> Result<(), JournalError> {
        self.released.add_permits(1);
        self.inner.hand_over(lease).await
    }
    async fn attend(&self, member: &str, ttl: Duration) -> Result<(), JournalError> {
        self.connected().await;
        self.inner.attend(member, ttl).await
    }
    async fn leave(&self, member: &str) -> Result<(), JournalError> {
        self.connected().await;
        self.inner.leave(member).await
    }
    async fn roster(&self) -> Result<Roster, JournalError> {
        self.connected().await;
        self.inner.roster().await
    }
    async fn watch_roster(&self) -> Result<Watch, JournalError> {
        self.inner.watch_roster().await
    }
    async fn inbox(
        &self,
        lease: &PartitionLease,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<InboxEntry>, JournalError> {
        self.connected().await;
        self.inner.inbox(lease, after, limit).await
    }
    /// Brings no hint where something is to be cut, so that the owner does not look and find out.
    async fn watch_inbox(&self, partition: Partition) -> Result<Watch, JournalError> {
        if matches!(self.renewals, Renewals::Go) {
            return self.inner.watch_inbox(partition).await;
        }
        Ok(self.silence.watch())
    }
    async fn append(&self, lease: &PartitionLease, batch: &mut Batch) -> Result<(), JournalError> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(JournalError::new(
                StoreKind::Unavailable,
                "the disk is full",
            ));
        }
        self.inner.append(lease, batch).await
    }
    async fn open_runs(&self, lease: &PartitionLease) -> Result<Vec<RunId>, JournalError> {
        self.inner.open_runs(lease).await
    }
    async fn load(&self, run: RunId) -> Result<Option<RunLog>, JournalError> {
        self.inner.load(run).await
    }
    async fn snapshot(
        &self,
        lease: &PartitionLease,
        run: RunId,
        state: Bytes,
        upto: Seq,
    ) -> Result<(), JournalError> {
        self.inner.snapshot(lease, run, state, upto).await
    }
}
