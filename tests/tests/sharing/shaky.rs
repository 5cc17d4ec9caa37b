//! A journal as one coordinator sees it that is cut off, or that cannot take what is there for it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use coditect_core::dag::journal::{
    Batch, Command, Error, ErrorKind, EventPage, InboxEntry, Partition, PartitionCount,
    PartitionLease, Roster, RunFilter, RunJournal, RunLog, RunSummary, Seq, Submission, Submitted,
    Watch,
};
use coditect_core::{RunId, TaskId};
use tokio::sync::{Semaphore, watch};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    None,
    /// Nothing is answered, until it is over: the process is paused.
    Paused,
    /// Claims are not answered.
    ClaimsHang,
    /// The runs of a partition cannot be read.
    Unreadable,
    /// Everything takes a while.
    Slow,
}

/// One coordinator's journal.
pub(crate) struct Shaky {
    inner: Arc<dyn RunJournal>,
    trouble: watch::Sender<Trouble>,
    /// Told of each append that was refused for its stale token.
    pub(crate) fenced: Semaphore,
}

impl Shaky {
    pub(crate) fn new(inner: &Arc<dyn RunJournal>) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            trouble: watch::Sender::new(Trouble::None),
            fenced: Semaphore::new(0),
        })
    }

    pub(crate) fn set(&self, trouble: Trouble) {
        self.trouble.send_replace(trouble);
    }

    fn is(&self, trouble: Trouble) -> bool {
        *self.trouble.borrow() == trouble
    }

    /// Waits until this trouble is over.
    async fn over(&self, trouble: Trouble) {
        let mut watch = self.trouble.subscribe();
        // The sender lives as long as this.
        let _ = watch.wait_for(|now| *now != trouble).await;
    }

    async fn asked<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.on_its_way().await;
        let answer = answer.await;
        self.on_its_way().await;
        answer
    }

    async fn on_its_way(&self) {
        self.over(Trouble::Paused).await;
        if self.is(Trouble::Slow) {
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
    }
}

#[async_trait]
impl RunJournal for Shaky {
    fn partitions(&self) -> PartitionCount {
        self.inner.partitions()
    }
    async fn submit(&self, submission: Submission) -> Result<Submitted, Error> {
        self.asked(self.inner.submit(submission)).await
    }
    async fn send(&self, run: RunId, command: Command) -> Result<(), Error> {
        self.asked(self.inner.send(run, command)).await
    }
    async fn import(&self, log: RunLog) -> Result<(), Error> {
        self.asked(self.inner.import(log)).await
    }
    async fn run(&self, run: RunId) -> Result<Option<RunSummary>, Error> {
        self.asked(self.inner.run(run)).await
    }
    async fn output(&self, run: RunId, task: TaskId) -> Result<Option<Bytes>, Error> {
        self.asked(self.inner.output(run, task)).await
    }
    async fn list(&self, filter: RunFilter) -> Result<Vec<RunSummary>, Error> {
        self.asked(self.inner.list(filter)).await
    }
    async fn events(&self, run: RunId, after: Seq, limit: usize) -> Result<EventPage, Error> {
        self.asked(self.inner.events(run, after, limit)).await
    }
    async fn watch(&self, run: RunId) -> Result<Watch, Error> {
        self.asked(self.inner.watch(run)).await
    }
    async fn claim(
        &self,
        partition: Partition,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<PartitionLease>, Error> {
        self.over(Trouble::ClaimsHang).await;
        self.asked(self.inner.claim(partition, owner, ttl)).await
    }
    async fn renew(&self, lease: &PartitionLease) -> Result<PartitionLease, Error> {
        self.asked(self.inner.renew(lease)).await
    }
    async fn release(&self, lease: PartitionLease) -> Result<(), Error> {
        self.asked(self.inner.release(lease)).await
    }
    async fn hand_over(&self, lease: PartitionLease) -> Result<(), Error> {
        self.asked(self.inner.hand_over(lease)).await
    }
    async fn attend(&self, member: &str, ttl: Duration) -> Result<(), Error> {
        self.asked(self.inner.attend(member, ttl)).await
    }
    async fn leave(&self, member: &str) -> Result<(), Error> {
        self.asked(self.inner.leave(member)).await
    }
    async fn roster(&self) -> Result<Roster, Error> {
        self.asked(self.inner.roster()).await
    }
    async fn watch_roster(&self) -> Result<Watch, Error> {
        self.asked(self.inner.watch_roster()).await
    }
    async fn inbox(
        &self,
        lease: &PartitionLease,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<InboxEntry>, Error> {
        self.asked(self.inner.inbox(lease, after, limit)).await
    }
    async fn watch_inbox(&self, partition: Partition) -> Result<Watch, Error> {
        self.asked(self.inner.watch_inbox(partition)).await
    }
    async fn append(&self, lease: &PartitionLease, batch: &mut Batch) -> Result<(), Error> {
        let appended = self.asked(self.inner.append(lease, batch)).await;
        let kind = appended.as_ref().map_err(Error::kind);
        if kind == Err(ErrorKind::Fenced) {
            self.fenced.add_permits(1);
        }
        appended
    }
    async fn open_runs(&self, lease: &PartitionLease) -> Result<Vec<RunId>, Error> {
        if self.is(Trouble::Unreadable) {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "it cannot be read from here",
            ));
        }
        self.asked(self.inner.open_runs(lease)).await
    }
    async fn load(&self, run: RunId) -> Result<Option<RunLog>, Error> {
        self.asked(self.inner.load(run)).await
    }
    async fn snapshot(
        &self,
        lease: &PartitionLease,
        run: RunId,
        state: Bytes,
        upto: Seq,
    ) -> Result<(), Error> {
        self.asked(self.inner.snapshot(lease, run, state, upto))
            .await
    }
}
