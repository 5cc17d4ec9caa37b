//! The journal as one node sees it: a memory journal that may refuse, be slow, or not be sure, and a witness beside it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use coditect_core::dag::journal::{
    Batch, Command, Error, ErrorKind, EventPage, InboxEntry, MemoryJournal, Partition,
    PartitionCount, PartitionLease, RecordKind, Roster, RunFilter, RunJournal, RunLog, RunSummary,
    Seq, Submission, Submitted, Watch,
};
use coditect_core::{RunId, TaskId};

use crate::life::Life;
use crate::planted::Planted;
use crate::witness::Witness;

/// One node's connection to the journal.
pub(crate) struct SimJournal {
    inner: Arc<MemoryJournal>,
    life: Arc<Life>,
    witness: Arc<Witness>,
    planted: Option<Planted>,
}

impl SimJournal {
    pub(crate) fn new(
        inner: &Arc<MemoryJournal>,
        life: &Arc<Life>,
        witness: &Arc<Witness>,
        planted: Option<Planted>,
    ) -> Self {
        Self {
            inner: Arc::clone(inner),
            life: Arc::clone(life),
            witness: Arc::clone(witness),
            planted,
        }
    }

    fn hits(&self, chances: u64) -> bool {
        self.life.world.hits(chances)
    }

    /// The way to the journal, where it may refuse.
    async fn begin(&self, what: &'static str) -> Result<(), Error> {
        self.life.travel().await;
        if self.hits(self.life.world.faults.journal_refused) {
            self.life.note(what, [0, 0]);
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the simulated journal does not answer",
            ));
        }
        Ok(())
    }

    /// The way back, where an answer may be lost.
    async fn end<T>(&self, what: &'static str, answer: Result<T, Error>) -> Result<T, Error> {
        self.life.travel().await;
        if self.hits(self.life.world.faults.journal_unsure) {
            self.life.note(what, [1, 0]);
            return Err(Error::new(
                ErrorKind::OutcomeUnknown,
                "the answer of the simulated journal was lost",
            ));
        }
        answer
    }

    /// Reads something: there is nothing to be unsure of.
    async fn read<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.begin("a read is refused").await?;
        let answer = answer.await;
        self.life.travel().await;
        answer
    }

    /// Appends, and shows the witness what was appended in the same moment.
    async fn append_now(&self, lease: &PartitionLease, batch: &mut Batch) -> Result<(), Error> {
        let mut records = batch.records().to_vec();
        if self.planted == Some(Planted::JournalForgetsAppends) && self.life.world.below(10) == 0 {
            batch.clear();
            return Ok(());
        }
        let completes = |kind: &RecordKind| matches!(kind, RecordKind::Succeeded { .. });
        let first = records
            .iter()
            .find(|(_, record)| completes(&record.kind))
            .cloned();
        if let (Some(Planted::SecondCompletion), Some((run, record))) = (self.planted, &first) {
            let settles = |kind: &RecordKind| matches!(kind, RecordKind::Settled(_));
            if !records.iter().any(|(_, record)| settles(&record.kind)) {
                batch.push(*run, record.clone());
                records.push((*run, record.clone()));
            }
        }
        if let (Some(Planted::ForgedOutcome), Some(_)) = (self.planted, &first) {
            for (_, record) in &mut records {
                if let RecordKind::Succeeded { output, .. } = &mut record.kind {
                    *output = Bytes::from_static(b"1");
                }
            }
        }
        let dispatches = |kind: &RecordKind| matches!(kind, RecordKind::Dispatched { .. });
        let first = records.iter().find(|(_, record)| dispatches(&record.kind));
        if let (Some(Planted::PausesIgnored), Some((run, record))) = (self.planted, first) {
            let reason = "nobody cares".into();
            let paused = RecordKind::Paused { reason }.at(record.at);
            records.insert(0, (*run, paused));
        }
        let signals = |kind: &RecordKind| matches!(kind, RecordKind::Signalled { .. });
        let first = records.iter().find(|(_, record)| signals(&record.kind));
        if let (Some(Planted::SignalsTwice), Some(one)) = (self.planted, first.cloned()) {
            records.insert(0, one);
        }
        self.planted
            .iter()
            .for_each(|planted| planted.misread(&mut records));
        let mut appended = self.inner.append(lease, batch).await;
        if let (Some(Planted::JournalTakesStaleTokens), Err(error)) = (self.planted, &appended)
            && error.kind() == ErrorKind::Fenced
            && let Some(current) = self.witness.current_lease(lease.partition())
        {
            appended = self.inner.append(&current, batch).await;
        }
        if appended.is_ok() {
            self.life.note(
                "append",
                [u64::from(lease.partition().get()), records.len() as u64],
            );
            self.witness.appended(self.life.node, lease, &records);
        }
        appended
    }
}

#[async_trait]
impl RunJournal for SimJournal {
    fn partitions(&self) -> PartitionCount {
        self.inner.partitions()
    }

    async fn submit(&self, submission: Submission) -> Result<Submitted, Error> {
        self.begin("a run is refused").await?;
        let mut submission = submission;
        if self.planted == Some(Planted::StartsEarly) {
            submission.start_at = None;
        }
        if self.planted == Some(Planted::OccurrencesTwice) {
            submission = again(submission);
        }
        let key = submission.idempotency_key.as_deref();
        if self.planted == Some(Planted::OccurrencesForgotten) && key.is_some_and(is_occurrence) {
            let run = submission.run;
            return Ok(Submitted {
                run,
                existed: false,
            });
        }
        self.witness.submitted(submission.run, key);
        if self.planted == Some(Planted::JournalForgetsRuns) {
            let run = submission.run;
            return Ok(Submitted {
                run,
                existed: false,
            });
        }
        let submitted = self.inner.submit(submission).await;
        self.life
            .note("a run is submitted", [u64::from(submitted.is_ok()), 0]);
        self.end("a submission is unsure", submitted).await
    }

    async fn send(&self, run: RunId, command: Command) -> Result<(), Error> {
        self.begin("a command is refused").await?;
        let sent = self.inner.send(run, command).await;
        self.end("a command is unsure", sent).await
    }

    async fn run(&self, run: RunId) -> Result<Option<RunSummary>, Error> {
        self.read(self.inner.run(run)).await
    }

    async fn output(&self, run: RunId, task: TaskId) -> Result<Option<Bytes>, Error> {
        self.read(self.inner.output(run, task)).await
    }

    async fn list(&self, filter: RunFilter) -> Result<Vec<RunSummary>, Error> {
        self.read(self.inner.list(filter)).await
    }

    async fn events(&self, run: RunId, after: Seq, limit: usize) -> Result<EventPage, Error> {
        self.read(self.inner.events(run, after, limit)).await
    }

    async fn watch(&self, run: RunId) -> Result<Watch, Error> {
        self.read(self.inner.watch(run)).await
    }

    async fn claim(
        &self,
        partition: Partition,
        owner: &str,
        ttl: Duration,
    ) -> Result<Option<PartitionLease>, Error> {
        self.begin("a claim is refused").await?;
        let claimed = self.inner.claim(partition, owner, ttl).await;
        if let Ok(Some(lease)) = &claimed {
            self.life.note("claims", [u64::from(partition.get()), 0]);
            self.witness.claimed(lease);
        }
        self.end("a claim is unsure", claimed).await
    }

    async fn renew(&self, lease: &PartitionLease) -> Result<PartitionLease, Error> {
        if self.hits(self.life.world.faults.renewal_stalls) {
            let span = lease
                .ttl()
                .mul_f64(0.2 + self.life.world.below(20) as f64 / 10.0);
            self.life
                .note("a renewal stalls", [u64::from(lease.partition().get()), 0]);
            tokio::time::sleep(span).await;
        }
        self.begin("a renewal is refused").await?;
        let renewed = self.inner.renew(lease).await;
        self.end("a renewal is unsure", renewed).await
    }

    async fn release(&self, lease: PartitionLease) -> Result<(), Error> {
        self.begin("a release is refused").await?;
        let partition = u64::from(lease.partition().get());
        let released = self.inner.release(lease).await;
        self.life
            .note("releases", [partition, u64::from(released.is_ok())]);
        self.end("a release is unsure", released).await
    }

    async fn hand_over(&self, lease: PartitionLease) -> Result<(), Error> {
        self.begin("a hand-over is refused").await?;
        let partition = u64::from(lease.partition().get());
        let handed = self.inner.hand_over(lease).await;
        self.life
            .note("hands over", [partition, u64::from(handed.is_ok())]);
        self.end("a hand-over is unsure", handed).await
    }

    async fn attend(&self, member: &str, ttl: Duration) -> Result<(), Error> {
        self.begin("an attendance is refused").await?;
        let attended = self.inner.attend(member, ttl).await;
        self.end("an attendance is unsure", attended).await
    }

    async fn leave(&self, member: &str) -> Result<(), Error> {
        self.begin("a farewell is refused").await?;
        let left = self.inner.leave(member).await;
        self.end("a farewell is unsure", left).await
    }

    async fn roster(&self) -> Result<Roster, Error> {
        self.read(self.inner.roster()).await
    }

    async fn watch_roster(&self) -> Result<Watch, Error> {
        self.read(self.inner.watch_roster()).await
    }

    async fn inbox(
        &self,
        lease: &PartitionLease,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<InboxEntry>, Error> {
        self.read(self.inner.inbox(lease, after, limit)).await
    }

    async fn watch_inbox(&self, partition: Partition) -> Result<Watch, Error> {
        self.read(self.inner.watch_inbox(partition)).await
    }

    async fn append(&self, lease: &PartitionLease, batch: &mut Batch) -> Result<(), Error> {
        self.begin("an append is refused").await?;
        let copy = batch.clone();
        let appended = self.append_now(lease, batch).await;
        let answer = self.end("an append is unsure", appended).await;
        if answer.as_ref().is_err_and(Error::outcome_unknown) {
            *batch = copy;
        }
        answer
    }

    async fn open_runs(&self, lease: &PartitionLease) -> Result<Vec<RunId>, Error> {
        self.read(self.inner.open_runs(lease)).await
    }

    async fn load(&self, run: RunId) -> Result<Option<RunLog>, Error> {
        self.read(self.inner.load(run)).await
    }

    async fn snapshot(
        &self,
        lease: &PartitionLease,
        run: RunId,
        state: Bytes,
        upto: Seq,
    ) -> Result<(), Error> {
        self.read(self.inner.snapshot(lease, run, state, upto))
            .await
    }

    async fn import(&self, log: RunLog) -> Result<(), Error> {
        self.read(self.inner.import(log)).await
    }
}

/// The same occurrence as another run.
fn again(mut submission: Submission) -> Submission {
    let key = submission.idempotency_key.as_deref();
    if key.is_some_and(is_occurrence) {
        submission.run = RunId::new();
    }
    submission
}

fn is_occurrence(key: &str) -> bool {
    key.starts_with("coditect.schedule/")
}
