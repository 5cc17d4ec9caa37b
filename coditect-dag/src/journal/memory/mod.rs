//! The journal of a single process: fast, and gone with it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use self::key::Keys;
use self::members::Members;
use self::partition::{Accepted, PartitionState};
use self::retention::{Candidate, Retention};
use super::{
    Batch, Error, ErrorKind, Hint, Partition, PartitionLease, RunFilter, RunSummary, Submission,
    Submitted, partition_of,
};
use crate::RunId;

mod config;
mod import;
mod inbox;
mod key;
mod members;
mod partition;
mod port;
mod retention;
mod run;

pub use config::MemoryConfig;

/// Keeps runs in the memory of this process.
///
/// Each partition has one lock, held for a whole batch; a record costs a move into its run's log. Settled
/// runs are forgotten by count, size and age, see [`MemoryConfig`].
///
/// # Examples
///
/// ```
/// use coditect_dag::journal::{MemoryJournal, RunJournal, Submission};
/// use coditect_dag::{RunId, Timestamp};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), coditect_dag::journal::Error> {
/// let journal = MemoryJournal::default();
/// let submission = Submission::new(RunId::new(), "{}", Timestamp::from_millis(1))
///     .with_idempotency_key("nightly-2026-01-31");
/// let first = journal.submit(submission.clone()).await?;
/// let again = journal.submit(submission).await?;
/// assert_eq!(first.run, again.run);
/// assert!(again.existed);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MemoryJournal {
    config: MemoryConfig,
    partitions: Box<[Slot]>,
    /// The runs by tenant and idempotency key. Locked before a partition, never while one is.
    keys: Mutex<Keys>,
    /// Never locked while a partition is.
    retention: Mutex<Retention>,
    members: Members,
}

#[derive(Debug, Default)]
struct Slot {
    state: Mutex<PartitionState>,
    arrivals: Hint,
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new(MemoryConfig::default())
    }
}

impl MemoryJournal {
    /// Makes an empty journal.
    #[must_use]
    pub fn new(config: MemoryConfig) -> Self {
        Self {
            partitions: config
                .partitions
                .partitions()
                .map(|_| Slot::default())
                .collect(),
            keys: Mutex::default(),
            retention: Mutex::new(Retention::new(&config)),
            members: Members::default(),
            config,
        }
    }

    fn slot_of(&self, run: RunId) -> &Slot {
        &self.partitions[partition_of(run, self.config.partitions).index()]
    }

    fn slot(&self, partition: Partition) -> Result<&Slot, Error> {
        self.partitions
            .get(partition.index())
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "the partition does not exist"))
    }

    /// Returns the state of a lease's partition, locked, if the lease may still write.
    fn owned(
        &self,
        lease: &PartitionLease,
    ) -> Result<parking_lot::MutexGuard<'_, PartitionState>, Error> {
        let state = self.slot(lease.partition())?.state.lock();
        state.check_token(lease.token())?;
        Ok(state)
    }

    /// Turns "unknown" into "of another partition", where that is the reason.
    fn explain(&self, lease: &PartitionLease, run: Option<RunId>, error: Error) -> Error {
        let foreign =
            run.is_some_and(|run| partition_of(run, self.config.partitions) != lease.partition());
        if error.kind() == ErrorKind::NotFound && foreign {
            return Error::new(ErrorKind::Invalid, "the run belongs to another partition");
        }
        error
    }

    fn submit_now(&self, submission: Submission) -> Result<Submitted, Error> {
        let slot = self.slot_of(submission.run);
        let run = submission.run;
        let accepted = if let Some(key) = submission.idempotency_key.clone() {
            let tenant = Arc::clone(&submission.tenant);
            let mut keys = self.keys.lock();
            if let Some(known) = keys.run(&tenant, &key)
                && self.knows(known)
            {
                return Ok(Submitted {
                    run: known,
                    existed: true,
                });
            }
            let accepted = slot.state.lock().accept(submission)?;
            if matches!(accepted, Accepted::New(_)) {
                keys.insert(tenant, key, run);
            }
            accepted
        } else {
            slot.state.lock().accept(submission)?
        };
        let Accepted::New(hint) = accepted else {
            return Ok(Submitted { run, existed: true });
        };
        slot.arrivals.notify();
        if let Some(hint) = hint {
            hint.notify();
        }
        Ok(Submitted {
            run,
            existed: false,
        })
    }

    fn knows(&self, run: RunId) -> bool {
        self.slot_of(run).state.lock().runs.contains_key(&run)
    }

    fn append_now(&self, lease: &PartitionLease, batch: &mut Batch) -> Result<(), Error> {
        let slot = self.slot(lease.partition())?;
        let result = slot
            .state
            .lock()
            .append(lease.token(), batch, self.config.max_tasks);
        let appended = result.map_err(|error| {
            let foreign =
                |run: &RunId| partition_of(*run, self.config.partitions) != lease.partition();
            let run = batch.records().iter().map(|(run, _)| *run).find(foreign);
            self.explain(lease, run, error)
        })?;
        for hint in appended.hints {
            hint.notify();
        }
        if !appended.settled.is_empty() {
            self.retention.lock().extend(appended.settled);
            self.sweep();
        }
        Ok(())
    }

    /// Forgets what retention no longer keeps.
    fn sweep(&self) {
        let due = self.retention.lock().sweep(Instant::now());
        for candidate in due {
            self.forget(candidate);
        }
    }

    fn forget(&self, candidate: Candidate) {
        if self.has_open_parent(candidate.run) {
            return self.retention.lock().hold(candidate);
        }
        let mut state = self.slot_of(candidate.run).state.lock();
        let Some(kept) = state.runs.get(&candidate.run) else {
            return;
        };
        if !kept.is_settled() || kept.settlements != candidate.settlements {
            return;
        }
        if kept.is_watched() || kept.waiting > 0 {
            drop(state);
            self.retention.lock().hold(candidate);
            return;
        }
        let forgotten = state.runs.remove(&candidate.run);
        drop(state);
        let Some(forgotten) = forgotten else { return };
        self.keys.lock().remove(&forgotten.submission);
        self.config.on_forget.tell(candidate.run);
    }

    /// Says whether a run was begun by one that is open, and may ask for it again.
    fn has_open_parent(&self, run: RunId) -> bool {
        let parent = {
            let state = self.slot_of(run).state.lock();
            let kept = state.runs.get(&run);
            kept.and_then(|kept| kept.summary.parent())
        };
        parent.is_some_and(|parent| {
            let state = self.slot_of(parent).state.lock();
            let kept = state.runs.get(&parent);
            kept.is_some_and(|kept| !kept.is_settled())
        })
    }

    fn list_now(&self, filter: &RunFilter) -> Vec<RunSummary> {
        let limit = filter.limit.unwrap_or(usize::MAX);
        let mut found = Vec::new();
        for partition in self.config.partitions.partitions() {
            if filter.partition.is_some_and(|only| only != partition) {
                continue;
            }
            let state = self.partitions[partition.index()].state.lock();
            let mut here: Vec<_> = state
                .runs
                .values()
                .map(|kept| &kept.summary)
                .filter(|run| filter.after.is_none_or(|after| run.run > after))
                .filter(|run| filter.matches(run))
                .collect();
            here.sort_unstable_by_key(|run| run.run);
            found.extend(here.into_iter().take(limit).cloned());
        }
        found.sort_unstable_by_key(|run| run.run);
        found.truncate(limit);
        found
    }
}

#[cfg(test)]
mod tests;
