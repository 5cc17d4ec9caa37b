//! Hints that something has changed: never lost, sometimes superfluous.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Cell {
    version: AtomicU64,
    notify: Notify,
}

/// Is the side of a watch on which a backend says that something has changed.
#[derive(Clone, Debug, Default)]
pub struct Hint(Arc<Cell>);

impl Hint {
    /// Makes a hint that nobody watches yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts to watch: changes from now on are seen.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch {
            seen: self.0.version.load(Ordering::Acquire),
            cell: Arc::clone(&self.0),
            guard: None,
        }
    }

    /// Says that something has changed.
    pub fn notify(&self) {
        self.0.version.fetch_add(1, Ordering::AcqRel);
        self.0.notify.notify_waiters();
    }

    /// Returns whether this is the only handle left: no watch lives, and no copy of this hint.
    #[must_use]
    pub fn is_unwatched(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

/// Waits for hints that what is watched has changed.
///
/// Watch first, then read, then wait: no change is missed. A hint may be superfluous, and many changes
/// may share one. While a run's watch lives, retention does not forget the run.
pub struct Watch {
    cell: Arc<Cell>,
    seen: u64,
    guard: Option<Box<dyn Any + Send + Sync>>,
}

impl Watch {
    /// Keeps something alive as long as the watch, such as the task that feeds its hint.
    #[must_use]
    pub fn with_guard(mut self, guard: impl Any + Send + Sync) -> Self {
        self.guard = Some(Box::new(guard));
        self
    }

    /// Waits until something has changed since the watch began or since this last returned.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no hint.
    pub async fn changed(&mut self) {
        loop {
            let notified = self.cell.notify.notified();
            let version = self.cell.version.load(Ordering::Acquire);
            if version != self.seen {
                self.seen = version;
                return;
            }
            notified.await;
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("seen", &self.seen)
            .field("guarded", &self.guard.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;

    #[tokio::test]
    async fn a_change_between_reading_and_waiting_is_seen_once() {
        let hint = Hint::new();
        let mut watch = hint.watch();
        hint.notify();
        hint.notify();
        watch.changed().await;
        let again = tokio::select! {
            biased;
            () = watch.changed() => true,
            () = std::future::ready(()) => false,
        };
        assert!(!again, "both changes share one hint");
    }

    #[tokio::test]
    async fn every_waiting_watch_wakes() {
        let hint = Hint::new();
        let tasks = TaskTracker::new();
        for _ in 0..8 {
            let mut watch = hint.watch();
            tasks.spawn(async move { watch.changed().await });
        }
        tasks.close();
        tokio::task::yield_now().await;
        hint.notify();
        tasks.wait().await;
        assert!(hint.is_unwatched());
    }

    #[test]
    fn a_guard_lives_as_long_as_its_watch() {
        let guard = Arc::new(());
        let watch = Hint::new().watch().with_guard(Arc::clone(&guard));
        assert_eq!(Arc::strong_count(&guard), 2);
        drop(watch);
        assert_eq!(Arc::strong_count(&guard), 1);
    }
}
