//! Who wants to know that an agent of this process can take more work.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Who wants to know that a slot is free, and for which of the agent's capabilities.
#[derive(Debug, Default)]
pub(super) struct Hungry {
    any: AtomicBool,
    queue: Mutex<VecDeque<(usize, Arc<Notify>)>>,
}

impl Hungry {
    pub(super) fn add(&self, capability: usize, wake: &Arc<Notify>) {
        let mut queue = self.queue.lock();
        let is_same =
            |known: &(usize, Arc<Notify>)| known.0 == capability && Arc::ptr_eq(&known.1, wake);
        if !queue.iter().any(is_same) {
            queue.push_back((capability, Arc::clone(wake)));
        }
        self.any.store(true, Ordering::SeqCst);
    }

    pub(super) fn remove(&self, wake: &Arc<Notify>) {
        self.queue
            .lock()
            .retain(|(_, known)| !Arc::ptr_eq(known, wake));
    }

    /// Wakes everybody, each of whom looks for itself.
    pub(super) fn feed_all(&self) {
        let waiting = std::mem::take(&mut *self.queue.lock());
        waiting.iter().for_each(|(_, wake)| wake.notify_one());
    }

    /// Wakes the first of those whose capability is given work.
    pub(super) fn feed(&self, is_open: impl Fn(usize) -> bool) {
        if !self.any.load(Ordering::SeqCst) {
            return;
        }
        let mut queue = self.queue.lock();
        let first = queue
            .iter()
            .position(|(capability, _)| is_open(*capability));
        if let Some((_, wake)) = first.and_then(|index| queue.remove(index)) {
            wake.notify_one();
        }
        if queue.is_empty() {
            self.any.store(false, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn who_waits_for_work_that_is_held_back_does_not_take_the_wake_of_others() {
        let hungry = Hungry::default();
        let (held_back, other) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        hungry.add(0, &held_back);
        hungry.add(1, &other);
        hungry.feed(|capability| capability == 1);
        assert!(other.notified().now_or_never().is_some());
        assert!(held_back.notified().now_or_never().is_none());
        hungry.feed(|_| true);
        assert!(held_back.notified().now_or_never().is_some());
    }
}
