//! The journal's port, as it is kept over a store.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::StoreJournal;
use crate::journal::{
    Batch, Command, Error, EventPage, InboxEntry, Partition, PartitionCount, PartitionLease,
    Roster, RunFilter, RunJournal, RunLog, RunState, RunSummary, Seq, Submission, Submitted, Watch,
};
use crate::{RunId, TaskId};

#[async_trait]
impl RunJournal for StoreJournal {
    fn partitions(&self) -> PartitionCount {
        self.config.partitions
    }

    async fn submit(&self, submission: Submission) -> Result<Submitted, Error> {
        self.accept(submission).await
    }

    async fn send(&self, run: RunId, command: Command) -> Result<(), Error> {
        self.send_command(run, command).await
    }

    async fn import(&self, log: RunLog) -> Result<(), Error> {
        self.import_run(log).await
    }

    async fn run(&self, run: RunId) -> Result<Option<RunSummary>, Error> {
        self.read_run(run).await
    }

    async fn output(&self, run: RunId, task: TaskId) -> Result<Option<Bytes>, Error> {
        self.read_output(run, task).await
    }

    async fn list(&self, filter: RunFilter) -> Result<Vec<RunSummary>, Error> {
        self.list_runs(&filter).await
    }

    async fn events(&self, run: RunId, after: Seq, limit: usize) -> Result<EventPage, Error> {
        self.read_events(run, after, limit).await
    }

    async fn watch(&self, run: RunId) -> Result<Watch, Error> {
        self.watch_run(run).await
    }

    async fn watch_while(&self, run: RunId, state: RunState) -> Result<Watch, Error> {
        self.watch_state(run, state).await
    }

    async fn claim(
        &self,
        partition: Partition,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<PartitionLease>, Error> {
        self.claim_partition(partition, owner, ttl).await
    }

    async fn renew(&self, lease: &PartitionLease) -> Result<PartitionLease, Error> {
        let renewed = self.renew_lease(lease).await?;
        if let Err(error) = self.sweep(&renewed).await {
            // The lease is renewed all the same, and the next renewal sweeps again.
            tracing::debug!(%error, "settled runs could not be forgotten");
        }
        Ok(renewed)
    }

    async fn release(&self, lease: PartitionLease) -> Result<(), Error> {
        self.release_lease(&lease, false).await
    }

    async fn hand_over(&self, lease: PartitionLease) -> Result<(), Error> {
        self.release_lease(&lease, true).await
    }

    async fn attend(&self, member: &str, ttl: Duration) -> Result<(), Error> {
        self.attend_as(member, ttl).await
    }

    async fn leave(&self, member: &str) -> Result<(), Error> {
        self.leave_as(member).await
    }

    async fn roster(&self) -> Result<Roster, Error> {
        self.read_roster().await
    }

    async fn watch_roster(&self) -> Result<Watch, Error> {
        self.watch_members().await
    }

    async fn inbox(
        &self,
        lease: &PartitionLease,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<InboxEntry>, Error> {
        self.read_inbox(lease, after, limit).await
    }

    async fn watch_inbox(&self, partition: Partition) -> Result<Watch, Error> {
        self.watch_arrivals(partition).await
    }

    async fn append(&self, lease: &PartitionLease, batch: &mut Batch) -> Result<(), Error> {
        self.append_batch(lease, batch).await
    }

    async fn open_runs(&self, lease: &PartitionLease) -> Result<Vec<RunId>, Error> {
        self.read_open_runs(lease).await
    }

    async fn load(&self, run: RunId) -> Result<Option<RunLog>, Error> {
        self.load_run(run).await
    }

    async fn snapshot(
        &self,
        lease: &PartitionLease,
        run: RunId,
        state: Bytes,
        upto: Seq,
    ) -> Result<(), Error> {
        self.store_snapshot(lease, run, state, upto).await
    }
}
