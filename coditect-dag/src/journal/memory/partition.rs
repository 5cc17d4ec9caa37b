//! One partition in memory: who owns it, its inbox and its runs.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::SystemTime;

use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::inbox::Inbox;
use super::retention::Candidate;
use super::run::KeptRun;
use crate::RunId;
use crate::journal::{
    Batch, Command, Error, ErrorKind, FencingToken, Hint, PartitionLease, Record, RecordKind,
    Request, RunLog, Submission, Watch,
};

#[derive(Debug, Default)]
pub(super) struct PartitionState {
    pub(super) inbox: Inbox,
    /// Boxed, so that the table stays small enough for the caches when thousands of runs alternate.
    pub(super) runs: FxHashMap<RunId, Box<KeptRun>>,
    last_token: Option<FencingToken>,
    /// Who may write, and until when nobody else may claim; `None` after a release.
    holder: Option<Holder>,
    /// Whether the last holder has handed the partition over.
    handed_over: bool,
    /// Hints of runs that are watched before they are submitted.
    early: FxHashMap<RunId, Hint>,
    /// From how many early hints on the unwatched ones are looked for.
    early_limit: usize,
    batches: u64,
}

/// Who may write to a partition.
#[derive(Debug)]
struct Holder {
    token: FencingToken,
    owner: Arc<str>,
    until: Instant,
}

/// What is to be done after an append when the partition's lock is released.
#[derive(Debug, Default)]
pub(super) struct Appended {
    pub(super) hints: Vec<Hint>,
    pub(super) settled: Vec<Candidate>,
}

/// Is what is to be done after an import when the partition's lock is released.
#[derive(Debug)]
pub(super) struct Imported {
    pub(super) hint: Option<Hint>,
    pub(super) settled: Option<Candidate>,
}

/// Says whether a run was accepted by this submission or before.
#[derive(Debug)]
pub(super) enum Accepted {
    New(Option<Hint>),
    Existed,
}

impl PartitionState {
    /// Grants the next token, unless somebody's lease lasts.
    pub(super) fn next_token(&mut self, now: Instant) -> Option<FencingToken> {
        if self.owner(now).is_some() {
            return None;
        }
        let token = FencingToken::following(self.last_token, SystemTime::now().into());
        self.last_token = Some(token);
        Some(token)
    }

    /// Returns who owns the partition under a lease that lasts.
    pub(super) fn owner(&self, now: Instant) -> Option<&Arc<str>> {
        let holder = self.holder.as_ref()?;
        (now < holder.until).then_some(&holder.owner)
    }

    /// Makes the bearer of a lease the one who may write.
    pub(super) fn hold(&mut self, lease: &PartitionLease) {
        self.holder = Some(Holder {
            token: lease.token(),
            owner: lease.owner().into(),
            until: lease.until(),
        });
    }

    pub(super) fn release(&mut self, handed_over: bool) {
        self.holder = None;
        self.handed_over = handed_over;
    }

    /// Returns whether the partition was handed over, which counts for one claim.
    pub(super) fn take_handed_over(&mut self) -> bool {
        std::mem::take(&mut self.handed_over)
    }

    pub(super) fn check_token(&self, token: FencingToken) -> Result<(), Error> {
        let holder = self.holder.as_ref();
        if holder.is_some_and(|holder| holder.token == token) {
            return Ok(());
        }
        let text = "the partition's lease was released or somebody else has claimed it";
        Err(Error::new(ErrorKind::Fenced, text))
    }

    pub(super) fn accept(&mut self, submission: Submission) -> Result<Accepted, Error> {
        let run = submission.run;
        let vacant = match self.runs.entry(run) {
            Entry::Occupied(known) if known.get().submission.tenant == submission.tenant => {
                return Ok(Accepted::Existed);
            }
            Entry::Occupied(_) => {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "the run id is already in use",
                ));
            }
            Entry::Vacant(vacant) => vacant,
        };
        let submission = Arc::new(submission);
        let hint = self.early.remove(&run);
        let kept = vacant.insert(Box::new(KeptRun::new(Arc::clone(&submission), hint)));
        kept.waiting = 1;
        self.inbox.push(run, Request::Submit(submission));
        Ok(Accepted::New(kept.hint.clone()))
    }

    /// Takes in a run with its records; returns it, to be forgotten some day, if it has settled.
    pub(super) fn import(&mut self, log: &RunLog, max_tasks: u32) -> Result<Imported, Error> {
        let run = log.submission.run;
        let Entry::Vacant(vacant) = self.runs.entry(run) else {
            return Err(Error::new(ErrorKind::Conflict, "the run is known here"));
        };
        let mut settled = false;
        for record in &log.tail {
            check_record(&record.kind, &mut settled, max_tasks)?;
        }
        let submission = Arc::clone(&log.submission);
        let hint = self.early.remove(&run);
        let kept = vacant.insert(Box::new(KeptRun::new(Arc::clone(&submission), hint)));
        for record in &log.tail {
            kept.push(record.clone());
        }
        let hint = kept.hint.clone();
        if kept.is_settled() {
            kept.unclaimed = false;
            let settled = Some(Candidate::new(run, kept));
            return Ok(Imported { hint, settled });
        }
        kept.waiting = 1;
        let request = match log.tail.is_empty() {
            true => Request::Submit(submission),
            false => Request::Import,
        };
        self.inbox.push(run, request);
        let settled = None;
        Ok(Imported { hint, settled })
    }

    pub(super) fn send(&mut self, run: RunId, command: Command) -> Result<(), Error> {
        let kept = self.runs.get_mut(&run).ok_or_else(unknown_run)?;
        kept.waiting += 1;
        self.inbox.push(run, Request::Command(command));
        Ok(())
    }

    pub(super) fn watch(&mut self, run: RunId) -> Watch {
        if let Some(kept) = self.runs.get_mut(&run) {
            return kept.hint.get_or_insert_default().watch();
        }
        if self.early.len() >= self.early_limit {
            self.early.retain(|_, hint| !hint.is_unwatched());
            self.early_limit = (2 * self.early.len()).max(64);
        }
        self.early.entry(run).or_default().watch()
    }

    #[cfg(test)]
    pub(super) fn early_hints(&self) -> usize {
        self.early.len()
    }

    /// Writes a batch, all of it or nothing.
    pub(super) fn append(
        &mut self,
        token: FencingToken,
        batch: &mut Batch,
        max_tasks: u32,
    ) -> Result<Appended, Error> {
        self.check_token(token)?;
        self.check_batch(batch, max_tasks)?;
        let mut appended = Appended::default();
        for seq in batch.consumed() {
            if let Some((run, request)) = self.inbox.take(*seq)
                && let Some(kept) = self.runs.get_mut(&run)
            {
                kept.waiting -= 1;
                kept.unclaimed &= !matches!(request, Request::Submit(_) | Request::Import);
            }
        }
        let mut records = batch.drain_records();
        // The group is found before it is drained: looking ahead in the drain would copy every record once more.
        while let Some(group) = records.as_slice().chunk_by(same_run).next() {
            let (run, count) = (group[0].0, group.len());
            let kept = self
                .runs
                .get_mut(&run)
                .expect("the check has found every run, and the lock was held since");
            let settlements = kept.settlements;
            for (_, record) in records.by_ref().take(count) {
                kept.push(record);
            }
            if kept.settlements != settlements && kept.is_settled() {
                appended.settled.push(Candidate::new(run, kept));
            }
            if kept.is_watched() {
                appended.hints.extend(kept.hint.clone());
            }
        }
        drop(records);
        batch.clear();
        Ok(appended)
    }

    fn check_batch(&mut self, batch: &Batch, max_tasks: u32) -> Result<(), Error> {
        if !batch.consumed().iter().all(|seq| self.inbox.contains(*seq)) {
            let text = "an entry to be consumed is not in the inbox";
            return Err(Error::new(ErrorKind::Conflict, text));
        }
        self.batches += 1;
        let number = self.batches;
        for group in batch.records().chunk_by(same_run) {
            let kept = self.runs.get_mut(&group[0].0).ok_or_else(unknown_run)?;
            if kept.checked.0 != number {
                kept.checked = (number, kept.is_settled());
            }
            let mut settled = kept.checked.1;
            for (_, record) in group {
                check_record(&record.kind, &mut settled, max_tasks)?;
            }
            kept.checked.1 = settled;
        }
        Ok(())
    }
}

fn same_run(one: &(RunId, Record), next: &(RunId, Record)) -> bool {
    one.0 == next.0
}

fn check_record(kind: &RecordKind, settled: &mut bool, max_tasks: u32) -> Result<(), Error> {
    if kind.task().is_some_and(|task| task.get() >= max_tasks) {
        return Err(Error::new(ErrorKind::Invalid, "the run has too many tasks"));
    }
    match kind {
        kind if kind.reopens() => *settled = false,
        _ if *settled => {
            return Err(Error::new(ErrorKind::Conflict, "the run is settled"));
        }
        RecordKind::Settled(_) => *settled = true,
        _ => {}
    }
    Ok(())
}

pub(super) fn unknown_run() -> Error {
    Error::new(ErrorKind::NotFound, "the run is unknown")
}
