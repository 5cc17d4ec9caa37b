//! The slot of a handler, given up while the handler waits for others.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::TaskContext;
use crate::worker::{Away, Counted, Hosted, Slot};

/// The slot in which a handler runs, and its part in what is limited.
///
/// Both are free for others while the handler waits for answers, and taken again for the last of them
/// only: a handler that took it while it waits for another answer would keep it from the agent that is
/// to give that answer, which may be of its own kind.
pub(super) struct HeldSlot {
    hosted: Arc<Hosted>,
    /// Said of a task of a run.
    counted: Option<Counted>,
    state: Mutex<State>,
}

struct State {
    slot: Option<Slot>,
    /// Tells the agent's consumers that a handler waits without a slot.
    away: Option<Away>,
    /// How many answers the handler waits for.
    waiting: usize,
    /// It has waited for an answer.
    has_waited: bool,
    /// The handler has ended; what it spawned may go on, without a slot.
    ended: bool,
    /// The number under which the owner hears of the handler, once it has waited.
    number: Option<u64>,
    /// What was told of it last.
    step: u64,
}

impl HeldSlot {
    pub(super) fn new(slot: Slot, counted: Option<Counted>) -> Self {
        Self {
            hosted: Arc::clone(slot.hosted()),
            state: Mutex::new(State {
                slot: Some(slot),
                away: None,
                waiting: 0,
                has_waited: false,
                ended: false,
                number: counted.as_ref().and_then(|counted| counted.number),
                step: 0,
            }),
            counted,
        }
    }

    /// Gives the slot up for as long as an answer is awaited.
    pub(super) fn leave(&self) -> Absence<'_> {
        let left = {
            let mut state = self.state.lock();
            state.waiting += 1;
            state.has_waited = true;
            if !state.ended && state.away.is_none() {
                state.away = Some(self.hosted.go_away());
            }
            if let (1, false, Some(counted)) = (state.waiting, state.ended, &self.counted) {
                let number = *state.number.get_or_insert_with(|| counted.number());
                state.step += 1;
                counted.leave(number, state.step);
            }
            state.slot.take()
        };
        drop(left);
        Absence {
            held: self,
            returns: false,
        }
    }

    /// Gives the slot up for good.
    pub(super) fn end(&self) -> Option<Slot> {
        let mut state = self.state.lock();
        state.ended = true;
        state.away = None;
        state.slot.take()
    }

    /// Says whether the handler has waited for an answer.
    pub(super) fn has_waited(&self) -> bool {
        self.state.lock().has_waited
    }

    fn is_wanted(&self) -> bool {
        let state = self.state.lock();
        state.waiting == 0 && state.slot.is_none() && !state.ended
    }

    /// Keeps a slot, unless the handler does not want one any more.
    fn keep(&self, slot: Slot) {
        let unwanted = {
            let mut state = self.state.lock();
            if state.waiting == 0 && state.slot.is_none() && !state.ended {
                state.away = None;
                state.slot.replace(slot)
            } else {
                Some(slot)
            }
        };
        drop(unwanted);
    }

    /// What the owner is told next of a handler that would go on; none if it waits for more, or has ended.
    fn next_step(&self) -> Option<(&Counted, u64, u64)> {
        let counted = self.counted.as_ref()?;
        let mut state = self.state.lock();
        if state.waiting > 0 || state.ended {
            return None;
        }
        let step = state.step + 1;
        // The one after it is for a handler that does not wait for the answer.
        state.step += 2;
        Some((counted, state.number?, step))
    }
}

impl TaskContext {
    /// Says whether the handler has waited for the answer of another agent.
    pub(crate) fn has_waited(&self) -> bool {
        self.inner.slot.has_waited()
    }

    /// Gives the slot up for good; it is free for another task from now on.
    pub(crate) fn release_slot(&self) -> Option<Slot> {
        self.inner.slot.end()
    }
}

/// A handler waits for an answer.
pub(super) struct Absence<'a> {
    held: &'a HeldSlot,
    /// The handler waits until it has all again that it needs to go on.
    returns: bool,
}

impl Absence<'_> {
    /// Takes a slot again, unless the handler waits for yet another answer; before that, its part in what is limited, as
    /// those that have theirs may wait for slots.
    pub(super) async fn come_back(mut self, token: &CancellationToken) {
        self.returns = true;
        let held = self.held;
        drop(self);
        if let Some((counted, number, step)) = held.next_step() {
            counted.may_go_on(number, step, token).await;
        }
        if held.is_wanted() {
            let slot = held.hosted.slot().await;
            held.keep(slot);
        }
    }
}

impl Drop for Absence<'_> {
    fn drop(&mut self) {
        let held = self.held;
        {
            let mut state = held.state.lock();
            state.waiting -= 1;
            if let (0, Some(counted), Some(number)) = (state.waiting, &held.counted, state.number) {
                counted.come_back(number);
            }
        }
        if self.returns {
            return;
        }
        // Where the question itself was dropped nobody comes back to wait for leave, or for a slot.
        if let Some((counted, number, step)) = held.next_step() {
            counted.tell_that_it_works(number, step);
        }
        if held.is_wanted()
            && let Some(slot) = held.hosted.try_slot()
        {
            held.keep(slot);
        }
    }
}
