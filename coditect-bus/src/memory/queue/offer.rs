//! The publishing side of a queue: taking messages in, and what to do when it is full.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::*;
use crate::Destination;

/// Says why a queue did not take a message, and gives it back.
#[derive(Debug)]
pub(in crate::memory) enum Refusal {
    /// There is no room.
    Full(Box<Envelope>),
    /// The queue was deleted meanwhile.
    Gone(Box<Envelope>),
}

impl Refusal {
    pub(in crate::memory) fn into_envelope(self) -> Envelope {
        match self {
            Self::Full(envelope) | Self::Gone(envelope) => *envelope,
        }
    }
}

impl Queue {
    /// Takes a message that was published to this queue by name.
    pub(in crate::memory) async fn offer(&self, envelope: Envelope) -> Result<(), Refusal> {
        match (self.offer_now(envelope), self.spec.overflow()) {
            (Err(Refusal::Full(envelope)), OverflowPolicy::Wait(patience)) => {
                self.offer_later(*envelope, patience).await
            }
            (result, _) => result,
        }
    }

    /// Takes as many of a batch as there is room for, under one lock; the rest stays in `batch`.
    pub(in crate::memory) fn offer_many(
        &self,
        batch: &mut VecDeque<Envelope>,
    ) -> Result<(), Refusal> {
        let mut after = Aftermath::default();
        let mut state = self.state.lock();
        let mut result = Ok(());
        while let Some(envelope) = batch.pop_front() {
            if let Err(refusal) = self.take_in(&mut state, envelope, None, &mut after) {
                result = Err(refusal);
                break;
            }
        }
        drop(state);
        self.conclude(after);
        result
    }

    /// Takes a copy of a message that was published to a topic or fanout; one that finds no room becomes a dead letter. Says
    /// whether the queue was there.
    pub(in crate::memory) fn offer_copy(
        &self,
        envelope: Envelope,
        published_to: &Destination,
    ) -> bool {
        let mut after = Aftermath::default();
        let mut state = self.state.lock();
        let taken = match self.take_in(&mut state, envelope, Some(published_to), &mut after) {
            Ok(()) => true,
            Err(Refusal::Gone(_)) => false,
            Err(Refusal::Full(envelope)) => {
                let stored = self.published(*envelope, Some(published_to));
                self.bury(
                    &mut state,
                    stored,
                    0,
                    DeadLetterReason::Overflow,
                    &mut after,
                );
                true
            }
        };
        drop(state);
        self.conclude(after);
        taken
    }

    fn offer_now(&self, envelope: Envelope) -> Result<(), Refusal> {
        let mut after = Aftermath::default();
        let mut state = self.state.lock();
        let result = self.take_in(&mut state, envelope, None, &mut after);
        drop(state);
        self.conclude(after);
        result
    }

    async fn offer_later(&self, mut envelope: Envelope, patience: Duration) -> Result<(), Refusal> {
        let deadline = later(patience).unwrap_or_else(Instant::now);
        let _seeker = Seeker::new(&self.seekers_of_room);
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            // Listening begins before the look, so that room made between the two is not missed.
            room.as_mut().enable();
            envelope = match self.offer_now(envelope) {
                Err(Refusal::Full(envelope)) => *envelope,
                settled => return settled,
            };
            if timeout_at(deadline, room).await.is_err() {
                return self.offer_now(envelope);
            }
        }
    }

    fn take_in(
        &self,
        state: &mut State,
        envelope: Envelope,
        published_to: Option<&Destination>,
        after: &mut Aftermath,
    ) -> Result<(), Refusal> {
        if state.gone {
            return Err(Refusal::Gone(Box::new(envelope)));
        }
        let capacity = self.spec.capacity().get();
        if state.backlog.len() >= capacity {
            self.advance_locked(state, after);
        }
        if state.backlog.len() >= capacity {
            if self.spec.overflow() != OverflowPolicy::DropOldest {
                return Err(Refusal::Full(Box::new(envelope)));
            }
            // If all that waits is more urgent, or delayed, the newcomer itself is the least urgent.
            let Some(victim) = state.backlog.take_least_urgent(envelope.priority()) else {
                let stored = self.published(envelope, published_to);
                self.bury(state, stored, 0, DeadLetterReason::Overflow, after);
                return Ok(());
            };
            let deliveries = victim.redeliveries;
            self.bury(state, victim, deliveries, DeadLetterReason::Overflow, after);
        }
        let mut envelope = envelope;
        let due = envelope.take_delay().and_then(later);
        let stored = self.published(envelope, published_to);
        let timed = due.is_some() || stored.expires.is_some();
        match due {
            Some(due) => state.backlog.push_delayed(stored, due),
            None => {
                state.backlog.push_back(stored);
                after.wake_one(state);
            }
        }
        if timed {
            self.rearm(state);
        }
        Ok(())
    }

    /// A message as it comes in, its expiry on this process's clock.
    fn published(&self, envelope: Envelope, to: Option<&Destination>) -> Stored {
        let expires = envelope.expires_at().map(|at| {
            let left = self.timer.until(at);
            later(left).unwrap_or_else(Instant::now)
        });
        Stored {
            envelope,
            destination: to.cloned(),
            expires,
            redeliveries: 0,
            first_failed_at: None,
        }
    }
}

/// Counts a publisher that waits for room, as long as it does.
struct Seeker<'a>(&'a AtomicUsize);

impl<'a> Seeker<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Seeker<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
