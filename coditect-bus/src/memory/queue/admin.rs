//! What operators ask of a queue: counts, dead letters, its end.

use super::*;
use crate::{DeadLetterFilter, DeadLetterPage, Page};

impl Queue {
    pub(in crate::memory) fn stats(&self) -> QueueStats {
        self.advance();
        let state = self.state.lock();
        QueueStats {
            ready_by_priority: state.backlog.ready_by_priority(),
            delayed: state.backlog.delayed_len(),
            unacked: self.unacked.load(Ordering::Acquire),
            dead_letters: state.dead.len(),
            consumers: state.consumers,
        }
    }

    pub(in crate::memory) fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        page: Page,
    ) -> DeadLetterPage {
        self.advance();
        self.state.lock().dead.page(filter, page)
    }

    pub(in crate::memory) fn purge(&self, filter: &DeadLetterFilter) -> u64 {
        let purged = self.state.lock().dead.take(filter, usize::MAX);
        purged.len() as u64
    }

    /// Puts dead letters back while there is room.
    pub(in crate::memory) fn redrive(&self, filter: &DeadLetterFilter) -> u64 {
        let mut after = Aftermath::default();
        let mut state = self.state.lock();
        self.advance_locked(&mut state, &mut after);
        let room = self
            .spec
            .capacity()
            .get()
            .saturating_sub(state.backlog.len());
        let letters = state.dead.take(filter, room);
        let count = letters.len() as u64;
        for letter in letters {
            let mut envelope = letter.envelope;
            envelope.clear_expiry();
            let is_direct = matches!(&letter.destination, crate::Destination::Queue(name) if name == self.name());
            state.backlog.push_back(Stored {
                envelope,
                destination: (!is_direct).then_some(letter.destination),
                expires: None,
                redeliveries: 0,
                first_failed_at: None,
            });
            after.wake_one(&mut state);
        }
        drop(state);
        self.conclude(after);
        count
    }

    /// Takes all deliveries away from their holders, as a lost connection does; consumers go on.
    #[cfg(any(test, feature = "test-util"))]
    pub(in crate::memory) fn sever(&self) {
        for leases in self.holders() {
            leases.revoke();
        }
    }

    /// Ends the queue: what waits is dropped, consumers end, deliveries are lost.
    pub(in crate::memory) fn end(&self) {
        let mut state = self.state.lock();
        state.gone = true;
        let holders: Vec<_> = state
            .leases
            .drain(..)
            .filter_map(|leases| leases.upgrade())
            .collect();
        let remains = std::mem::take(&mut *state);
        state.gone = true;
        state.consumers = remains.consumers;
        drop(state);
        drop(remains);
        for leases in holders {
            leases.ended.store(true, Ordering::Release);
            leases.revoke();
        }
        self.room.notify_waiters();
    }

    #[cfg(test)]
    pub(in crate::memory) fn waiting_consumers(&self) -> usize {
        self.state.lock().waiting.len()
    }

    #[cfg(any(test, feature = "test-util"))]
    fn holders(&self) -> Vec<Arc<Leases>> {
        self.state
            .lock()
            .leases
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }
}
