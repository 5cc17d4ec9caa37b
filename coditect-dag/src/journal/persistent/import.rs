//! Taking in a run that another journal kept: its content first, what makes it known last.

use bytes::Bytes;
use coditect_state::{Result, StateStoreExt, Transaction, TransactionExt, Tx};

use super::blob::{self, Belongs};
use super::error::abort;
use super::head::{self, Head, encode_submission};
use super::inbox::EntryRow;
use super::key::entry_of;
use super::line;
use super::touched::Touched;
use super::{INLINE, StoreJournal};
use crate::Timestamp;
use crate::journal::{Error, ErrorKind, Record, RunLog, Submission};

/// From how many bytes of content on, and with how many records, another transaction begins.
const TOGETHER: usize = 512 << 10;
const RECORDS: usize = 2_000;

impl StoreJournal {
    pub(super) async fn import_run(&self, log: RunLog) -> std::result::Result<(), Error> {
        if log.snapshot.is_some() {
            let text = "the beginning of the run's log is missing";
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let submission = &*log.submission;
        if log.tail.is_empty() {
            let submitted = self.accept(submission.clone()).await?;
            let is_known = submitted.existed.then(known);
            return is_known.map_or(Ok(()), |known| Err(Error::from(known)));
        }
        self.begin_import(submission).await?;
        let contents = log.tail.iter().filter_map(|it| line::content(&it.kind));
        let contents: Vec<&Bytes> = contents
            .chain([&submission.spec])
            .filter(|content| content.len() > INLINE)
            .collect();
        let (store, run) = (&*self.store, submission.run);
        blob::store(store, &self.keys, run, Belongs::ToNew, &contents).await?;
        let mut head = Head::new(submission);
        let mut rest = &log.tail[..];
        while !rest.is_empty() {
            let (some, others) = rest.split_at(together(rest));
            head = self.import_records(submission, &head, some).await?;
            rest = others;
        }
        let (submission, head) = (submission, &head);
        let finish =
            |mut tx: Tx| async move { self.finish_import(&mut *tx, submission, head).await };
        Ok(self.store.transact(finish).await?)
    }

    /// Marks the content that is about to be stored, so that it is removed if the rest never follows.
    async fn begin_import(&self, submission: &Submission) -> std::result::Result<(), Error> {
        let run = submission.run;
        let mark = &self.keys.doomed(self.home(run), run);
        let begin = |mut tx: Tx| async move {
            self.check_new(&mut *tx, submission).await?;
            if tx.get_json(mark).await? == Some(Timestamp::EPOCH) {
                let text = "the run was forgotten here and is still being removed";
                return Err(abort(ErrorKind::Unavailable, text));
            }
            tx.set_json(mark, &Timestamp::from(self.store.now().await?))
        };
        Ok(self.store.transact(begin).await?)
    }

    async fn import_records(
        &self,
        submission: &Submission,
        head: &Head,
        records: &[Record],
    ) -> std::result::Result<Head, Error> {
        let write = |mut tx: Tx| async move {
            self.check_marked(&mut *tx, submission).await?;
            let mut touched = Touched::new(submission.run, head.clone());
            for record in records {
                touched.push(&mut *tx, &self.keys, record, INLINE)?;
            }
            touched.write_chunk(&mut *tx, &self.keys)?;
            Ok(touched.head)
        };
        Ok(self.store.transact(write).await?)
    }

    async fn finish_import(
        &self,
        tx: &mut dyn Transaction,
        submission: &Submission,
        head: &Head,
    ) -> Result<()> {
        self.check_new(tx, submission).await?;
        self.check_marked(tx, submission).await?;
        let run = submission.run;
        let (home, mut head) = (self.home(run), head.clone());
        tx.clear(&self.keys.doomed(home, run))?;
        head.claimed = head.is_settled();
        tx.set(&self.keys.submission(run), encode_submission(submission)?)?;
        tx.set(&self.keys.head(run), head.encode()?)?;
        self.enter(tx, submission, head.summary.state)?;
        let Some(at) = head.summary.settled_at else {
            return self.arrive(tx, home, EntryRow::import(run));
        };
        tx.set(&self.keys.settled(home, at.as_millis(), run), Bytes::new())?;
        let mut counter = self.counter(tx, home).await?;
        counter.settled += 1;
        tx.set_json(&self.keys.counter(home), &counter)
    }

    /// Refuses a run that is known here, or whose idempotency key is.
    async fn check_new(&self, tx: &mut dyn Transaction, submission: &Submission) -> Result<()> {
        if tx
            .get(&self.keys.submission(submission.run))
            .await?
            .is_some()
        {
            return Err(known());
        }
        if let Some(key) = &submission.idempotency_key {
            let key = self.keys.idempotency(&submission.tenant, key);
            if tx.get(&key).await?.is_some() {
                let text = "another run has the idempotency key";
                return Err(abort(ErrorKind::Conflict, text));
            }
        }
        Ok(())
    }

    async fn check_marked(&self, tx: &mut dyn Transaction, submission: &Submission) -> Result<()> {
        let run = submission.run;
        let mark = tx.get(&self.keys.doomed(self.home(run), run)).await?;
        let mark = mark
            .map(|mark| head::decode::<Timestamp>(&mark))
            .transpose()?;
        if mark.is_none_or(|since| since == Timestamp::EPOCH) {
            let text = "the import took so long that its beginning was removed";
            return Err(abort(ErrorKind::Unavailable, text));
        }
        Ok(())
    }

    /// Enters a run into what it is found by.
    pub(super) fn enter(
        &self,
        tx: &mut dyn Transaction,
        submission: &Submission,
        state: crate::journal::RunState,
    ) -> Result<()> {
        let (run, tenant) = (submission.run, &*submission.tenant);
        if let Some(key) = &submission.idempotency_key {
            let key = self.keys.idempotency(tenant, key);
            tx.set(&key, Bytes::copy_from_slice(run.as_uuid().as_bytes()))?;
        }
        let state = self.keys.in_state(state);
        tx.set(&entry_of(&state, run), Bytes::new())?;
        tx.set(&entry_of(&self.keys.of_tenant(tenant), run), Bytes::new())?;
        for (name, value) in &submission.labels {
            let label = self.keys.with_label(name, value);
            tx.set(&entry_of(&label, run), Bytes::new())?;
        }
        Ok(())
    }
}

fn known() -> coditect_state::Error {
    abort(ErrorKind::Conflict, "the run is known here")
}

/// Returns how many of some records one transaction takes; at least one.
fn together(records: &[Record]) -> usize {
    let mut bytes = 0;
    let fitting = records.iter().take(RECORDS).take_while(|record| {
        bytes += line::content(&record.kind).map_or(0, |content| content.len().min(INLINE));
        bytes <= TOGETHER
    });
    fitting.count().max(1)
}
