//! Quarantines in the state store: they outlive their process, and processes share them.

use std::sync::Arc;
use std::time::Duration;

use coditect_state::key::Subspace;
use coditect_state::{StateStore, StateStoreExt, TransactionExt};
use rustc_hash::FxHashSet;
use tokio::time::Instant;

use super::{Board, Entry, Pattern, Quarantined, Quarantines};

/// How often the store is asked what others have found, and what could not be written is written again.
const PERIOD: Duration = Duration::from_secs(5);

fn subspace() -> Subspace {
    Subspace::new(&("quarantine",))
}

fn key(pattern: &Pattern) -> bytes::Bytes {
    subspace().pack(&(pattern.to_string().as_str(),))
}

/// Reads what is held, as the store has it.
async fn read(store: &dyn StateStore) -> Result<Vec<Quarantined>, coditect_state::Error> {
    let mut tx = store.begin().await?;
    let all = tx.range_all(subspace().range().snapshot()).await?;
    // What a later release wrote is not for this one.
    let read = all
        .iter()
        .filter_map(|entry| serde_json::from_slice(&entry.value).ok());
    Ok(read.collect())
}

/// Says to all who share the store that a quarantine has ended; tells whether the store had it.
async fn clear(
    store: &Arc<dyn StateStore>,
    pattern: &Pattern,
) -> Result<bool, coditect_state::Error> {
    let key = &key(pattern);
    let cleared = store.transact(|mut tx| async move {
        let was_there = tx.get(key).await?.is_some();
        tx.clear(key)?;
        Ok(was_there)
    });
    cleared.await
}

impl Quarantined {
    pub(crate) async fn read(store: &dyn StateStore) -> Result<Vec<Self>, coditect_state::Error> {
        read(store).await
    }

    pub(crate) async fn clear(
        &self,
        store: &Arc<dyn StateStore>,
    ) -> Result<bool, coditect_state::Error> {
        clear(store, &self.pattern()).await
    }
}

impl Quarantines {
    /// Writes down what changes here, and takes in what others find, until it is dropped.
    pub(crate) async fn follow(&self, store: Arc<dyn StateStore>) {
        if self.policies.is_empty() {
            return std::future::pending().await;
        }
        loop {
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep(PERIOD) => {}
            }
            self.sync(&store).await;
        }
    }

    /// Takes over what the store has, where anything is to be held at all.
    pub(crate) async fn load(&self, store: &Arc<dyn StateStore>) {
        if !self.policies.is_empty() {
            self.sync(store).await;
        }
    }

    /// Brings the store and this process together. What fails is tried again with the next.
    async fn sync(&self, store: &Arc<dyn StateStore>) {
        if let Err(error) = self.try_sync(store).await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(error, "quarantines could not be shared; trying again");
        }
    }

    async fn try_sync(&self, store: &Arc<dyn StateStore>) -> Result<(), coditect_state::Error> {
        self.write_down(store).await?;
        let kept = read(&**store).await?;
        self.take_over(kept);
        Ok(())
    }

    /// Has the store know what this process knows.
    pub(crate) async fn write_down(
        &self,
        store: &Arc<dyn StateStore>,
    ) -> Result<(), coditect_state::Error> {
        let (ended, held) = self.take_changes();
        for pattern in &ended {
            let cleared = clear(store, pattern).await;
            if let Err(error) = cleared {
                let mut board = self.board.lock();
                board.ended.extend(ended);
                return Err(error);
            }
        }
        for (one, was_kept) in &held {
            let (key, was_kept) = (&key(&one.pattern()), *was_kept);
            let written = store.transact(|mut tx| async move {
                // What is not there any more was ended elsewhere, and is not begun again by what has failed meanwhile.
                if was_kept && tx.get(key).await?.is_none() {
                    return Ok(());
                }
                tx.set_json(key, one)
            });
            written.await?;
            self.board.lock().mark_kept(one);
        }
        Ok(())
    }

    /// What has ended, and what the store does not have as it is, with whether it has had it.
    fn take_changes(&self) -> (Vec<Pattern>, Vec<(Quarantined, bool)>) {
        let mut board = self.board.lock();
        let ended = std::mem::take(&mut board.ended);
        let news = board.patterns.iter().filter(|(_, entry)| !entry.is_kept);
        let news = news.filter_map(|(pattern, entry)| {
            let described = self.describe(pattern, entry)?;
            Some((described, entry.was_kept))
        });
        (ended, news.collect())
    }

    fn describe(&self, pattern: &Pattern, entry: &Entry) -> Option<Quarantined> {
        let left = entry.left(Instant::now());
        Some(Quarantined {
            agent: pattern.agent.clone(),
            capability: pattern.capability.clone(),
            version: pattern.version.clone(),
            kind: *entry.machine.held()?,
            failures: entry.failures,
            since: entry.since,
            probe_at: left.map(|left| self.clock.now().saturating_add(left)),
            example: entry.example.clone(),
        })
    }

    /// Holds what others hold, and nothing that they have ended.
    fn take_over(&self, kept: Vec<Quarantined>) {
        let (now, clock) = (Instant::now(), self.clock.now());
        let patterns: FxHashSet<_> = kept.iter().map(Quarantined::pattern).collect();
        let mut board = self.board.lock();
        let before = board.patterns.len();
        // One that this process has not written yet cannot be there.
        board.patterns.retain(|pattern, entry| {
            !entry.is_held() || !entry.is_kept || patterns.contains(pattern)
        });
        let mut changed = board.patterns.len() != before;
        for one in kept {
            let pattern = one.pattern();
            let Some(policy) = self.policies.of(&pattern.capability) else {
                continue;
            };
            let known = board.patterns.get(&pattern).is_some_and(Entry::is_held);
            if known || board.ended.contains(&pattern) {
                continue;
            }
            let left = one.probe_at.map(|at| at.saturating_since(clock));
            let mut entry = Entry::new(policy, one.example, one.since);
            let left = left.unwrap_or_default();
            entry.machine.adopt(&policy, one.kind, left, now);
            entry.failures = one.failures;
            (entry.is_kept, entry.was_kept) = (true, true);
            board.patterns.insert(pattern, entry);
            changed = true;
        }
        if changed {
            self.note(&board);
        }
    }
}

impl Board {
    fn mark_kept(&mut self, written: &Quarantined) {
        let entry = self.patterns.get_mut(&written.pattern());
        // It may have ended meanwhile, and begun anew.
        if let Some(entry) = entry.filter(|entry| entry.since == written.since) {
            // What has changed meanwhile is written with the next.
            entry.is_kept = entry.failures == written.failures;
            entry.was_kept = true;
        }
    }
}
