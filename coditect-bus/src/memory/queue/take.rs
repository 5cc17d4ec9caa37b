//! The consuming side of a queue: taking messages out, and waiting for them.

use std::sync::atomic::Ordering;
use std::task::Waker;

use super::*;
use crate::Delivery;

impl Queue {
    /// Attaches a consumer; `None` if the queue is gone.
    pub(in crate::memory) fn attach(&self, prefetch: usize) -> Option<Arc<Leases>> {
        let this = self.this.upgrade()?;
        let mut state = self.state.lock();
        if state.gone {
            return None;
        }
        let leases = Arc::new(Leases::new(this, prefetch));
        state.consumers += 1;
        state.leases.retain(|known| known.strong_count() > 0);
        state.leases.push(Arc::downgrade(&leases));
        Some(leases)
    }

    pub(in crate::memory) fn is_gone(&self) -> bool {
        self.state.lock().gone
    }

    /// Detaches a consumer and says whether the queue went with it.
    pub(in crate::memory) fn detach(&self, leases: &Arc<Leases>) -> bool {
        let mut state = self.state.lock();
        // An entry left behind would keep consumer and queue alive by each other.
        state
            .waiting
            .retain(|waiting| !Arc::ptr_eq(waiting, leases));
        state.consumers -= 1;
        let ends = self.is_temporary() && state.consumers == 0 && !state.gone;
        if ends {
            state.gone = true;
            state.backlog = Backlog::default();
        }
        drop(state);
        ends
    }

    /// Takes the next message for a consumer, or, if a waker is given, puts the consumer on the waiting list.
    pub(in crate::memory) fn take(
        &self,
        leases: &Arc<Leases>,
        waker: Option<&Waker>,
    ) -> Option<Delivery> {
        let mut after = Aftermath::default();
        let mut state = self.state.lock();
        if state.gone {
            return None;
        }
        let taken = self.take_locked(&mut state, &mut after);
        let mut tag = 0;
        if taken.is_some() {
            // Under the lock: whoever ends the queue afterwards also ends this lease.
            tag = leases.acquire();
            leases.waiting.store(false, Ordering::Relaxed);
            self.unacked.fetch_add(1, Ordering::AcqRel);
            after.freed += 1;
            if state.backlog.ready_len() > 0 {
                after.wake_one(&mut state);
            }
        } else if let Some(waker) = waker {
            leases.waker.register(waker);
            leases.waiting.store(true, Ordering::Relaxed);
            if !leases.listed.swap(true, Ordering::Relaxed) {
                state.waiting.push_back(Arc::clone(leases));
            }
        }
        drop(state);
        self.conclude(after);
        let stored = taken?;
        if let Some(observer) = &self.observer {
            observer.delivered(self.name(), &stored.envelope, stored.redeliveries);
        }
        let parts = DeliveryParts {
            envelope: stored.envelope,
            tag,
            redeliveries: stored.redeliveries,
            destination: stored.destination,
            first_failed_at: stored.first_failed_at,
            expires: stored.expires,
        };
        Some(Delivery::new(parts, Arc::clone(leases) as _))
    }

    fn take_locked(&self, state: &mut State, after: &mut Aftermath) -> Option<Stored> {
        if !state.backlog.is_timed() {
            return state.backlog.take();
        }
        self.advance_locked(state, after);
        let now = Instant::now();
        while let Some(stored) = state.backlog.take() {
            if !stored.has_expired(now) {
                return Some(stored);
            }
            let deliveries = stored.redeliveries;
            self.bury(state, stored, deliveries, DeadLetterReason::Expired, after);
        }
        None
    }

    /// Gives up a consumer's wait; a message that it was woken for goes to the next one that waits.
    pub(in crate::memory) fn stop_waiting(&self, leases: &Leases) {
        let mut state = self.state.lock();
        let was_woken = !leases.waiting.swap(false, Ordering::Relaxed);
        let next = if was_woken && state.backlog.ready_len() > 0 {
            state.next_waiting()
        } else {
            None
        };
        drop(state);
        if let Some(next) = next {
            next.waker.wake();
        }
    }
}
