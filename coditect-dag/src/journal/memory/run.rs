//! One run in memory: its log, and its outputs kept once.

use std::sync::Arc;

use bytes::Bytes;

use crate::TaskId;
use crate::journal::{
    Error, ErrorKind, EventPage, Hint, Record, RecordKind, RunLog, RunSummary, Seq, Submission,
};

/// An output, and the position of the record that brought it.
#[derive(Debug)]
struct Output {
    bytes: Bytes,
    seq: Seq,
}

/// A run with all that is kept of it.
///
/// The outputs of `Succeeded` and `Resolved` records live in the table alone: cloning `Bytes` that were
/// made from a `Vec` allocates, and every task would pay for it. Such a record in the log is empty, and
/// gets its output back when it is read.
#[derive(Debug)]
pub(super) struct KeptRun {
    pub(super) submission: Arc<Submission>,
    pub(super) summary: RunSummary,
    pub(super) hint: Option<Hint>,
    /// Entries in the inbox that are about this run.
    pub(super) waiting: u32,
    /// Whether the submission itself still waits there.
    pub(super) unclaimed: bool,
    /// How many times the run has settled.
    pub(super) settlements: u32,
    /// Used while a batch is checked: the batch's number, and whether the run is settled so far in it.
    pub(super) checked: (u64, bool),
    log: Vec<Record>,
    /// How many records before the first in `log` are no longer kept.
    dropped: u64,
    outputs: Vec<Option<Output>>,
    snapshot: Option<(Bytes, Seq)>,
    payload: usize,
}

impl KeptRun {
    pub(super) fn new(submission: Arc<Submission>, hint: Option<Hint>) -> Self {
        Self {
            summary: RunSummary::submitted(&submission),
            payload: submission.spec.len(),
            submission,
            hint,
            waiting: 0,
            unclaimed: true,
            settlements: 0,
            checked: (0, false),
            log: Vec::new(),
            dropped: 0,
            outputs: Vec::new(),
            snapshot: None,
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.summary.state.is_settled()
    }

    pub(super) fn is_watched(&self) -> bool {
        self.hint.as_ref().is_some_and(|hint| !hint.is_unwatched())
    }

    /// Returns about how much memory the run holds.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.payload
            + self.log.capacity() * size_of::<Record>()
            + self.outputs.capacity() * size_of::<Option<Output>>()
    }

    /// Appends a record that was checked before.
    pub(super) fn push(&mut self, mut record: Record) {
        self.summary.apply(&record);
        match &mut record.kind {
            RecordKind::Succeeded { task, output, .. } | RecordKind::Resolved { task, output } => {
                let (task, output) = (*task, std::mem::take(output));
                self.keep_output(task, output);
            }
            RecordKind::Failed { failure, .. } | RecordKind::ScopeFailed { failure, .. } => {
                self.payload += failure.len();
            }
            RecordKind::Expanded { plan, .. } => self.payload += plan.len(),
            RecordKind::Signalled { payload, .. } => self.payload += payload.len(),
            RecordKind::Patched { patch } => self.payload += patch.len(),
            RecordKind::Redriven {
                input: Some(input), ..
            } => self.payload += input.len(),
            RecordKind::Settled(_) => self.settlements = self.settlements.wrapping_add(1),
            _ => {}
        }
        self.log.push(record);
    }

    fn keep_output(&mut self, task: TaskId, bytes: Bytes) {
        self.payload += bytes.len();
        let index = task.index();
        if index >= self.outputs.len() {
            self.outputs.resize_with(index + 1, || None);
        }
        let seq = self.summary.last;
        if let Some(earlier) = self.outputs[index].replace(Output { bytes, seq }) {
            // The earlier record keeps its own output; the table holds only the latest.
            if let Some(place) = self.position(earlier.seq)
                && let Some(slot) = output_of(&mut self.log[place])
            {
                *slot = earlier.bytes;
            }
        }
    }

    /// Returns where in `log` a record stands, if it is still kept.
    fn position(&self, seq: Seq) -> Option<usize> {
        let index = seq.get().checked_sub(self.dropped + 1)?;
        usize::try_from(index)
            .ok()
            .filter(|index| *index < self.log.len())
    }

    pub(super) fn output(&self, task: TaskId) -> Option<Bytes> {
        let output = self.outputs.get(task.index())?.as_ref()?;
        Some(output.bytes.clone())
    }

    /// Returns the record at an index of `log`, with its output.
    fn read(&self, index: usize) -> Record {
        let mut record = self.log[index].clone();
        let seq = Seq::new(self.dropped + index as u64 + 1);
        let task = record.kind.task();
        if let Some(slot) = output_of(&mut record)
            && let Some(Some(output)) = task.and_then(|task| self.outputs.get(task.index()))
            && output.seq == seq
        {
            *slot = output.bytes.clone();
        }
        record
    }

    pub(super) fn load(&self) -> RunLog {
        let (snapshot, snapshot_upto) = match &self.snapshot {
            Some((state, upto)) => (Some(state.clone()), *upto),
            None => (None, Seq::ZERO),
        };
        let from = self
            .position(snapshot_upto.next())
            .unwrap_or(self.log.len());
        RunLog {
            submission: Arc::clone(&self.submission),
            snapshot,
            snapshot_upto,
            tail: (from..self.log.len())
                .map(|index| self.read(index))
                .collect(),
        }
    }

    pub(super) fn events(&self, after: Seq, limit: usize) -> EventPage {
        let skipped = self.dropped.saturating_sub(after.get());
        let first = Seq::new(after.get().max(self.dropped)).next();
        let Some(from) = self.position(first) else {
            return EventPage {
                records: Vec::new(),
                skipped,
            };
        };
        let to = from.saturating_add(limit).min(self.log.len());
        let records = (from..to)
            .map(|index| (Seq::new(self.dropped + index as u64 + 1), self.read(index)))
            .collect();
        EventPage { records, skipped }
    }

    pub(super) fn snapshot(&mut self, state: Bytes, upto: Seq, keep: usize) -> Result<(), Error> {
        let earlier = self.snapshot.as_ref().map_or(Seq::ZERO, |(_, upto)| *upto);
        if upto < earlier || upto > self.summary.last {
            let text = "the snapshot's position lies outside of the log that follows the last one";
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let replaced = self.snapshot.replace((state, upto));
        self.payload += self.snapshot.as_ref().map_or(0, |(state, _)| state.len());
        self.payload = self
            .payload
            .saturating_sub(replaced.map_or(0, |(state, _)| state.len()));
        let dispensable = upto.get().saturating_sub(keep as u64);
        if let Some(excess) = dispensable.checked_sub(self.dropped)
            && let Ok(excess) = usize::try_from(excess)
        {
            self.log.drain(..excess);
            self.dropped = dispensable;
        }
        Ok(())
    }
}

fn output_of(record: &mut Record) -> Option<&mut Bytes> {
    match &mut record.kind {
        RecordKind::Succeeded { output, .. } | RecordKind::Resolved { output, .. } => Some(output),
        _ => None,
    }
}
