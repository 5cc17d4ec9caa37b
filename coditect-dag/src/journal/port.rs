//! What every journal promises.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Batch, Command, Error, EventPage, InboxEntry, Partition, PartitionCount, PartitionLease,
    Roster, RunFilter, RunLog, RunState, RunSummary, Seq, Submission, Submitted, Watch,
};
use crate::{RunId, TaskId};

/// Keeps the logs of runs durably and lets one owner at a time write to each partition of them.
///
/// # Contract
///
/// *Submission and inbox*
///
/// - **R1** An accepted run is kept, whether or not its partition has an owner, and waits in the inbox.
/// - **R2** Submissions with the same run id, or with the same tenant and idempotency key, are one run,
///   however many arrive at once; all are told its id. A run id of another tenant is a `Conflict`.
/// - **R3** An inbox entry is handed out, again and again, until an append consumes it; entries come in
///   the order of their positions, and none appears before one that was handed out.
/// - **R4** A command for an unknown run is `NotFound`.
///
/// *Ownership*
///
/// - **R5** A partition has one owner: while a lease lasts, every other claim gets `None`, even one by
///   the same name.
/// - **R6** When a lease has expired or was released, the next claim succeeds.
/// - **R7** The token of each claim of a partition is greater than all before, and at least the server's
///   time in milliseconds.
/// - **R8** A renewal extends the lease and keeps its token. One that has expired may still be renewed
///   until somebody claims the partition; from then on, or after a release, it is `Fenced`.
///
/// *Append*
///
/// - **R9** An append is atomic: all its records and consumed entries, or nothing. A refused batch is
///   left as it was, an accepted one is empty.
/// - **R10** The records of a run have the positions 1, 2, 3, … in the order of appends and, within one,
///   of the batch.
/// - **R11** With a stale token nothing is written: no record, no consumption, no snapshot. Reading the
///   inbox or the open runs with it is refused as well. All are `Fenced`.
/// - **R12** A run of another partition is `Invalid`, an unknown run `NotFound`, an entry that is not in
///   the inbox a `Conflict`.
/// - **R13** After `Settled` a run takes no record but one that opens it again, `Redriven` or `Retried`;
///   anything else is a `Conflict`.
///
/// *Reading*
///
/// - **R14** What an append has committed is seen by every reading that begins afterwards, in any process.
/// - **R15** `load` is the latest snapshot and every record after it, in order.
/// - **R16** The output of a task is that of its latest `Succeeded` or `Resolved` record, whatever a
///   snapshot has replaced.
/// - **R17** `open_runs` are the runs of the partition that are not settled and whose submission is no
///   longer in the inbox: together with the inbox, every run that needs its owner, once.
/// - **R18** `list` is ordered by run id and meets every condition of the filter.
/// - **R19** Events come in order and without gaps but for those that it reports as skipped, at the
///   beginning.
/// - **R20** Every change of a run is hinted to each watch that began before it, and every arrival in an
///   inbox to those of the partition. A run may be watched before it is submitted. A watch of a state may leave out all
///   changes but that the run leaves it.
///
/// *Moving*
///
/// - **R21** An imported run is the one that was loaded elsewhere: its records, outputs and summary are the
///   same. One that has not settled waits in the inbox, as [`Request::Import`](super::Request::Import) if it has records. A run that is known,
///   or whose idempotency key is, is a `Conflict`, and a log that begins with a snapshot `Invalid`.
///
/// *Sharing the partitions*
///
/// - **R22** Whoever attends is a member of the roster until `ttl` has passed since, or it leaves. To attend again
///   counts the span anew; to leave again is harmless.
/// - **R23** The roster has the owner of every partition whose lease lasts, and of no other.
/// - **R24** A partition that was handed over is as free as one whose lease was released. The next lease, and none after
///   it, says so in [`follows_hand_over`](PartitionLease::follows_hand_over).
/// - **R25** A member that comes or leaves, and a partition that is claimed, released or handed over, is hinted
///   to each watch of the roster that began before. What merely expires is not.
///
/// The suite in `coditect_dag::journal::conformance` (feature `test-util`) has a test for each rule.
#[async_trait]
pub trait RunJournal: Send + Sync + 'static {
    /// Returns into how many partitions the runs are divided.
    fn partitions(&self) -> PartitionCount;

    /// Accepts a run and puts it into the inbox of its partition.
    ///
    /// # Errors
    ///
    /// `Conflict` if the run id belongs to another tenant; `Unavailable`; `OutcomeUnknown`, after which
    /// the same submission may be repeated.
    ///
    /// # Cancel safety
    ///
    /// A dropped future may have submitted the run; submit it again with the same id.
    async fn submit(&self, submission: Submission) -> Result<Submitted, Error>;

    /// Puts a command into the inbox of a run's partition.
    ///
    /// # Errors
    ///
    /// `NotFound`; `Unavailable`; `OutcomeUnknown`, after which it may be sent again: owners take
    /// repeated commands for one.
    ///
    /// # Cancel safety
    ///
    /// A dropped future may have sent the command; it is harmless to send it again.
    async fn send(&self, run: RunId, command: Command) -> Result<(), Error>;

    /// Takes in a run that another journal kept, as that one [loads](Self::load) it.
    ///
    /// # Errors
    ///
    /// `Conflict`, `Invalid`; `Unavailable`, also while a run of the same id is being removed; `OutcomeUnknown`, after
    /// which a repetition that is a `Conflict` says that it has happened.
    ///
    /// # Cancel safety
    ///
    /// A dropped future may have imported the run. What it leaves behind otherwise is removed after a while.
    async fn import(&self, log: RunLog) -> Result<(), Error>;

    /// Returns what is known of a run, or `None` for an unknown one.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    ///
    /// # Cancel safety
    ///
    /// Reading changes nothing.
    async fn run(&self, run: RunId) -> Result<Option<RunSummary>, Error>;

    /// Returns the output of a task, or `None` if the run is unknown or the task has none.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    ///
    /// # Cancel safety
    ///
    /// Reading changes nothing.
    async fn output(&self, run: RunId, task: TaskId) -> Result<Option<Bytes>, Error>;

    /// Returns the runs that a filter selects, by ascending id.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    ///
    /// # Cancel safety
    ///
    /// Reading changes nothing.
    async fn list(&self, filter: RunFilter) -> Result<Vec<RunSummary>, Error>;

    /// Returns up to `limit` records of a run's log after a position, as far as they are kept.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Unavailable`, `Corrupt`.
    ///
    /// # Cancel safety
    ///
    /// Reading changes nothing.
    async fn events(&self, run: RunId, after: Seq, limit: usize) -> Result<EventPage, Error>;

    /// Watches a run, which need not be submitted yet.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    async fn watch(&self, run: RunId) -> Result<Watch, Error>;

    /// Watches for a run to leave a state in which it was seen.
    ///
    /// Who waits for the end of a run need not be woken by each of its tasks. Watch, then read: what left the
    /// state before is not hinted at. Where nothing cheaper is known this is a [`watch`](Self::watch).
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    async fn watch_while(&self, run: RunId, state: RunState) -> Result<Watch, Error> {
        let _ = state;
        self.watch(run).await
    }

    /// Claims a partition for a span of time, unless it has an owner.
    ///
    /// `owner` is for people to read: it gives no right.
    ///
    /// # Errors
    ///
    /// `Invalid` for a partition that does not exist; `Unavailable`; `OutcomeUnknown`, after which the
    /// partition may be claimable only when `ttl` has passed.
    ///
    /// # Cancel safety
    ///
    /// A dropped future may have claimed the partition, which is then free again after `ttl`.
    async fn claim(
        &self,
        partition: Partition,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<PartitionLease>, Error>;

    /// Extends a lease by its full span from now.
    ///
    /// # Errors
    ///
    /// `Fenced`, `Unavailable`, `OutcomeUnknown`.
    ///
    /// # Cancel safety
    ///
    /// A dropped future may have extended the lease.
    async fn renew(&self, lease: &PartitionLease) -> Result<PartitionLease, Error>;

    /// Gives a lease back, so that the partition may be claimed at once.
    ///
    /// # Errors
    ///
    /// `Fenced` if it was no longer held, `Unavailable`, `OutcomeUnknown`.
    ///
    /// # Cancel safety
    ///
    /// A dropped future may have released the lease, which must not be used any more.
    async fn release(&self, lease: PartitionLease) -> Result<(), Error>;

    /// Gives a lease back as [`release`](Self::release) does, and tells the next owner that nothing was left half done: every
    /// attempt that is open was handed out, and whoever has it needs no other owner's help to end it.
    ///
    /// # Errors
    ///
    /// As [`release`](Self::release).
    ///
    /// # Cancel safety
    ///
    /// As [`release`](Self::release).
    async fn hand_over(&self, lease: PartitionLease) -> Result<(), Error>;

    /// Is there to own partitions, for a span of time.
    ///
    /// # Errors
    ///
    /// `Unavailable`; `OutcomeUnknown`, after which it may be repeated.
    ///
    /// # Cancel safety
    ///
    /// A dropped future may have made the member known.
    async fn attend(&self, member: &str, ttl: Duration) -> Result<(), Error>;

    /// Is no longer there to own partitions. It takes none away that the member still owns.
    ///
    /// # Errors
    ///
    /// `Unavailable`; `OutcomeUnknown`, after which it may be repeated.
    ///
    /// # Cancel safety
    ///
    /// A dropped future may have removed the member.
    async fn leave(&self, member: &str) -> Result<(), Error>;

    /// Returns who is there to own partitions, and who owns which.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    ///
    /// # Cancel safety
    ///
    /// Reading changes nothing.
    async fn roster(&self) -> Result<Roster, Error>;

    /// Watches the roster.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    async fn watch_roster(&self) -> Result<Watch, Error>;

    /// Returns up to `limit` entries of the inbox after a position.
    ///
    /// # Errors
    ///
    /// `Fenced`, `Unavailable`, `Corrupt`.
    ///
    /// # Cancel safety
    ///
    /// Reading changes nothing.
    async fn inbox(
        &self,
        lease: &PartitionLease,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<InboxEntry>, Error>;

    /// Watches the inbox of a partition for arrivals.
    ///
    /// # Errors
    ///
    /// `Invalid` for a partition that does not exist; `Unavailable`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    async fn watch_inbox(&self, partition: Partition) -> Result<Watch, Error>;

    /// Commits a batch and empties it.
    ///
    /// # Errors
    ///
    /// `Fenced`, `NotFound`, `Conflict`, `Invalid`, `Unavailable`: nothing was written, and the batch
    /// is as it was. `OutcomeUnknown`: give the lease up, claim again and load.
    ///
    /// # Cancel safety
    ///
    /// A dropped future may have committed; treat it as `OutcomeUnknown`.
    async fn append(&self, lease: &PartitionLease, batch: &mut Batch) -> Result<(), Error>;

    /// Returns the runs that a new owner of the partition has to load.
    ///
    /// # Errors
    ///
    /// `Fenced`, `Unavailable`, `Corrupt`.
    ///
    /// # Cancel safety
    ///
    /// Reading changes nothing.
    async fn open_runs(&self, lease: &PartitionLease) -> Result<Vec<RunId>, Error>;

    /// Returns what is needed to go on with a run, or `None` for an unknown one.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Corrupt`.
    ///
    /// # Cancel safety
    ///
    /// Reading changes nothing.
    async fn load(&self, run: RunId) -> Result<Option<RunLog>, Error>;

    /// Lets `state` stand for all records of a run up to a position, which need not be kept any more.
    ///
    /// # Errors
    ///
    /// `Fenced`; `NotFound`; `Invalid` if `upto` lies beyond the log, before an earlier snapshot, or the
    /// run belongs to another partition; `Unavailable`; `OutcomeUnknown`, after which it may be repeated.
    ///
    /// # Cancel safety
    ///
    /// A dropped future may have stored the snapshot.
    async fn snapshot(
        &self,
        lease: &PartitionLease,
        run: RunId,
        state: Bytes,
        upto: Seq,
    ) -> Result<(), Error>;
}
