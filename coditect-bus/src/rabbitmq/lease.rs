//! The deliveries of one consumer: what waits to be taken, what is held, and what is to be told to the broker.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::core::Core;
use super::error;
use super::wire::{Death, Incoming, Story};
use crate::{
    DeadLetterReason, DeliveryParts, Error, PriorityTurns, QueueName, Settle, Settlement, Settling,
};

/// Bits of a tag that are the broker's; above them is the epoch.
const TAG_BITS: u32 = 44;

/// Bounds for how long a turn is kept for a priority whose next message is probably on its way.
const GRACE: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(20));

/// Is shared by a consumer, its deliveries and the task that talks to the broker.
#[derive(Debug)]
pub(super) struct Leases {
    pub(super) queue: QueueName,
    pub(super) core: Arc<Core>,
    prefetch: usize,
    state: Mutex<State>,
    pub(super) waker: AtomicWaker,
    /// Rings when there is something to tell the broker.
    pub(super) bell: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Counts the channels used so far; a delivery of an earlier one is lost.
    epoch: u64,
    /// Whether there is a channel now.
    up: bool,
    ready: [VecDeque<(u64, Incoming)>; 3],
    turns: PriorityTurns,
    windows: [Window; 3],
    /// Deliveries in the hands of handlers.
    held: usize,
    pending: Vec<Pending>,
    settled: Settled,
    lost: Option<CancellationToken>,
    detached: bool,
    ended: bool,
}

/// What is known about a priority's queue from what has been received of it.
#[derive(Debug, Default)]
struct Window {
    /// Received and not settled.
    open: usize,
    /// Settled while the window was full: for each, the broker may have another message on its way.
    expected: usize,
    since: Option<Instant>,
    /// How long the broker took lately.
    refill: Duration,
}

impl Window {
    fn arrived(&mut self) {
        self.open += 1;
        if self.expected > 0 {
            self.expected -= 1;
            if let Some(since) = self.since {
                self.refill = (self.refill * 3 + since.elapsed()) / 4;
            }
            self.since = (self.expected > 0).then(Instant::now);
        }
    }

    fn settled(&mut self, prefetch: usize) {
        if self.open >= prefetch || self.expected > 0 {
            self.expected += 1;
            self.since = Some(Instant::now());
        }
        self.open = self.open.saturating_sub(1);
    }

    /// Until when something is expected.
    fn expects_until(&self) -> Option<Instant> {
        let since = self.since.filter(|_| self.expected > 0)?;
        Some(since + (self.refill * 4).clamp(GRACE.0, GRACE.1))
    }
}

/// A settlement that the broker has yet to be told.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) tag: u64,
    pub(super) verdict: Verdict,
    pub(super) done: Option<oneshot::Sender<Result<(), Error>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Forget it.
    Ack,
    /// Again, and count it.
    Requeue,
    /// Again: it was never handed out.
    GiveBack,
}

/// Which tags of a channel are settled, so that many can be acknowledged at once, but never one that is not.
#[derive(Debug)]
pub(super) struct Settled {
    /// All tags below are settled.
    low: u64,
    above: BTreeSet<u64>,
}

impl Default for Settled {
    fn default() -> Self {
        Self {
            low: 1,
            above: BTreeSet::new(),
        }
    }
}

impl Settled {
    /// Notes tags as settled. Returns the highest of `acked` up to which every tag of the channel is settled, and how many of
    /// `acked`, which are in order, that covers.
    pub(super) fn advance(
        &mut self,
        settled: impl Iterator<Item = u64>,
        acked: &[u64],
    ) -> (u64, usize) {
        self.above.extend(settled);
        while self.above.remove(&self.low) {
            self.low += 1;
        }
        let covered = acked.partition_point(|tag| *tag < self.low);
        (
            covered.checked_sub(1).map_or(0, |last| acked[last]),
            covered,
        )
    }
}

/// What a look into the buffer gives.
pub(super) enum Look {
    Taken(u64, Box<Incoming>),
    /// The prefetch is used up, or there is nothing.
    Nothing,
    /// Somebody more urgent is expected at any moment.
    Until(Instant),
    Ended,
}

impl Leases {
    pub(super) fn new(queue: QueueName, core: Arc<Core>, prefetch: usize) -> Arc<Self> {
        Arc::new(Self {
            queue,
            core,
            prefetch,
            state: Mutex::default(),
            waker: AtomicWaker::new(),
            bell: Notify::new(),
        })
    }

    pub(super) fn prefetch(&self) -> u16 {
        u16::try_from(self.prefetch).unwrap_or(u16::MAX)
    }

    // The consumer's side.

    /// Takes the next message by priority.
    pub(super) fn look(&self) -> Look {
        let mut state = self.state.lock();
        if state.ended {
            return Look::Ended;
        }
        if state.held >= self.prefetch {
            return Look::Nothing;
        }
        let waiting = [0, 1, 2].map(|index: usize| !state.ready[index].is_empty());
        if waiting == [false; 3] {
            return Look::Nothing;
        }
        let now = Instant::now();
        let expected = [0, 1, 2]
            .map(|index: usize| state.windows[index].expects_until().filter(|at| *at > now));
        let mut turns = state.turns.clone();
        let likely = [0, 1, 2].map(|index: usize| waiting[index] || expected[index].is_some());
        let Some(priority) = turns.next(likely) else {
            return Look::Nothing;
        };
        let index = priority.index();
        let Some((tag, incoming)) = state.ready[index].pop_front() else {
            return expected[index].map_or(Look::Nothing, Look::Until);
        };
        state.turns = turns;
        state.held += 1;
        Look::Taken(tag | (state.epoch << TAG_BITS), Box::new(incoming))
    }

    /// Ends the consumer's interest: what is buffered goes back.
    pub(super) fn detach(&self) {
        self.state.lock().detached = true;
        self.bell.notify_one();
    }

    // The side of the task that talks to the broker.

    /// Begins with a new channel.
    pub(super) fn begin(&self) {
        let mut state = self.state.lock();
        state.up = !state.ended;
        state.settled = Settled::default();
        // At the start something of every priority may be on its way.
        let now = Instant::now();
        state.windows = std::array::from_fn(|_| Window {
            expected: 1,
            since: Some(now),
            refill: GRACE.1 / 4,
            ..Window::default()
        });
    }

    pub(super) fn arrived(&self, messages: impl Iterator<Item = (usize, u64, Incoming)>) {
        let mut state = self.state.lock();
        for (index, tag, incoming) in messages {
            state.windows[index].arrived();
            state.ready[index].push_back((tag, incoming));
        }
        drop(state);
        self.waker.wake();
    }

    /// Takes what is to be told to the broker, with the tags to acknowledge in order and how many of them go at once.
    pub(super) fn take_pending(&self) -> (Vec<Pending>, Vec<u64>, (u64, usize)) {
        let mut state = self.state.lock();
        let pending = std::mem::take(&mut state.pending);
        let mut acked: Vec<u64> = pending
            .iter()
            .filter(|pending| pending.verdict == Verdict::Ack)
            .map(|pending| pending.tag)
            .collect();
        acked.sort_unstable();
        let many = state
            .settled
            .advance(pending.iter().map(|pending| pending.tag), &acked);
        (pending, acked, many)
    }

    /// Gives back what is buffered, if the consumer has gone; says whether nothing is left to wait for.
    pub(super) fn wind_up(&self) -> Option<bool> {
        let mut state = self.state.lock();
        if !state.detached {
            return None;
        }
        let State { ready, pending, .. } = &mut *state;
        for (tag, _) in ready.iter_mut().flat_map(|queue| queue.drain(..)) {
            pending.push(Pending {
                tag,
                verdict: Verdict::GiveBack,
                done: None,
            });
        }
        Some(state.held == 0 && state.pending.is_empty())
    }

    /// Takes all deliveries away from their holders: the channel is gone.
    pub(super) fn revoke(&self) {
        let mut state = self.state.lock();
        self.revoke_locked(&mut state);
        drop(state);
        self.waker.wake();
    }

    /// Ends the consumer for good.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        self.revoke_locked(&mut state);
        drop(state);
        self.waker.wake();
        self.bell.notify_one();
    }

    fn revoke_locked(&self, state: &mut State) {
        state.epoch += 1;
        state.up = false;
        state.held = 0;
        state.ready = Default::default();
        for pending in state.pending.drain(..) {
            if let Some(done) = pending.done {
                let _ = done.send(Err(error::lease_lost(&self.queue)));
            }
        }
        if let Some(token) = state.lost.take() {
            token.cancel();
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state.lock().ended
    }

    pub(super) fn is_detached(&self) -> bool {
        self.state.lock().detached
    }

    /// Says whether a channel carries the subscription at this moment.
    pub(super) fn is_up(&self) -> bool {
        self.state.lock().up
    }

    /// Counts what was delivered and not settled.
    pub(super) fn held(&self) -> usize {
        self.state.lock().held
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn epoch(&self) -> u64 {
        self.state.lock().epoch
    }

    // Settling.

    /// Queues a verdict; `None` if the delivery is lost.
    fn push(
        &self,
        tag: u64,
        index: usize,
        verdict: Verdict,
        wants_result: bool,
    ) -> Option<Settling> {
        let mut state = self.state.lock();
        if state.epoch != tag >> TAG_BITS {
            return None;
        }
        let (done, result) = if wants_result {
            let (done, result) = oneshot::channel();
            (Some(done), Some(result))
        } else {
            (None, None)
        };
        state.pending.push(Pending {
            tag: tag & ((1 << TAG_BITS) - 1),
            verdict,
            done,
        });
        let was_full = self.release(&mut state, index);
        drop(state);
        self.bell.notify_one();
        if was_full {
            self.waker.wake();
        }
        let queue = self.queue.clone();
        Some(match result {
            None => Settling::known(Ok(())),
            Some(result) => Settling::pending(async move {
                result
                    .await
                    .unwrap_or_else(|_| Err(error::lease_lost(&queue)))
            }),
        })
    }

    fn release(&self, state: &mut State, index: usize) -> bool {
        let was_full = state.held >= self.prefetch;
        state.held = state.held.saturating_sub(1);
        state.windows[index].settled(self.prefetch);
        was_full
    }

    fn lose(&self, parts: &DeliveryParts) -> Settling {
        if let Some(observer) = &self.core.observer {
            observer.lease_lost(&self.queue, &parts.envelope);
        }
        Settling::known(Err(error::lease_lost(&self.queue)))
    }

    /// Publishes what is left of a delivery, elsewhere or again, and only then acknowledges it; if that fails it goes back.
    pub(super) fn replace(
        self: &Arc<Self>,
        parts: DeliveryParts,
        replacement: Replacement,
    ) -> Settling {
        let (done, result) = oneshot::channel();
        let leases = Arc::clone(self);
        self.core.spawn(async move {
            let index = parts.envelope.priority().index();
            let published = leases.core.put(&leases.queue, &parts, &replacement).await;
            let verdict = if published.is_ok() {
                Verdict::Ack
            } else {
                Verdict::Requeue
            };
            let outcome = match leases.push(parts.tag, index, verdict, true) {
                None => Err(error::lease_lost(&leases.queue)),
                Some(settling) => match settling.await {
                    Ok(()) => {
                        if published.is_ok() {
                            leases
                                .core
                                .tell_replaced(&leases.queue, &parts, &replacement);
                        }
                        published
                    }
                    Err(lost) => Err(lost),
                },
            };
            let _ = done.send(outcome);
        });
        let queue = self.queue.clone();
        Settling::pending(async move {
            result
                .await
                .unwrap_or_else(|_| Err(error::lease_lost(&queue)))
        })
    }
}

/// What takes the place of a delivery.
#[derive(Debug)]
pub(super) enum Replacement {
    /// The same message, in its queue, after a delay.
    Again(Duration),
    Dead(Death),
}

/// Settles the deliveries of a consumer. It is a handle, so that a settlement can outlive the call.
#[derive(Debug)]
pub(super) struct Holder(pub(super) Arc<Leases>);

impl Settle for Holder {
    fn queue(&self) -> &QueueName {
        &self.0.queue
    }

    fn settle(&self, parts: DeliveryParts, settlement: Settlement) -> Settling {
        let leases = &self.0;
        if self.is_lost(parts.tag) {
            return leases.lose(&parts);
        }
        let index = parts.envelope.priority().index();
        let deliveries = parts.redeliveries.saturating_add(1);
        let now = SystemTime::now();
        let dead = |reason| {
            Replacement::Dead(Death {
                reason,
                deliveries,
                at: now,
            })
        };
        let delay = match settlement {
            Settlement::Ack => {
                let Some(settling) = leases.push(parts.tag, index, Verdict::Ack, true) else {
                    return leases.lose(&parts);
                };
                if let Some(observer) = &leases.core.observer {
                    observer.acked(&leases.queue, &parts.envelope);
                }
                return settling;
            }
            Settlement::Reject(reason) => {
                return leases.replace(parts, dead(DeadLetterReason::Rejected(reason)));
            }
            Settlement::Nack(delay) => delay,
            Settlement::Dropped => Duration::ZERO,
        };
        if parts.envelope.expires_at().is_some_and(|at| at <= now) {
            return leases.replace(parts, dead(DeadLetterReason::Expired));
        }
        let limit = leases.core.max_deliveries(&leases.queue);
        if limit.is_some_and(|limit| deliveries >= limit) {
            return leases.replace(parts, dead(DeadLetterReason::DeliveryLimit));
        }
        if !delay.is_zero() || !leases.core.topology.counts_deliveries(&leases.queue) {
            return leases.replace(parts, Replacement::Again(delay));
        }
        let Some(settling) = leases.push(parts.tag, index, Verdict::Requeue, true) else {
            return leases.lose(&parts);
        };
        if let Some(observer) = &leases.core.observer {
            observer.requeued(&leases.queue, &parts.envelope, delay);
        }
        settling
    }

    fn is_lost(&self, tag: u64) -> bool {
        self.0.state.lock().epoch != tag >> TAG_BITS
    }

    fn lost(&self, tag: u64) -> CancellationToken {
        let mut state = self.0.state.lock();
        // The epoch changes under this lock only, so the token belongs to the epoch seen here.
        if state.epoch != tag >> TAG_BITS {
            let token = CancellationToken::new();
            token.cancel();
            return token;
        }
        state.lost.get_or_insert_default().clone()
    }
}

/// What is kept of a delivery beside its envelope, for when it is published again.
pub(super) fn story_of(parts: &DeliveryParts, redeliveries: u32) -> Story {
    Story {
        redeliveries,
        destination: parts.destination.clone(),
        first_failed_at: Some(parts.first_failed_at.unwrap_or_else(SystemTime::now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_acknowledged_at_once_only_if_all_before_are_settled() {
        let mut settled = Settled::default();
        assert_eq!(settled.advance([2, 3].into_iter(), &[2, 3]), (0, 0));
        assert_eq!(settled.advance([1].into_iter(), &[1]), (1, 1));
        assert_eq!(settled.advance([4, 5, 7].into_iter(), &[4, 5, 7]), (5, 2));
        // 6 is not acknowledged but given back.
        assert_eq!(settled.advance([6, 8].into_iter(), &[8]), (8, 1));
        assert_eq!(settled.advance([11, 9].into_iter(), &[9, 11]), (9, 1));
    }
}
