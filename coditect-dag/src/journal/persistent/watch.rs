//! Watches: the store's, handed on as hints.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use coditect_state::{StateStore, Watch as StoreWatch};
use parking_lot::Mutex;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::StoreJournal;
use super::key::entry_of;
use crate::RunId;
use crate::journal::{Error, Hint, Partition, RunState, Watch};

/// The first and the longest wait before a watch that broke off is registered again.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Is which runs this process watches: they are not forgotten meanwhile.
#[derive(Debug, Default)]
pub(super) struct Watched {
    runs: Mutex<HashMap<RunId, Weak<()>>>,
}

impl Watched {
    fn begin(&self, run: RunId) -> Arc<()> {
        let mut runs = self.runs.lock();
        if let Some(watched) = runs.get(&run).and_then(Weak::upgrade) {
            return watched;
        }
        if runs.len() >= runs.capacity().max(64) {
            runs.retain(|_, watched| watched.strong_count() > 0);
        }
        let watched = Arc::new(());
        runs.insert(run, Arc::downgrade(&watched));
        watched
    }

    pub(super) fn contains(&self, run: RunId) -> bool {
        let runs = self.runs.lock();
        runs.get(&run).is_some_and(|it| it.strong_count() > 0)
    }
}

impl StoreJournal {
    pub(super) async fn watch_run(&self, run: RunId) -> Result<Watch, Error> {
        let watched = self.watched.begin(run);
        // Written by the submission and by every append that touches the run.
        let (watch, handle) = follow(Arc::clone(&self.store), self.keys.head(run)).await?;
        Ok(watch.with_guard((watched, handle)))
    }

    pub(super) async fn watch_state(&self, run: RunId, state: RunState) -> Result<Watch, Error> {
        let watched = self.watched.begin(run);
        // Written when a run comes into a state and cleared when it leaves it, by whoever appends.
        let key = entry_of(&self.keys.in_state(state), run);
        let (watch, handle) = follow(Arc::clone(&self.store), key).await?;
        Ok(watch.with_guard((watched, handle)))
    }

    pub(super) async fn watch_arrivals(&self, partition: Partition) -> Result<Watch, Error> {
        self.check_partition(partition)?;
        let key = self.keys.arrivals(partition);
        let (watch, handle) = follow(Arc::clone(&self.store), key).await?;
        Ok(watch.with_guard(handle))
    }
}

pub(super) async fn follow(
    store: Arc<dyn StateStore>,
    key: Bytes,
) -> Result<(Watch, AbortOnDropHandle<()>), Error> {
    let changes = store.watch(&key).await?;
    let hint = Hint::new();
    let watch = hint.watch();
    // The watch keeps nothing open: who drops it may open the store's file again at once, though the task has not ended.
    let task = tokio::spawn(hand_on(Arc::downgrade(&store), key, changes, hint));
    Ok((watch, AbortOnDropHandle::new(task)))
}

/// Hints at every change; what may have been missed while there was no watch is hinted at as well.
async fn hand_on(store: Weak<dyn StateStore>, key: Bytes, mut changes: StoreWatch, hint: Hint) {
    loop {
        while changes.changed().await.is_ok() {
            hint.notify();
        }
        let mut wait = AGAIN.0;
        changes = loop {
            let Some(store) = store.upgrade() else {
                return;
            };
            match store.watch(&key).await {
                Ok(changes) => break changes,
                Err(error) => tracing::debug!(%error, "a watch cannot be registered again yet"),
            }
            drop(store);
            sleep(wait).await;
            wait = (wait * 2).min(AGAIN.1);
        };
        hint.notify();
    }
}

#[cfg(test)]
mod tests {
    use coditect_state::MemoryStore;

    use super::*;
    use crate::journal::{RunJournal, StoreJournalConfig};

    #[tokio::test]
    async fn a_watch_that_is_dropped_keeps_no_store() {
        let store = Arc::new(MemoryStore::new());
        let weak = Arc::downgrade(&store);
        let journal = StoreJournal::open(store, StoreJournalConfig::default()).await;
        let journal = journal.unwrap();
        let watches = (
            journal.watch(RunId::new()).await.unwrap(),
            journal.watch_inbox(Partition::new(0)).await.unwrap(),
        );
        drop((watches, journal));
        // Nothing was awaited since, so the tasks behind the watches have not ended.
        assert!(weak.upgrade().is_none());
    }
}
