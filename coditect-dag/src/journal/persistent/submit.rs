//! Accepting a run: the submission, its indexes and its entry in the inbox, in one transaction.

use coditect_state::{Result, StateStoreExt, Transaction, TransactionExt, Tx};

use super::blob::{self, Belongs};
use super::error::{abort, corrupt};
use super::head::{Head, encode_submission};
use super::inbox::EntryRow;
use super::key::run_of;
use super::{INLINE, StoreJournal};
use crate::Timestamp;
use crate::journal::{Error, ErrorKind, Submission, Submitted};

impl StoreJournal {
    pub(super) async fn accept(
        &self,
        submission: Submission,
    ) -> std::result::Result<Submitted, Error> {
        if submission.spec.len() > INLINE {
            self.keep_spec(&submission).await?;
        }
        let submission = &submission;
        let accept = |mut tx: Tx| async move { self.accept_once(&mut *tx, submission).await };
        Ok(self.store.transact(accept).await?)
    }

    /// Stores a large spec, marked so that it is removed if the submission never follows.
    async fn keep_spec(&self, submission: &Submission) -> std::result::Result<(), Error> {
        let run = submission.run;
        let mark = &self.keys.doomed(self.home(run), run);
        let known = &self.keys.submission(run);
        let begin = |mut tx: Tx| async move {
            if tx.get(known).await?.is_some() {
                return Ok(false);
            }
            tx.set_json(mark, &Timestamp::from(self.store.now().await?))?;
            Ok(true)
        };
        if self.store.transact(begin).await? {
            let spec = [&submission.spec];
            blob::store(&*self.store, &self.keys, run, Belongs::ToNew, &spec).await?;
        }
        Ok(())
    }

    async fn accept_once(
        &self,
        tx: &mut dyn Transaction,
        submission: &Submission,
    ) -> Result<Submitted> {
        let (run, tenant) = (submission.run, &*submission.tenant);
        let key = submission.idempotency_key.as_deref();
        let key = key.map(|key| self.keys.idempotency(tenant, key));
        if let Some(key) = &key
            && let Some(known) = tx.get(key).await?
        {
            let unreadable = || corrupt("an idempotency key names no run", "another length");
            let run = run_of(&known).ok_or_else(unreadable)?;
            let existed = true;
            return Ok(Submitted { run, existed });
        }
        if let Some(known) = self.submission_row(tx, run).await? {
            if *known.tenant != *tenant {
                let text = "the run id is already in use";
                return Err(abort(ErrorKind::Conflict, text));
            }
            let existed = true;
            return Ok(Submitted { run, existed });
        }
        let home = self.home(run);
        let doomed = self.keys.doomed(home, run);
        if submission.spec.len() > INLINE {
            // Read, so that it cannot have been removed meanwhile.
            if tx.get(&doomed).await?.is_none() {
                let text = "the submission took so long that its spec was removed";
                return Err(abort(ErrorKind::Unavailable, text));
            }
            tx.clear(&doomed)?;
        }
        tx.set(&self.keys.submission(run), encode_submission(submission)?)?;
        let head = Head::new(submission);
        tx.set(&self.keys.head(run), head.encode()?)?;
        self.enter(tx, submission, head.summary.state)?;
        self.arrive(tx, home, EntryRow::submission(run))?;
        let existed = false;
        Ok(Submitted { run, existed })
    }
}
