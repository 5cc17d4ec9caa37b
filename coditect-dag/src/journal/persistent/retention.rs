//! Forgetting settled runs, a few with each renewal.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use coditect_state::{Range, Result, StateStoreExt, Transaction, TransactionExt, Tx};

use super::StoreJournal;
use super::head::{self, Head};
use super::inbox::EntryRow;
use super::key::{entry_of, run_of};
use super::owner::CounterRow;
use crate::journal::{Error, PARENT_LABEL, PartitionLease, RunState, Seq};
use crate::{RunId, Timestamp};

/// How many runs one sweep forgets at most, so that a renewal is not long.
const RUNS: usize = 16;

/// How many keys of a run's content one transaction removes at most.
const KEYS: usize = 1_000;

/// After how long content without a submission is taken for left behind.
const LEFT_BEHIND: std::time::Duration = std::time::Duration::from_secs(60 * 60);

/// Where the next sweep of a partition begins: behind runs that were to be spared.
#[derive(Debug, Default)]
pub(super) struct Swept {
    after: Option<Bytes>,
    /// How many runs were spared up to there.
    spared: u64,
}

impl StoreJournal {
    /// Forgets some of the runs that need not be kept any more.
    pub(super) async fn sweep(&self, lease: &PartitionLease) -> std::result::Result<(), Error> {
        let partition = lease.partition();
        for run in self.due(lease).await? {
            let forget = |mut tx: Tx| async move { self.forget(&mut *tx, lease, run).await };
            self.store.transact(forget).await?;
        }
        let now = Timestamp::from(self.store.now().await?);
        let doomed = |mut tx: Tx| async move {
            let range = self.keys.all_doomed(partition).with_limit(RUNS);
            Ok(tx.range(range.snapshot()).await?.entries)
        };
        for entry in self.store.transact(doomed).await? {
            let since: Timestamp = head::decode(&entry.value)?;
            let old = now.saturating_since(since) >= LEFT_BEHIND || since == Timestamp::EPOCH;
            if let Some(run) = run_of(&entry.key).filter(|_| old) {
                self.remove_content(lease, run).await?;
            }
        }
        Ok(())
    }

    /// Returns some runs that are too many or too old and need not be spared, the oldest first.
    async fn due(&self, lease: &PartitionLease) -> std::result::Result<Vec<RunId>, Error> {
        let partition = lease.partition();
        let begun = self.swept.lock().remove(&partition).unwrap_or_default();
        let begun = &begun;
        let due = |mut tx: Tx| async move {
            self.check_owner(&mut *tx, lease).await?;
            let now = Timestamp::from(self.store.now().await?);
            let CounterRow { settled, .. } = self.counter(&mut *tx, partition).await?;
            let excess = settled.saturating_sub(self.config.max_settled_each());
            let mut range = self.keys.all_settled(partition);
            if let Some(after) = &begun.after {
                range = range.after(after);
            }
            // Some more than are forgotten, since some may have to be spared.
            let page = tx.range(range.with_limit(4 * RUNS).snapshot()).await?;
            let waiting = self.waiting(&mut *tx, lease).await?;
            let (mut runs, mut open) = (Vec::new(), HashMap::new());
            let mut spared = begun.spared;
            for (place, entry) in (begun.spared..).zip(&page.entries) {
                let since = self.keys.settled_at(&entry.key).map(Timestamp::from_millis);
                let age = now.saturating_since(since.unwrap_or(now));
                if place >= excess && age < self.config.max_age {
                    return Ok((runs, Swept::default()));
                }
                let Some(run) = run_of(&entry.key) else {
                    continue;
                };
                let is_spared = waiting.contains(&run) || self.watched.contains(run);
                if is_spared || self.has_open_parent(&mut *tx, run, &mut open).await? {
                    spared += 1;
                } else {
                    runs.push(run);
                }
                if runs.len() == RUNS {
                    let after = Some(entry.key.clone());
                    return Ok((runs, Swept { after, spared }));
                }
            }
            let more = page.next.as_ref().and(page.entries.last());
            let next = more.map(|last| Swept {
                after: Some(last.key.clone()),
                spared,
            });
            Ok((runs, next.unwrap_or_default()))
        };
        let (runs, next) = self.store.transact(due).await?;
        self.swept.lock().insert(partition, next);
        Ok(runs)
    }

    /// Says whether a run was begun by one that is open, and may ask for it again. What was found out is kept for the next.
    async fn has_open_parent(
        &self,
        tx: &mut dyn Transaction,
        run: RunId,
        open: &mut HashMap<RunId, bool>,
    ) -> Result<bool> {
        let row = self.submission_row(tx, run).await?;
        let parent = row.and_then(|row| row.labels.get(PARENT_LABEL)?.parse().ok());
        let Some(parent) = parent else {
            return Ok(false);
        };
        if let Some(known) = open.get(&parent) {
            return Ok(*known);
        }
        // One that cannot be read may be.
        let head = tx.get(&self.keys.head(parent)).await?;
        let has_ended = |head| Head::decode(parent, &head).is_ok_and(|(head, _)| head.is_settled());
        let is_open = head.is_some_and(|head| !has_ended(head));
        open.insert(parent, is_open);
        Ok(is_open)
    }

    /// Returns the runs that have entries in the inbox. What arrives before the commit makes it fail.
    async fn waiting(
        &self,
        tx: &mut dyn Transaction,
        lease: &PartitionLease,
    ) -> Result<HashSet<RunId>> {
        let entries = self.keys.entries_after(lease.partition(), Seq::ZERO);
        let entries = tx.range_all(entries).await?;
        let run = |entry: &coditect_state::Entry| Ok(head::decode::<EntryRow>(&entry.value)?.run);
        entries.iter().map(run).collect()
    }

    /// Makes a run unknown; its content, which may be much, is only marked.
    async fn forget(
        &self,
        tx: &mut dyn Transaction,
        lease: &PartitionLease,
        run: RunId,
    ) -> Result<()> {
        self.check_owner(tx, lease).await?;
        let partition = lease.partition();
        let Some(submission) = self.submission_row(tx, run).await? else {
            return Ok(());
        };
        let Some(summary) = self.summary(tx, run).await? else {
            return Ok(());
        };
        let waiting = self.waiting(tx, lease).await?.contains(&run);
        let Some(settled_at) = summary.settled_at.filter(|_| !waiting) else {
            return Ok(());
        };
        let mut counter = self.counter(tx, partition).await?;
        counter.settled = counter.settled.saturating_sub(1);
        tx.set_json(&self.keys.counter(partition), &counter)?;
        tx.clear(&self.keys.submission(run))?;
        tx.clear(&self.keys.head(run))?;
        tx.clear(&self.keys.snapshot(run))?;
        tx.clear(&self.keys.trimmed(run))?;
        tx.clear(&self.keys.settled(partition, settled_at.as_millis(), run))?;
        for state in [RunState::Succeeded, RunState::Failed, RunState::Cancelled] {
            tx.clear(&entry_of(&self.keys.in_state(state), run))?;
        }
        let tenant = &*submission.tenant;
        tx.clear(&entry_of(&self.keys.of_tenant(tenant), run))?;
        for (name, value) in &submission.labels {
            tx.clear(&entry_of(&self.keys.with_label(name, value), run))?;
        }
        if let Some(key) = &submission.idempotency_key {
            tx.clear(&self.keys.idempotency(tenant, key))?;
        }
        tx.set_json(&self.keys.doomed(partition, run), &Timestamp::EPOCH)
    }

    /// Removes what is left of a run that is unknown, in steps.
    async fn remove_content(
        &self,
        lease: &PartitionLease,
        run: RunId,
    ) -> std::result::Result<(), Error> {
        let mark = &self.keys.doomed(lease.partition(), run);
        let belongings = self.config.belongings.iter();
        let belongings = belongings.map(|space| Range::prefix(&space.pack(&(run.as_uuid(),))));
        for range in self.keys.contents(run).into_iter().chain(belongings) {
            let mut next = Some(range);
            while let Some(range) = next.take() {
                let range = &range;
                let remove = |mut tx: Tx| async move {
                    self.check_owner(&mut *tx, lease).await?;
                    // A submission in the meantime takes the mark away.
                    if tx.get(mark).await?.is_none() {
                        return Ok(None);
                    }
                    let some = range.clone().with_limit(KEYS).snapshot();
                    let page = tx.range(some).await?;
                    let end = page.next.as_ref().map_or(range.end(), Range::begin);
                    tx.clear_range(range.begin(), end)?;
                    Ok(page.next)
                };
                next = self.store.transact(remove).await?;
            }
        }
        let known = &self.keys.submission(run);
        let unmark = |mut tx: Tx| async move {
            self.check_owner(&mut *tx, lease).await?;
            if tx.get(known).await?.is_none() {
                tx.clear(mark)?;
            }
            Ok(())
        };
        Ok(self.store.transact(unmark).await?)
    }
}
