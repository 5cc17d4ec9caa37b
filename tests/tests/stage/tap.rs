//! A journal with something in the way of the calls to it.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use coditect_core::dag::journal::{
    Batch, Command, Error, EventPage, InboxEntry, Partition, PartitionCount, PartitionLease,
    Roster, RunFilter, RunJournal, RunLog, RunSummary, Seq, Submission, Submitted, Watch,
};
use coditect_core::{Occasion, RunId, TaskId};

/// A call to a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JournalCall {
    Submit {
        is_scheduled: bool,
    },
    Send,
    /// What clients look at.
    Look,
    Claim,
    Renew,
    /// A partition is given back, or handed over.
    Release,
    Attend,
    Leave,
    /// Who is there, and hints that it has changed.
    Roster,
    Inbox,
    WatchInbox,
    Append,
    OpenRuns,
    Load,
    Snapshot,
}

/// What stands between a coordinator and its journal.
#[async_trait]
pub(crate) trait Tap: Send + Sync + 'static {
    /// What happens before the journal is asked, and instead of it where it fails.
    async fn before(&self, call: JournalCall) -> Result<(), Error>;

    /// What happens before its answer arrives.
    async fn after(&self, _call: JournalCall, _error: Option<&Error>) {}

    /// The answer to a renewal that the journal is not told of.
    fn renewed(&self, _lease: &PartitionLease) -> Option<PartitionLease> {
        None
    }

    /// The hints of an inbox where those of the journal are not heard.
    fn inbox_hints(&self) -> Option<Watch> {
        None
    }
}

/// A journal behind a [`Tap`].
pub(crate) struct Tapped<T> {
    inner: Arc<dyn RunJournal>,
    tap: T,
}

impl<T: Tap> Tapped<T> {
    pub(crate) fn new(inner: &Arc<dyn RunJournal>, tap: T) -> Arc<Self> {
        let inner = Arc::clone(inner);
        Arc::new(Self { inner, tap })
    }

    async fn ask<A>(
        &self,
        call: JournalCall,
        answer: impl Future<Output = Result<A, Error>>,
    ) -> Result<A, Error> {
        self.tap.before(call).await?;
        let answer = answer.await;
        self.tap.after(call, answer.as_ref().err()).await;
        answer
    }
}

impl<T> Deref for Tapped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.tap
    }
}

#[async_trait]
impl<T: Tap> RunJournal for Tapped<T> {
    fn partitions(&self) -> PartitionCount {
        self.inner.partitions()
    }
    async fn submit(&self, submission: Submission) -> Result<Submitted, Error> {
        let is_scheduled = submission.labels.contains_key(Occasion::SCHEDULE);
        let call = JournalCall::Submit { is_scheduled };
        self.ask(call, self.inner.submit(submission)).await
    }
    async fn send(&self, run: RunId, command: Command) -> Result<(), Error> {
        self.ask(JournalCall::Send, self.inner.send(run, command))
            .await
    }
    async fn import(&self, log: RunLog) -> Result<(), Error> {
        self.ask(JournalCall::Send, self.inner.import(log)).await
    }
    async fn run(&self, run: RunId) -> Result<Option<RunSummary>, Error> {
        self.ask(JournalCall::Look, self.inner.run(run)).await
    }
    async fn output(&self, run: RunId, task: TaskId) -> Result<Option<Bytes>, Error> {
        self.ask(JournalCall::Look, self.inner.output(run, task))
            .await
    }
    async fn list(&self, filter: RunFilter) -> Result<Vec<RunSummary>, Error> {
        self.ask(JournalCall::Look, self.inner.list(filter)).await
    }
    async fn events(&self, run: RunId, after: Seq, limit: usize) -> Result<EventPage, Error> {
        self.ask(JournalCall::Look, self.inner.events(run, after, limit))
            .await
    }
    async fn watch(&self, run: RunId) -> Result<Watch, Error> {
        self.ask(JournalCall::Look, self.inner.watch(run)).await
    }
    async fn claim(
        &self,
        partition: Partition,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<PartitionLease>, Error> {
        let claim = self.inner.claim(partition, owner, ttl);
        self.ask(JournalCall::Claim, claim).await
    }
    async fn renew(&self, lease: &PartitionLease) -> Result<PartitionLease, Error> {
        if let Some(renewed) = self.tap.renewed(lease) {
            return Ok(renewed);
        }
        self.ask(JournalCall::Renew, self.inner.renew(lease)).await
    }
    async fn release(&self, lease: PartitionLease) -> Result<(), Error> {
        self.ask(JournalCall::Release, self.inner.release(lease))
            .await
    }
    async fn hand_over(&self, lease: PartitionLease) -> Result<(), Error> {
        self.ask(JournalCall::Release, self.inner.hand_over(lease))
            .await
    }
    async fn attend(&self, member: &str, ttl: Duration) -> Result<(), Error> {
        self.ask(JournalCall::Attend, self.inner.attend(member, ttl))
            .await
    }
    async fn leave(&self, member: &str) -> Result<(), Error> {
        self.ask(JournalCall::Leave, self.inner.leave(member)).await
    }
    async fn roster(&self) -> Result<Roster, Error> {
        self.ask(JournalCall::Roster, self.inner.roster()).await
    }
    async fn watch_roster(&self) -> Result<Watch, Error> {
        self.ask(JournalCall::Roster, self.inner.watch_roster())
            .await
    }
    async fn inbox(
        &self,
        lease: &PartitionLease,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<InboxEntry>, Error> {
        self.ask(JournalCall::Inbox, self.inner.inbox(lease, after, limit))
            .await
    }
    async fn watch_inbox(&self, partition: Partition) -> Result<Watch, Error> {
        if let Some(hints) = self.tap.inbox_hints() {
            return Ok(hints);
        }
        let watch = self.inner.watch_inbox(partition);
        self.ask(JournalCall::WatchInbox, watch).await
    }
    async fn append(&self, lease: &PartitionLease, batch: &mut Batch) -> Result<(), Error> {
        self.ask(JournalCall::Append, self.inner.append(lease, batch))
            .await
    }
    async fn open_runs(&self, lease: &PartitionLease) -> Result<Vec<RunId>, Error> {
        self.ask(JournalCall::OpenRuns, self.inner.open_runs(lease))
            .await
    }
    async fn load(&self, run: RunId) -> Result<Option<RunLog>, Error> {
        self.ask(JournalCall::Load, self.inner.load(run)).await
    }
    async fn snapshot(
        &self,
        lease: &PartitionLease,
        run: RunId,
        state: Bytes,
        upto: Seq,
    ) -> Result<(), Error> {
        let snapshot = self.inner.snapshot(lease, run, state, upto);
        self.ask(JournalCall::Snapshot, snapshot).await
    }
}
