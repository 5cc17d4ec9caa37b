//! One queue: its backlog, its waiting consumers, its dead letters, under one lock that is never held across a call out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::backlog::{Backlog, Stored};
use super::dead::{self, DeadLetters};
use super::lease::Leases;
use super::timer::Timer;
use crate::{
    DeadLetter, DeadLetterReason, DeliveryParts, Envelope, Observer, OverflowPolicy, QueueLifetime,
    QueueName, QueueSpec, QueueStats,
};

mod admin;
mod offer;
mod take;

pub(super) use offer::Refusal;

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) spec: QueueSpec,
    max_dead_letters: usize,
    observer: Option<Arc<dyn Observer>>,
    timer: Arc<Timer>,
    this: Weak<Queue>,
    state: Mutex<State>,
    unacked: AtomicUsize,
    /// Publishers that wait for room are woken through this.
    room: Notify,
    seekers_of_room: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    backlog: Backlog,
    dead: DeadLetters,
    /// Consumers that wait for a message, the longest first. An entry whose `waiting` is false is skipped.
    waiting: VecDeque<Arc<Leases>>,
    /// All consumers that may still hold deliveries, for revoking them.
    leases: Vec<Weak<Leases>>,
    consumers: usize,
    /// When the timer will call.
    alarm: Option<Instant>,
    gone: bool,
}

/// What is to be told once the lock is released.
#[derive(Debug, Default)]
struct Aftermath {
    dead: Vec<(Envelope, DeadLetterReason)>,
    discarded: Vec<DeadLetter>,
    requeued: Option<(Envelope, Duration)>,
    /// Nearly always there is at most one to wake, which then costs no allocation.
    wake_first: Option<Arc<Leases>>,
    wake_more: Vec<Arc<Leases>>,
    /// How many messages left the backlog.
    freed: usize,
}

impl Aftermath {
    fn wake(&mut self, leases: Arc<Leases>) {
        match self.wake_first {
            None => self.wake_first = Some(leases),
            Some(_) => self.wake_more.push(leases),
        }
    }

    /// Sees to it that the consumer that has waited longest is woken; `false` if none waits.
    fn wake_one(&mut self, state: &mut State) -> bool {
        state
            .next_waiting()
            .map(|leases| self.wake(leases))
            .is_some()
    }
}

impl Queue {
    pub(super) fn new(
        spec: QueueSpec,
        max_dead_letters: usize,
        observer: Option<Arc<dyn Observer>>,
        timer: Arc<Timer>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            spec,
            max_dead_letters,
            observer,
            timer,
            this: this.clone(),
            state: Mutex::default(),
            unacked: AtomicUsize::new(0),
            room: Notify::new(),
            seekers_of_room: AtomicUsize::new(0),
        })
    }

    pub(super) fn name(&self) -> &QueueName {
        self.spec.name()
    }

    pub(super) fn is_temporary(&self) -> bool {
        self.spec.lifetime() == QueueLifetime::Temporary
    }

    /// Lets time pass, when the timer calls.
    pub(super) fn ring(&self) {
        self.state.lock().alarm = None;
        self.advance();
    }

    /// Lets time pass: due messages become ready, expired ones dead letters.
    fn advance(&self) {
        let mut after = Aftermath::default();
        let mut state = self.state.lock();
        self.advance_locked(&mut state, &mut after);
        self.rearm(&mut state);
        drop(state);
        self.conclude(after);
    }

    fn advance_locked(&self, state: &mut State, after: &mut Aftermath) {
        if !state.backlog.is_timed() {
            return;
        }
        let mut expired = Vec::new();
        let promoted = state.backlog.advance(Instant::now(), &mut expired);
        for stored in expired {
            let deliveries = stored.redeliveries;
            self.bury(state, stored, deliveries, DeadLetterReason::Expired, after);
        }
        for _ in 0..promoted {
            if !after.wake_one(state) {
                break;
            }
        }
    }

    /// Asks the timer for a call if there is something to do earlier than it would call anyway.
    fn rearm(&self, state: &mut State) {
        let Some(next) = state.backlog.next_event() else {
            return;
        };
        if state.alarm.is_none_or(|alarm| next < alarm) {
            state.alarm = Some(next);
            self.timer.schedule(next, self.this.clone());
        }
    }

    fn bury(
        &self,
        state: &mut State,
        stored: Stored,
        deliveries: u32,
        reason: DeadLetterReason,
        after: &mut Aftermath,
    ) {
        after.freed += 1;
        after.dead.push((stored.envelope.clone(), reason.clone()));
        let letter = dead::letter(self.name(), stored, deliveries, reason);
        after
            .discarded
            .extend(state.dead.push(letter, self.max_dead_letters));
    }

    fn conclude(&self, after: Aftermath) {
        for leases in after.wake_first.into_iter().chain(after.wake_more) {
            leases.waker.wake();
        }
        if after.freed > 0 && self.seekers_of_room.load(Ordering::Acquire) > 0 {
            for _ in 0..after.freed {
                self.room.notify_one();
            }
        }
        if let (Some(observer), Some((envelope, delay))) = (&self.observer, after.requeued) {
            observer.requeued(self.name(), &envelope, delay);
        }
        for (envelope, reason) in &after.dead {
            tracing::debug!(queue = %self.name(), id = %envelope.id(), reason = reason.name(), "message dead-lettered");
            if let Some(observer) = &self.observer {
                observer.dead_lettered(self.name(), envelope, reason);
            }
        }
        for letter in &after.discarded {
            tracing::warn!(queue = %self.name(), id = %letter.envelope.id(), "dead letters full, oldest discarded");
            if let Some(observer) = &self.observer {
                observer.dead_letter_discarded(self.name(), &letter.envelope);
            }
        }
    }

    // Settling.

    pub(super) fn acked(&self, envelope: &Envelope) {
        self.unacked.fetch_sub(1, Ordering::AcqRel);
        if let Some(observer) = &self.observer {
            observer.acked(self.name(), envelope);
        }
    }

    pub(super) fn lost(&self, envelope: &Envelope) {
        if let Some(observer) = &self.observer {
            observer.lease_lost(self.name(), envelope);
        }
    }

    pub(super) fn reject(&self, parts: DeliveryParts, reason: DeadLetterReason) {
        let mut after = Aftermath::default();
        let mut state = self.state.lock();
        if !state.gone {
            let deliveries = parts.redeliveries + 1;
            self.bury(
                &mut state,
                parts.into_stored(),
                deliveries,
                reason,
                &mut after,
            );
        }
        drop(state);
        self.unacked.fetch_sub(1, Ordering::AcqRel);
        self.conclude(after);
    }

    /// Takes a message back, also when the queue is full.
    pub(super) fn requeue(&self, parts: DeliveryParts, delay: Duration) {
        let mut after = Aftermath::default();
        let mut state = self.state.lock();
        if !state.gone {
            self.requeue_locked(&mut state, parts, delay, &mut after);
        }
        drop(state);
        self.unacked.fetch_sub(1, Ordering::AcqRel);
        self.conclude(after);
    }

    fn requeue_locked(
        &self,
        state: &mut State,
        parts: DeliveryParts,
        delay: Duration,
        after: &mut Aftermath,
    ) {
        let deliveries = parts.redeliveries + 1;
        let mut stored = parts.into_stored();
        if deliveries >= self.spec.max_deliveries().get() {
            return self.bury(
                state,
                stored,
                deliveries,
                DeadLetterReason::DeliveryLimit,
                after,
            );
        }
        stored.redeliveries = deliveries;
        stored.first_failed_at.get_or_insert_with(SystemTime::now);
        if self.observer.is_some() {
            after.requeued = Some((stored.envelope.clone(), delay));
        }
        match later(delay) {
            Some(due) => state.backlog.push_delayed(stored, due),
            None => {
                state.backlog.push_front(stored);
                after.wake_one(state);
            }
        }
        self.rearm(state);
    }
}

impl State {
    /// Takes the consumer that has waited longest off the list, to be woken.
    fn next_waiting(&mut self) -> Option<Arc<Leases>> {
        while let Some(leases) = self.waiting.pop_front() {
            leases.listed.store(false, Ordering::Relaxed);
            if leases.waiting.swap(false, Ordering::Relaxed) {
                return Some(leases);
            }
        }
        None
    }
}

impl DeliveryParts {
    fn into_stored(self) -> Stored {
        Stored {
            envelope: self.envelope,
            destination: self.destination,
            expires: self.expires,
            redeliveries: self.redeliveries,
            first_failed_at: self.first_failed_at,
        }
    }
}

/// Returns when a delay is over; `None` for at once. A delay beyond the clock's range is as good as a year.
fn later(delay: Duration) -> Option<Instant> {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    (!delay.is_zero()).then(|| Instant::now() + delay.min(YEAR))
}
