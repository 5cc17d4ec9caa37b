//! Reading runs: what was asked for, how far they have come, their records and outputs.

use bytes::Bytes;
use coditect_state::{Entry, Result, StateStoreExt, Transaction, TransactionExt, Tx};

use super::StoreJournal;
use super::blob::Blobs;
use super::error::{corrupt, unknown_run};
use super::head::{Head, decode, decode_submission};
use super::line::{self, Decoded};
use super::payload::{BlobRef, Payload};
use super::touched::location;
use crate::journal::{
    Error, EventPage, PartitionLease, Record, RunLog, RunSummary, Seq, Submission,
};
use crate::{RunId, TaskId};

impl StoreJournal {
    /// Reads a submission without its spec, if that lies by itself.
    pub(super) async fn submission_row(
        &self,
        tx: &mut dyn Transaction,
        run: RunId,
    ) -> Result<Option<Submission>> {
        Ok(self.submission_parts(tx, run).await?.map(|(row, _)| row))
    }

    async fn submission_parts(
        &self,
        tx: &mut dyn Transaction,
        run: RunId,
    ) -> Result<Option<(Submission, Option<BlobRef>)>> {
        let bytes = tx.get(&self.keys.submission(run)).await?;
        bytes
            .map(|bytes| decode_submission(run, &bytes))
            .transpose()
    }

    pub(super) async fn submission(
        &self,
        tx: &mut dyn Transaction,
        run: RunId,
    ) -> Result<Option<Submission>> {
        let Some((mut submission, blob)) = self.submission_parts(tx, run).await? else {
            return Ok(None);
        };
        if let Some(blob) = blob {
            submission.spec = Blobs::new(&self.keys, run).fetch(tx, blob).await?;
        }
        Ok(Some(submission))
    }

    pub(super) async fn summary(
        &self,
        tx: &mut dyn Transaction,
        run: RunId,
    ) -> Result<Option<RunSummary>> {
        let Some(submission) = self.submission_row(tx, run).await? else {
            return Ok(None);
        };
        let bytes = tx.get(&self.keys.head(run)).await?;
        let bytes = bytes.ok_or_else(|| corrupt("a run has no head", "its key is missing"))?;
        let (mut head, blob) = Head::decode(run, &bytes)?;
        if let Some(blob) = blob {
            head.fill(Blobs::new(&self.keys, run).fetch(tx, blob).await?);
        }
        Ok(Some(RunSummary {
            tenant: submission.tenant,
            labels: submission.labels,
            ..head.summary
        }))
    }

    pub(super) async fn read_run(
        &self,
        run: RunId,
    ) -> std::result::Result<Option<RunSummary>, Error> {
        let read = |mut tx: Tx| async move { self.summary(&mut *tx, run).await };
        Ok(self.store.transact(read).await?)
    }

    /// Reads the records `from..=upto` of a run, as far as they are kept, up to `limit` of them.
    async fn records(
        &self,
        tx: &mut dyn Transaction,
        run: RunId,
        from: Seq,
        limit: usize,
    ) -> Result<Vec<(Seq, Record)>> {
        let begin = self.keys.chunks(run, Seq::ZERO, from);
        let holding = tx.range(begin.reversed().with_limit(1)).await?;
        let start = holding.entries.first().map_or(from, position);
        let mut next = Some(self.keys.chunks(run, start, Seq::new(u64::MAX - 1)));
        let mut blobs = Blobs::new(&self.keys, run);
        let mut records = Vec::new();
        while let Some(range) = next.filter(|_| records.len() < limit) {
            // Chunks are of any length, so a page is at most some megabytes.
            let page = tx.range(range.with_limit(256)).await?;
            for chunk in &page.entries {
                let mut seq = position(chunk);
                for mut decoded in line::decode(&chunk.value)? {
                    if seq >= from && records.len() < limit {
                        self.fetch_into(tx, &mut decoded, &mut blobs).await?;
                        records.push((seq, decoded.value));
                    }
                    seq = seq.next();
                }
            }
            next = page.next;
        }
        Ok(records)
    }

    async fn fetch_into(
        &self,
        tx: &mut dyn Transaction,
        decoded: &mut Decoded<Record>,
        blobs: &mut Blobs<'_>,
    ) -> Result<()> {
        if let Some(blob) = decoded.blob {
            let content = blobs.fetch(tx, blob).await?;
            decoded.fill(content);
        }
        Ok(())
    }

    pub(super) async fn load_run(&self, run: RunId) -> std::result::Result<Option<RunLog>, Error> {
        let load = |mut tx: Tx| async move {
            let Some(submission) = self.submission(&mut *tx, run).await? else {
                return Ok(None);
            };
            let (snapshot, snapshot_upto) = match self.read_snapshot(&mut *tx, run).await? {
                Some((state, upto)) => (Some(state), upto),
                None => (None, Seq::ZERO),
            };
            let from = snapshot_upto.next();
            let records = self.records(&mut *tx, run, from, usize::MAX).await?;
            let last = records.last().map_or(snapshot_upto, |(seq, _)| *seq);
            if last.get() - snapshot_upto.get() != records.len() as u64 {
                return Err(corrupt("a run's log has a gap", format!("before {last}")));
            }
            let head = tx.get(&self.keys.head(run)).await?;
            let head = head.ok_or_else(|| corrupt("a run has no head", "its key is missing"))?;
            let (head, _) = Head::decode(run, &head)?;
            if head.summary.last != last {
                let text = format!("it ends at {last} and not at {}", head.summary.last);
                return Err(corrupt("a run's log is too short", text));
            }
            Ok(Some(RunLog {
                submission: submission.into(),
                snapshot,
                snapshot_upto,
                tail: records.into_iter().map(|(_, record)| record).collect(),
            }))
        };
        Ok(self.store.transact(load).await?)
    }

    pub(super) async fn read_events(
        &self,
        run: RunId,
        after: Seq,
        limit: usize,
    ) -> std::result::Result<EventPage, Error> {
        let read = |mut tx: Tx| async move {
            if self.submission_row(&mut *tx, run).await?.is_none() {
                return Err(unknown_run());
            }
            let trimmed = self.trimmed(&mut *tx, run).await?;
            let from = after.max(trimmed).next();
            Ok(EventPage {
                records: self.records(&mut *tx, run, from, limit).await?,
                skipped: trimmed.get().saturating_sub(after.get()),
            })
        };
        Ok(self.store.transact(read).await?)
    }

    pub(super) async fn read_output(
        &self,
        run: RunId,
        task: TaskId,
    ) -> std::result::Result<Option<Bytes>, Error> {
        let read = |mut tx: Tx| async move {
            let Some(value) = tx.get(&self.keys.output(run, task)).await? else {
                return Ok(None);
            };
            let Some(seq) = location(&value) else {
                let payload: Payload<'_> = decode(&value)?;
                let content = match payload.content(&value)? {
                    Ok(content) => content,
                    Err(blob) => Blobs::new(&self.keys, run).fetch(&mut *tx, blob).await?,
                };
                return Ok(Some(content));
            };
            let records = self.records(&mut *tx, run, seq, 1).await?;
            let output = records.first().filter(|(at, _)| *at == seq);
            let output = output.and_then(|(_, record)| line::content(&record.kind));
            let missing = || corrupt("an output is missing", format!("at {seq}"));
            Ok(Some(output.ok_or_else(missing)?.clone()))
        };
        Ok(self.store.transact(read).await?)
    }

    pub(super) async fn read_open_runs(
        &self,
        lease: &PartitionLease,
    ) -> std::result::Result<Vec<RunId>, Error> {
        self.check_partition(lease.partition())?;
        let read = |mut tx: Tx| async move {
            self.check_owner(&mut *tx, lease).await?;
            let open = self.keys.all_open(lease.partition()).snapshot();
            let open = tx.range_all(open).await?;
            Ok(open
                .iter()
                .filter_map(|entry| super::key::run_of(&entry.key))
                .collect())
        };
        Ok(self.store.transact(read).await?)
    }
}

/// Returns the position of the first record of a chunk.
pub(super) fn position(chunk: &Entry) -> Seq {
    let bytes = chunk.key.last_chunk::<8>().copied();
    Seq::new(bytes.map_or(0, u64::from_be_bytes))
}
