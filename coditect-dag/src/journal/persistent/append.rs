//! The append: records, consumed entries, heads and indexes in one transaction under the owner's token.

use std::collections::BTreeSet;

use bytes::Bytes;
use coditect_state::{Result, StateStoreExt, Transaction, TransactionExt, Tx};
use rustc_hash::FxHashMap;

use super::blob::{self, Belongs};
use super::error::{abort, unknown_run};
use super::head::{self, Head};
use super::inbox::EntryRow;
use super::line;
use super::owner::CounterRow;
use super::touched::Touched;
use super::{INLINE, StoreJournal};
use crate::RunId;
use crate::journal::{Batch, Error, ErrorKind, PartitionLease, Seq};

/// From how many bytes of content on a batch keeps more of it apart, so that it fits into one transaction.
const CONTENT: usize = 3 << 20;

/// What still lies in its record then.
const SMALL: usize = 256;

/// Up to how many consumed entries are looked up one by one.
const FEW: usize = 4;

/// Is what an append has left behind.
struct Appended {
    /// How many appends there had been before.
    before: u64,
    heads: Vec<(RunId, Head)>,
}

impl StoreJournal {
    pub(super) async fn append_batch(
        &self,
        lease: &PartitionLease,
        batch: &mut Batch,
    ) -> std::result::Result<(), Error> {
        self.check_partition(lease.partition())?;
        let inline = inline(batch);
        self.keep_apart(batch, inline).await?;
        let records = &*batch;
        let append = |mut tx: Tx| async move {
            let appended = self.append_once(&mut *tx, lease, records, inline).await?;
            Ok(appended)
        };
        let appended = self.store.transact(append).await?;
        if let Some(Appended { before, heads }) = appended {
            self.remember(lease, before, heads.into_iter());
        }
        batch.clear();
        Ok(())
    }

    /// Stores the content that is too large for its record. Until the append it means nothing.
    async fn keep_apart(&self, batch: &Batch, inline: usize) -> std::result::Result<(), Error> {
        for group in batch.records().chunk_by(|one, next| one.0 == next.0) {
            let contents = group
                .iter()
                .filter_map(|(_, record)| line::content(&record.kind));
            let large: Vec<&Bytes> = contents.filter(|it| it.len() > inline).collect();
            if !large.is_empty() {
                let run = group[0].0;
                blob::store(&*self.store, &self.keys, run, Belongs::ToKnown, &large).await?;
            }
        }
        Ok(())
    }

    async fn append_once(
        &self,
        tx: &mut dyn Transaction,
        lease: &PartitionLease,
        batch: &Batch,
        inline: usize,
    ) -> Result<Option<Appended>> {
        self.check_owner(tx, lease).await?;
        if batch.is_empty() {
            return Ok(None);
        }
        let partition = lease.partition();
        let mut counter = self.counter(tx, partition).await?;
        let before = counter.appends;
        let mut touched = TouchedRuns::default();
        for (seq, entry) in self.consumed(tx, lease, batch).await? {
            tx.clear(&self.keys.entry(partition, seq))?;
            if entry.is_submission() {
                let place = self
                    .touch(tx, lease, before, entry.run, &mut touched)
                    .await?;
                touched.runs[place].head.claimed = true;
            }
        }
        for group in batch.records().chunk_by(|one, next| one.0 == next.0) {
            let place = self
                .touch(tx, lease, before, group[0].0, &mut touched)
                .await?;
            for (_, record) in group {
                touched.runs[place].push(tx, &self.keys, record, inline)?;
            }
        }
        for run in &mut touched.runs {
            let grown = run.finish(tx, &self.keys, partition)?;
            counter.settled = counter.settled.saturating_add_signed(grown);
        }
        let counter = CounterRow {
            appends: before + 1,
            ..counter
        };
        tx.set_json(&self.keys.counter(partition), &counter)?;
        let heads = touched.runs.into_iter().map(|it| (it.run, it.head));
        let heads = heads.collect();
        Ok(Some(Appended { before, heads }))
    }

    /// Returns where a run stands among those touched, with its head read.
    async fn touch(
        &self,
        tx: &mut dyn Transaction,
        lease: &PartitionLease,
        appends: u64,
        run: RunId,
        touched: &mut TouchedRuns,
    ) -> Result<usize> {
        if let Some(place) = touched.places.get(&run) {
            return Ok(*place);
        }
        if self.home(run) != lease.partition() {
            let text = "the run belongs to another partition";
            return Err(abort(ErrorKind::Invalid, text));
        }
        let head = match self.known_head(lease, appends, run) {
            Some(head) => head,
            None => self.head(tx, run).await?.ok_or_else(unknown_run)?,
        };
        let place = touched.runs.len();
        touched.places.insert(run, place);
        touched.runs.push(Touched::new(run, head));
        Ok(place)
    }

    /// Reads the head of a run, without the content of a settlement that lies by itself.
    async fn head(&self, tx: &mut dyn Transaction, run: RunId) -> Result<Option<Head>> {
        let Some(bytes) = tx.get(&self.keys.head(run)).await? else {
            return Ok(None);
        };
        let (mut head, blob) = Head::decode(run, &bytes)?;
        if let Some(blob) = blob {
            // Written back with the head, it must be what it was.
            head.fill(blob::Blobs::new(&self.keys, run).fetch(tx, blob).await?);
        }
        Ok(Some(head))
    }

    /// Reads the entries that a batch takes out of the inbox; all of them must be there.
    async fn consumed(
        &self,
        tx: &mut dyn Transaction,
        lease: &PartitionLease,
        batch: &Batch,
    ) -> Result<Vec<(Seq, EntryRow)>> {
        let partition = lease.partition();
        let wanted: BTreeSet<Seq> = batch.consumed().iter().copied().collect();
        let mut found = Vec::with_capacity(wanted.len());
        if wanted.len() <= FEW {
            for seq in &wanted {
                if let Some(bytes) = tx.get(&self.keys.entry(partition, *seq)).await? {
                    found.push((*seq, head::decode(&bytes)?));
                }
            }
        } else if let (Some(first), Some(last)) = (wanted.first(), wanted.last()) {
            let before = Seq::new(first.get().saturating_sub(1));
            let range = self.keys.entries_after(partition, before);
            let end = self.keys.entry(partition, last.next());
            let range = coditect_state::Range::new(range.begin().clone(), end);
            for entry in tx.range_all(range).await? {
                if let Some(seq) = self
                    .keys
                    .entry_seq(&entry.key)
                    .filter(|it| wanted.contains(it))
                {
                    found.push((seq, head::decode(&entry.value)?));
                }
            }
        }
        if found.len() < wanted.len() {
            let text = "an entry to be consumed is not in the inbox";
            return Err(abort(ErrorKind::Conflict, text));
        }
        Ok(found)
    }
}

#[derive(Debug, Default)]
struct TouchedRuns {
    runs: Vec<Touched>,
    places: FxHashMap<RunId, usize>,
}

/// Returns up to which length content lies in its record.
fn inline(batch: &Batch) -> usize {
    let contents = batch
        .records()
        .iter()
        .filter_map(|(_, record)| line::content(&record.kind));
    let together: usize = contents.map(Bytes::len).filter(|it| *it <= INLINE).sum();
    if together > CONTENT { SMALL } else { INLINE }
}
