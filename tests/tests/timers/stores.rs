//! A store with a clock of the test's own, and a journal at which a process dies.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use coditect_core::dag::journal::{
    Batch, Command, Error as JournalError, EventPage, InboxEntry, Partition, PartitionCount,
    PartitionLease, Roster, RunFilter, RunJournal, RunLog, RunSummary, Seq, Submission, Submitted,
    Watch,
};
use coditect_core::state::{
    Capabilities, Error as StateError, Limits, StateStore, Transaction, Watch as KeyWatch,
};
use coditect_core::{Occasion, RunId, TaskId};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::Wall;

/// A store that tells another time.
struct Clocked {
    inner: Arc<dyn StateStore>,
    clock: Clock,
}

#[derive(Clone)]
pub(crate) enum Clock {
    /// That of paused time.
    Wall(Wall),
    /// One that goes only when it is set.
    Set(Arc<Mutex<SystemTime>>),
}

impl Clock {
    pub(crate) fn set(at: SystemTime) -> Self {
        Self::Set(Arc::new(Mutex::new(at)))
    }

    pub(crate) fn now(&self) -> SystemTime {
        match self {
            Self::Wall(wall) => wall.now(),
            Self::Set(now) => *now.lock(),
        }
    }

    /// Sets the clock forward, as after a suspension.
    pub(crate) fn jump(&self, span: Duration) {
        match self {
            Self::Wall(_) => panic!("paused time is set forward by sleeping"),
            Self::Set(now) => *now.lock() += span,
        }
    }
}

/// The same store with another clock.
pub(crate) fn clocked(inner: Arc<dyn StateStore>, clock: &Clock) -> Arc<dyn StateStore> {
    let clock = clock.clone();
    Arc::new(Clocked { inner, clock })
}

impl fmt::Debug for Clocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clocked").field(&self.inner).finish()
    }
}

#[async_trait]
impl StateStore for Clocked {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StateError> {
        self.inner.begin().await
    }
    async fn watch(&self, key: &[u8]) -> Result<KeyWatch, StateError> {
        self.inner.watch(key).await
    }
    async fn now(&self) -> Result<SystemTime, StateError> {
        Ok(self.clock.now())
    }
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    fn limits(&self) -> Limits {
        self.inner.limits()
    }
}

/// When a process dies that submits the run of an occurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dies {
    /// When it has been decided upon.
    Before,
    /// When it has been submitted.
    After,
}

/// The journal of a process that dies: what it is then waiting for never comes.
pub(crate) struct Dying {
    inner: Arc<dyn RunJournal>,
    dies: Dies,
    dead: AtomicBool,
    pub(crate) died: Semaphore,
}

impl Dying {
    pub(crate) fn new(inner: &Arc<dyn RunJournal>, dies: Dies) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            dies,
            dead: AtomicBool::new(false),
            died: Semaphore::new(0),
        })
    }

    async fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
        self.died.add_permits(1);
        std::future::pending().await
    }

    async fn alive(&self) {
        if self.dead.load(Ordering::SeqCst) {
            std::future::pending().await
        }
    }
}

#[async_trait]
impl RunJournal for Dying {
    fn partitions(&self) -> PartitionCount {
        self.inner.partitions()
    }
    async fn submit(&self, submission: Submission) -> Result<Submitted, JournalError> {
        self.alive().await;
        let is_scheduled = submission.labels.contains_key(Occasion::SCHEDULE);
        if is_scheduled && self.dies == Dies::Before {
            self.die().await;
        }
        let submitted = self.inner.submit(submission).await;
        if is_scheduled {
            self.die().await;
        }
        submitted
    }
    async fn send(&self, run: RunId, command: Command) -> Result<(), JournalError> {
        self.alive().await;
        self.inner.send(run, command).await
    }
    async fn import(&self, log: RunLog) -> Result<(), JournalError> {
        self.inner.import(log).await
    }
    async fn run(&self, run: RunId) -> Result<Option<RunSummary>, JournalError> {
        self.alive().await;
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
        self.alive().await;
        self.inner.claim(partition, owner, ttl).await
    }
    async fn renew(&self, lease: &PartitionLease) -> Result<PartitionLease, JournalError> {
        self.alive().await;
        self.inner.renew(lease).await
    }
    async fn release(&self, lease: PartitionLease) -> Result<(), JournalError> {
        self.alive().await;
        self.inner.release(lease).await
    }
    async fn hand_over(&self, lease: PartitionLease) -> Result<(), JournalError> {
        self.alive().await;
        self.inner.hand_over(lease).await
    }
    async fn attend(&self, member: &str, ttl: Duration) -> Result<(), JournalError> {
        self.alive().await;
        self.inner.attend(member, ttl).await
    }
    async fn leave(&self, member: &str) -> Result<(), JournalError> {
        self.alive().await;
        self.inner.leave(member).await
    }
    async fn roster(&self) -> Result<Roster, JournalError> {
        self.alive().await;
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
        self.alive().await;
        self.inner.inbox(lease, after, limit).await
    }
    async fn watch_inbox(&self, partition: Partition) -> Result<Watch, JournalError> {
        self.inner.watch_inbox(partition).await
    }
    async fn append(&self, lease: &PartitionLease, batch: &mut Batch) -> Result<(), JournalError> {
        self.alive().await;
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
