//! The journal's port, as memory implements it: nothing here waits.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use super::MemoryJournal;
use super::partition::unknown_run;
use crate::journal::{
    Batch, Command, Error, EventPage, InboxEntry, Partition, PartitionCount, PartitionLease,
    Roster, RunFilter, RunJournal, RunLog, RunSummary, Seq, Submission, Submitted, Watch,
};
use crate::{RunId, TaskId};

#[async_trait]
impl RunJournal for MemoryJournal {
    fn partitions(&self) -> PartitionCount {
        self.config.partitions
    }

    async fn submit(&self, submission: Submission) -> Result<Submitted, Error> {
        self.sweep();
        self.submit_now(submission)
    }

    async fn send(&self, run: RunId, command: Command) -> Result<(), Error> {
        let slot = self.slot_of(run);
        slot.state.lock().send(run, command)?;
        slot.arrivals.notify();
        Ok(())
    }

    async fn import(&self, log: RunLog) -> Result<(), Error> {
        self.import_now(&log)
    }

    async fn run(&self, run: RunId) -> Result<Option<RunSummary>, Error> {
        let state = self.slot_of(run).state.lock();
        Ok(state.runs.get(&run).map(|kept| kept.summary.clone()))
    }

    async fn output(&self, run: RunId, task: TaskId) -> Result<Option<Bytes>, Error> {
        let state = self.slot_of(run).state.lock();
        Ok(state.runs.get(&run).and_then(|kept| kept.output(task)))
    }

    async fn list(&self, filter: RunFilter) -> Result<Vec<RunSummary>, Error> {
        Ok(self.list_now(&filter))
    }

    async fn events(&self, run: RunId, after: Seq, limit: usize) -> Result<EventPage, Error> {
        let state = self.slot_of(run).state.lock();
        let kept = state.runs.get(&run).ok_or_else(unknown_run)?;
        Ok(kept.events(after, limit))
    }

    async fn watch(&self, run: RunId) -> Result<Watch, Error> {
        Ok(self.slot_of(run).state.lock().watch(run))
    }

    async fn claim(
        &self,
        partition: Partition,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<PartitionLease>, Error> {
        let mut state = self.slot(partition)?.state.lock();
        let now = Instant::now();
        let Some(token) = state.next_token(now) else {
            return Ok(None);
        };
        let lease = PartitionLease::new(partition, token, owner, ttl, now)
            .with_follows_hand_over(state.take_handed_over());
        state.hold(&lease);
        drop(state);
        self.members.changes.notify();
        Ok(Some(lease))
    }

    async fn renew(&self, lease: &PartitionLease) -> Result<PartitionLease, Error> {
        let renewed = {
            let mut state = self.owned(lease)?;
            let renewed = lease.renewed(Instant::now());
            state.hold(&renewed);
            renewed
        };
        self.sweep();
        Ok(renewed)
    }

    async fn release(&self, lease: PartitionLease) -> Result<(), Error> {
        self.give_back(&lease, false)
    }

    async fn hand_over(&self, lease: PartitionLease) -> Result<(), Error> {
        self.give_back(&lease, true)
    }

    async fn attend(&self, member: &str, ttl: Duration) -> Result<(), Error> {
        self.members.attend(member, ttl);
        Ok(())
    }

    async fn leave(&self, member: &str) -> Result<(), Error> {
        self.members.leave(member);
        Ok(())
    }

    async fn roster(&self) -> Result<Roster, Error> {
        Ok(self.roster_now())
    }

    async fn watch_roster(&self) -> Result<Watch, Error> {
        Ok(self.members.changes.watch())
    }

    async fn inbox(
        &self,
        lease: &PartitionLease,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<InboxEntry>, Error> {
        Ok(self.owned(lease)?.inbox.page(after, limit))
    }

    async fn watch_inbox(&self, partition: Partition) -> Result<Watch, Error> {
        Ok(self.slot(partition)?.arrivals.watch())
    }

    async fn append(&self, lease: &PartitionLease, batch: &mut Batch) -> Result<(), Error> {
        self.append_now(lease, batch)
    }

    async fn open_runs(&self, lease: &PartitionLease) -> Result<Vec<RunId>, Error> {
        let state = self.owned(lease)?;
        let open = state
            .runs
            .iter()
            .filter(|(_, kept)| !kept.is_settled() && !kept.unclaimed);
        let mut runs: Vec<_> = open.map(|(run, _)| *run).collect();
        runs.sort_unstable();
        Ok(runs)
    }

    async fn load(&self, run: RunId) -> Result<Option<RunLog>, Error> {
        let state = self.slot_of(run).state.lock();
        Ok(state.runs.get(&run).map(|kept| kept.load()))
    }

    async fn snapshot(
        &self,
        lease: &PartitionLease,
        run: RunId,
        state: Bytes,
        upto: Seq,
    ) -> Result<(), Error> {
        let mut partition = self.owned(lease)?;
        let kept = partition
            .runs
            .get_mut(&run)
            .ok_or_else(|| self.explain(lease, Some(run), unknown_run()))?;
        kept.snapshot(state, upto, self.config.events_behind_snapshot)
    }
}
