//! Snapshots, and records that one stands for.

use bytes::{Bytes, BytesMut};
use coditect_state::{Result, StateStoreExt, Transaction, TransactionExt, Tx};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::blob::{PART, as_u32};
use super::error::{abort, corrupt, unknown_run};
use super::head::{Head, encode};
use super::line;
use super::payload::Payload;
use super::read::position;
use super::touched::location;
use super::{INLINE, StoreJournal};
use crate::RunId;
use crate::journal::{Error, ErrorKind, PartitionLease, RecordKind, Seq};

/// How many chunks one transaction removes at most.
const CHUNKS: usize = 16;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct SnapshotRow {
    upto: Seq,
    length: u64,
    /// Tells the parts of this one from those of another that was never finished.
    copy: Uuid,
}

impl StoreJournal {
    pub(super) async fn store_snapshot(
        &self,
        lease: &PartitionLease,
        run: RunId,
        state: Bytes,
        upto: Seq,
    ) -> std::result::Result<(), Error> {
        self.check_partition(lease.partition())?;
        let row = &SnapshotRow {
            upto,
            length: state.len() as u64,
            copy: Uuid::now_v7(),
        };
        let check = |mut tx: Tx| async move { self.check(&mut *tx, lease, run, upto).await };
        self.store.transact(check).await?;
        for (part, bytes) in (0..).zip(state.chunks(PART)) {
            let key = &self.keys.snapshot_part(run, upto, &row.copy, as_u32(part));
            let write = |mut tx: Tx| async move {
                self.check_owner(&mut *tx, lease).await?;
                tx.set(key, Bytes::copy_from_slice(bytes))
            };
            self.store.transact(write).await?;
        }
        let finish = |mut tx: Tx| async move {
            let replaced = self.check(&mut *tx, lease, run, upto).await?;
            tx.set_json(&self.keys.snapshot(run), row)?;
            if let Some(old) = replaced {
                let parts = self.keys.snapshot_parts(run, old.upto, &old.copy);
                tx.clear_range(parts.begin(), parts.end())?;
            }
            Ok(())
        };
        self.store.transact(finish).await?;
        let keep = self.config.events_behind_snapshot;
        let dispensable = Seq::new(upto.get().saturating_sub(keep));
        while self.trim(lease, run, dispensable).await? {}
        Ok(())
    }

    /// Checks whether a snapshot may be stored, and returns the one before.
    async fn check(
        &self,
        tx: &mut dyn Transaction,
        lease: &PartitionLease,
        run: RunId,
        upto: Seq,
    ) -> Result<Option<SnapshotRow>> {
        self.check_owner(tx, lease).await?;
        if self.home(run) != lease.partition() {
            let text = "the run belongs to another partition";
            return Err(abort(ErrorKind::Invalid, text));
        }
        let head = tx.get(&self.keys.head(run)).await?;
        let (head, _) = Head::decode(run, &head.ok_or_else(unknown_run)?)?;
        let earlier: Option<SnapshotRow> = tx.get_json(&self.keys.snapshot(run)).await?;
        if earlier.is_some_and(|earlier| upto < earlier.upto) || upto > head.summary.last {
            let text = "the snapshot's position lies outside of the log that follows the last one";
            return Err(abort(ErrorKind::Invalid, text));
        }
        Ok(earlier)
    }

    pub(super) async fn read_snapshot(
        &self,
        tx: &mut dyn Transaction,
        run: RunId,
    ) -> Result<Option<(Bytes, Seq)>> {
        let row: Option<SnapshotRow> = tx.get_json(&self.keys.snapshot(run)).await?;
        let Some(SnapshotRow { upto, length, copy }) = row else {
            return Ok(None);
        };
        let parts = self.keys.snapshot_parts(run, upto, &copy);
        let mut state = BytesMut::new();
        for part in tx.range_all(parts.with_limit(16)).await? {
            state.extend_from_slice(&part.value);
        }
        if state.len() as u64 != length {
            let text = format!("{} of {length} bytes are there", state.len());
            return Err(corrupt("a snapshot is not what it was", text));
        }
        Ok(Some((state.freeze(), upto)))
    }

    /// Returns how many records of a run are no longer kept.
    pub(super) async fn trimmed(&self, tx: &mut dyn Transaction, run: RunId) -> Result<Seq> {
        let trimmed = tx.get_json(&self.keys.trimmed(run)).await?;
        Ok(trimmed.unwrap_or(Seq::ZERO))
    }

    /// Removes some chunks that lie before a position as a whole; outputs in them are kept elsewhere. Returns
    /// whether there may be more.
    async fn trim(
        &self,
        lease: &PartitionLease,
        run: RunId,
        upto: Seq,
    ) -> std::result::Result<bool, Error> {
        let trim = |mut tx: Tx| async move {
            self.check_owner(&mut *tx, lease).await?;
            let trimmed = self.trimmed(&mut *tx, run).await?;
            let range = self.keys.chunks(run, Seq::ZERO, upto);
            let chunks = tx.range(range.with_limit(CHUNKS)).await?;
            let mut kept_from = trimmed;
            for chunk in &chunks.entries {
                let records = line::decode(&chunk.value)?;
                let last = Seq::new(position(chunk).get() + records.len() as u64 - 1);
                if last > upto {
                    break;
                }
                for (seq, decoded) in (position(chunk).get()..).zip(records) {
                    let (RecordKind::Succeeded { task, .. } | RecordKind::Resolved { task, .. }) =
                        decoded.value.kind
                    else {
                        continue;
                    };
                    let key = self.keys.output(run, task);
                    let current = tx.get(&key).await?.and_then(|value| location(&value));
                    if current == Some(Seq::new(seq)) {
                        let content = line::content(&decoded.value.kind);
                        let content = content.map_or(&[][..], |content| content);
                        let value = match decoded.blob {
                            Some(blob) => encode(&Payload::from(blob))?,
                            None => encode(&Payload::new(content, INLINE))?,
                        };
                        tx.set(&key, value)?;
                    }
                }
                tx.clear(&chunk.key)?;
                kept_from = last;
            }
            if kept_from == trimmed {
                return Ok(false);
            }
            tx.set_json(&self.keys.trimmed(run), &kept_from)?;
            Ok(chunks.next.is_some())
        };
        Ok(self.store.transact(trim).await?)
    }
}
