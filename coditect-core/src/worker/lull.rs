//! Whether anything waits on the bus for an agent: what its own process has for it must not push in front of that for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::hosted::Hosted;
use super::offer::Offer;

/// Knows whether the consumers of a capability have nothing to take, though there is a slot.
#[derive(Debug, Default)]
pub(super) struct Lull {
    idle: AtomicUsize,
    waiting: Mutex<Vec<Arc<Notify>>>,
}

/// A consumer waits for something to take.
#[derive(Debug)]
pub(super) struct Idle<'a>(&'a Lull);

impl Lull {
    /// Notes that a consumer has nothing to take, until what is returned is dropped.
    pub(super) fn begin(&self) -> Idle<'_> {
        self.idle.fetch_add(1, Ordering::SeqCst);
        let waiting = std::mem::take(&mut *self.waiting.lock());
        waiting.iter().for_each(|wake| wake.notify_one());
        Idle(self)
    }

    /// Says whether there is nothing to take; if there may be something, `wake` is notified once there is not.
    pub(super) fn is_now(&self, wake: &Arc<Notify>) -> bool {
        let is_now = || self.idle.load(Ordering::SeqCst) > 0;
        if is_now() {
            return true;
        }
        {
            let mut waiting = self.waiting.lock();
            if !waiting.iter().any(|known| Arc::ptr_eq(known, wake)) {
                waiting.push(Arc::clone(wake));
            }
        }
        // One that began between the look and the call would notify nobody.
        is_now()
    }

    /// Never notifies `wake` again.
    pub(super) fn forget(&self, wake: &Arc<Notify>) {
        let mut waiting = self.waiting.lock();
        waiting.retain(|known| !Arc::ptr_eq(known, wake));
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        self.0.idle.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Hosted {
    /// Whether anything waits on the bus for a capability.
    pub(super) fn lull(&self, capability: usize) -> &Lull {
        &self.lulls[capability]
    }
}

impl Offer {
    /// Says whether nothing waits for it on the bus; if something may, `wake` is notified once nothing does.
    pub(crate) fn has_lull(&self, wake: &Arc<Notify>) -> bool {
        self.hosted.lull(self.capability).is_now(wake)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn whoever_asks_in_vain_is_told_when_the_first_consumer_has_nothing() {
        let lull = Lull::default();
        let (asked, left) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        assert!(!lull.is_now(&asked) && !lull.is_now(&asked) && !lull.is_now(&left));
        lull.forget(&left);
        let first = lull.begin();
        assert!(asked.notified().now_or_never().is_some());
        assert!(left.notified().now_or_never().is_none());
        let second = lull.begin();
        assert!(asked.notified().now_or_never().is_none(), "it is told once");
        drop(first);
        assert!(lull.is_now(&asked));
        drop(second);
        assert!(!lull.is_now(&asked));
    }
}
