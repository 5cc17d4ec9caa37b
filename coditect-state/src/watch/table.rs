//! The watches of one store, by key.

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::{Watch, WatchNotifier};

/// How many watches there may be at least before the unused ones are looked for.
const SWEEP: usize = 64;

/// Is who wants to know of which key.
#[derive(Debug, Default)]
pub(crate) struct WatchTable {
    notifiers: FxHashMap<Bytes, WatchNotifier>,
    sweep_at: usize,
}

impl WatchTable {
    pub(crate) fn watch(&mut self, key: &[u8]) -> Watch {
        if let Some(notifier) = self.notifiers.get(key) {
            return notifier.subscribe();
        }
        if self.notifiers.len() >= self.sweep_at.max(SWEEP) {
            self.notifiers.retain(|_, notifier| !notifier.is_unused());
            self.sweep_at = self.notifiers.len() * 2;
        }
        let notifier = WatchNotifier::new();
        let watch = notifier.subscribe();
        self.notifiers.insert(Bytes::copy_from_slice(key), notifier);
        watch
    }

    pub(crate) fn notify(&mut self, key: &[u8]) {
        if let Some(notifier) = self.notifiers.get(key) {
            if notifier.is_unused() {
                self.notifiers.remove(key);
            } else {
                notifier.notify();
            }
        }
    }

    /// Tells the watches of every key that `concerns` selects.
    #[cfg(any(feature = "embedded", feature = "redis"))]
    pub(crate) fn notify_all(&mut self, concerns: impl Fn(&Bytes) -> bool) {
        for (_, notifier) in self.notifiers.iter().filter(|(key, _)| concerns(key)) {
            notifier.notify();
        }
    }

    /// Ends every watch: those who wait are told that the store has gone away.
    #[cfg(feature = "embedded")]
    pub(crate) fn clear(&mut self) {
        self.notifiers.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.notifiers.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.notifiers.len()
    }
}
