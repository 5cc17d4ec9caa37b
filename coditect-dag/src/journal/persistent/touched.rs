//! A run that an append touches: its head before and after, and what that writes.

use coditect_state::{Result, Transaction};

use super::error::abort;
use super::head::Head;
use super::key::{Keys, entry_of};
use super::line;
use crate::RunId;
use crate::journal::Seq;
use crate::journal::{ErrorKind, Partition, Record, RecordKind, RunState};

/// From how many bytes on records begin another chunk. One line more still fits into what every store takes.
const CHUNK: usize = 32 << 10;

/// Is a run while an append is prepared.
#[derive(Debug)]
pub(super) struct Touched {
    pub(super) run: RunId,
    pub(super) head: Head,
    /// `None`: the state in no index yet.
    before: Before,
    chunk: Vec<u8>,
    first: Seq,
}

#[derive(Clone, Copy, Debug)]
struct Before {
    state: RunState,
    settled_at: Option<u64>,
    open: bool,
}

impl Before {
    fn of(head: &Head) -> Self {
        let settled = head.is_settled();
        let at = head.summary.settled_at.map_or(0, |at| at.as_millis());
        Self {
            state: head.summary.state,
            settled_at: settled.then_some(at),
            open: head.claimed && !settled,
        }
    }
}

impl Touched {
    pub(super) fn new(run: RunId, head: Head) -> Self {
        Self {
            run,
            before: Before::of(&head),
            first: head.summary.last.next(),
            head,
            chunk: Vec::new(),
        }
    }

    /// Adds the next record, if the run takes it.
    pub(super) fn push(
        &mut self,
        tx: &mut dyn Transaction,
        keys: &Keys,
        record: &Record,
        inline: usize,
    ) -> Result<()> {
        if self.head.is_settled() && !record.kind.reopens() {
            return Err(abort(ErrorKind::Conflict, "the run is settled"));
        }
        self.head.summary.apply(record);
        line::encode(record, inline, &mut self.chunk)?;
        if let RecordKind::Succeeded { task, .. } | RecordKind::Resolved { task, .. } = &record.kind
        {
            tx.set(
                &keys.output(self.run, *task),
                located(self.head.summary.last),
            )?;
        }
        if self.chunk.len() >= CHUNK {
            self.write_chunk(tx, keys)?;
        }
        Ok(())
    }

    pub(super) fn write_chunk(&mut self, tx: &mut dyn Transaction, keys: &Keys) -> Result<()> {
        if !self.chunk.is_empty() {
            let chunk = std::mem::take(&mut self.chunk);
            tx.set(&keys.chunk(self.run, self.first), chunk.into())?;
        }
        self.first = self.head.summary.last.next();
        Ok(())
    }

    /// Writes what is left, the head and the indexes; returns by how many the settled runs grow.
    pub(super) fn finish(
        &mut self,
        tx: &mut dyn Transaction,
        keys: &Keys,
        partition: Partition,
    ) -> Result<i64> {
        self.write_chunk(tx, keys)?;
        tx.set(&keys.head(self.run), self.head.encode()?)?;
        let (before, after) = (self.before, Before::of(&self.head));
        if before.state != after.state {
            tx.clear(&entry_of(&keys.in_state(before.state), self.run))?;
            tx.set(
                &entry_of(&keys.in_state(after.state), self.run),
                Default::default(),
            )?;
        }
        let open = keys.open(partition, self.run);
        match (before.open, after.open) {
            (false, true) => tx.set(&open, Default::default())?,
            (true, false) => tx.clear(&open)?,
            _ => {}
        }
        if before.settled_at == after.settled_at {
            return Ok(0);
        }
        if let Some(at) = before.settled_at {
            tx.clear(&keys.settled(partition, at, self.run))?;
        }
        if let Some(at) = after.settled_at {
            tx.set(&keys.settled(partition, at, self.run), Default::default())?;
        }
        let count = |settled: Option<u64>| i64::from(settled.is_some());
        Ok(count(after.settled_at) - count(before.settled_at))
    }
}

/// Says that an output lies in the record at a position. What lies here by itself begins with a brace.
fn located(seq: Seq) -> bytes::Bytes {
    [&b"@"[..], &seq.get().to_be_bytes()].concat().into()
}

/// Returns the position of the record in which an output lies, or `None` if it lies here by itself.
pub(super) fn location(value: &[u8]) -> Option<Seq> {
    let position = value.strip_prefix(b"@")?.try_into().ok()?;
    Some(Seq::new(u64::from_be_bytes(position)))
}
