//! Large content: kept once for each run, under its hash, in parts that every store takes.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use coditect_state::{Result, StateStore, StateStoreExt, Transaction, TransactionExt};

use super::error::{corrupt, unknown_run};
use super::key::{Hash, Keys};
use super::payload::BlobRef;
use crate::RunId;

/// How long a part is at most.
pub(super) const PART: usize = 64 << 10;

/// How many bytes of parts one transaction writes at most.
const TOGETHER: usize = 1 << 20;

/// Says whether the run that content belongs to must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belongs {
    /// To a run that is known: otherwise nobody would ever remove it.
    ToKnown,
    /// To one that is about to be submitted, and marked as doomed until it is.
    ToNew,
}

/// Stores content, unless the run has it already. Whoever names it afterwards finds it.
pub(super) async fn store(
    state: &dyn StateStore,
    keys: &Keys,
    run: RunId,
    belongs: Belongs,
    contents: &[&Bytes],
) -> Result<()> {
    for content in contents {
        let BlobRef { hash, .. } = BlobRef::of(content);
        let parts = content.len().div_ceil(PART);
        // The last part comes last, so where it is the rest is, too.
        let last = &keys.blob(run, &hash, as_u32(parts.saturating_sub(1)));
        let there = |mut tx: coditect_state::Tx| async move { Ok(tx.get(last).await?.is_some()) };
        if state.transact(there).await? {
            continue;
        }
        for first in (0..parts).step_by(TOGETHER / PART) {
            let write = |mut tx: coditect_state::Tx| async move {
                if belongs == Belongs::ToKnown && tx.get(&keys.submission(run)).await?.is_none() {
                    return Err(unknown_run());
                }
                for part in first..parts.min(first + TOGETHER / PART) {
                    let bytes = content.slice(part * PART..content.len().min((part + 1) * PART));
                    tx.set(&keys.blob(run, &hash, as_u32(part)), bytes)?;
                }
                Ok(())
            };
            state.transact(write).await?;
        }
    }
    Ok(())
}

/// Fetches content of one run, each piece once.
#[derive(Debug)]
pub(super) struct Blobs<'a> {
    keys: &'a Keys,
    run: RunId,
    fetched: HashMap<Hash, Bytes>,
}

impl<'a> Blobs<'a> {
    pub(super) fn new(keys: &'a Keys, run: RunId) -> Self {
        let fetched = HashMap::new();
        Self { keys, run, fetched }
    }

    pub(super) async fn fetch(&mut self, tx: &mut dyn Transaction, blob: BlobRef) -> Result<Bytes> {
        if let Some(content) = self.fetched.get(&blob.hash) {
            return Ok(content.clone());
        }
        let parts = self.keys.blob_parts(self.run, &blob.hash).with_limit(16);
        let mut content = BytesMut::new();
        for part in tx.range_all(parts.snapshot()).await? {
            content.extend_from_slice(&part.value);
        }
        let content = content.freeze();
        if BlobRef::of(&content) != blob {
            let text = format!("{} of {} bytes are there", content.len(), blob.length);
            return Err(corrupt("stored content is not what it was", text));
        }
        self.fetched.insert(blob.hash, content.clone());
        Ok(content)
    }
}

/// Parts are counted in 32 bits: 256 TiB.
pub(super) fn as_u32(part: usize) -> u32 {
    u32::try_from(part).unwrap_or(u32::MAX)
}
