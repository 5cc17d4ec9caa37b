//! The deliveries of one consumer: what waits to be taken, what is held, and what is to be told to the broker.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::task::AtomicWaker;
use lapin::Channel;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

mod settle;
mod window;

pub(super) use settle::{Holder, Replacement, story_of};

use window::{Settled, Window};

use super::core::Core;
use super::error;
use super::wire::Incoming;
use crate::{Error, PriorityTurns, QueueName};

/// Bits of a tag that are the broker's; above them is the epoch.
const TAG_BITS: u32 = 44;

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
    /// The channel that carries the subscription now.
    channel: Option<Arc<Channel>>,
    ready: [VecDeque<Ready>; 3],
    turns: PriorityTurns,
    windows: [Window; 3],
    /// Deliveries in the hands of handlers.
    held: usize,
    pending: Vec<Pending>,
    settled: Settled,
    lost: Option<CancellationToken>,
    /// How often the queue of a subscriber without a group had to be made again.
    gaps: u64,
    detached: bool,
    ended: bool,
}

/// A message that has come and that nobody has taken yet.
#[derive(Debug)]
struct Ready {
    tag: u64,
    since: Instant,
    incoming: Incoming,
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

/// What a look into the buffer gives.
pub(super) enum Look {
    Taken(u64, Box<Incoming>),
    /// The prefetch is used up, or there is nothing.
    Nothing,
    /// Somebody more urgent is expected at any moment.
    Until(Instant),
    Ended,
}

impl State {
    /// Counts a message as being in somebody's hands, and returns it with the tag it is known by there.
    fn hold(&mut self, ready: Ready) -> (u64, Incoming) {
        self.held += 1;
        (ready.tag | (self.epoch << TAG_BITS), ready.incoming)
    }
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
        let Some(ready) = state.ready[index].pop_front() else {
            return expected[index].map_or(Look::Nothing, Look::Until);
        };
        state.turns = turns;
        let (tag, incoming) = state.hold(ready);
        Look::Taken(tag, Box::new(incoming))
    }

    /// Ends the consumer's interest: what is buffered goes back.
    pub(super) fn detach(&self) {
        self.state.lock().detached = true;
        self.bell.notify_one();
    }

    // The side of the task that talks to the broker.

    /// Begins with a new channel.
    pub(super) fn begin(&self, channel: &Channel) {
        let mut state = self.state.lock();
        state.channel = (!state.ended).then(|| Arc::new(channel.clone()));
        state.settled = Settled::default();
        state.windows = std::array::from_fn(|_| Window::at_the_start());
    }

    pub(super) fn arrived(&self, messages: impl Iterator<Item = (usize, u64, Incoming)>) {
        let since = Instant::now();
        let mut state = self.state.lock();
        for (index, tag, incoming) in messages {
            state.windows[index].arrived();
            state.ready[index].push_back(Ready {
                tag,
                since,
                incoming,
            });
        }
        drop(state);
        self.waker.wake();
    }

    /// Takes out what has waited since before `limit` for somebody to take it.
    pub(super) fn take_stale(&self, limit: Instant) -> Vec<(u64, Incoming)> {
        let mut state = self.state.lock();
        let mut stale = Vec::new();
        for index in 0..state.ready.len() {
            // What cannot be delivered becomes a dead letter when it is taken.
            let is_stale = |ready: &Ready| ready.since < limit && ready.incoming.fault.is_none();
            while state.ready[index].front().is_some_and(is_stale)
                && let Some(ready) = state.ready[index].pop_front()
            {
                stale.push(state.hold(ready));
            }
        }
        stale
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
        for Ready { tag, .. } in ready.iter_mut().flat_map(|queue| queue.drain(..)) {
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
        state.channel = None;
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
        self.state.lock().channel.is_some()
    }

    /// Notes that messages may have been missed.
    pub(super) fn missed(&self) {
        self.state.lock().gaps += 1;
    }

    pub(super) fn gaps(&self) -> u64 {
        self.state.lock().gaps
    }

    /// Counts what was delivered and not settled.
    pub(super) fn held(&self) -> usize {
        self.state.lock().held
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn has_all_at_hand(&self) -> bool {
        let state = self.state.lock();
        state.ready.iter().all(|ready| !ready.is_empty())
    }

    #[cfg(any(test, feature = "test-util"))]
    pub(super) fn epoch(&self) -> u64 {
        self.state.lock().epoch
    }
}
