//! The slot of a handler, given up while the handler waits for others.

use std::sync::Arc;

use parking_lot::Mutex;

use super::TaskContext;
use crate::worker::{Away, Hosted, Slot};

/// The slot in which a handler runs.
///
/// It is free for others while the handler waits for answers, and taken again for the last of them
/// only: a handler that took it while it waits for another answer would keep it from the agent that is
/// to give that answer, which may be of its own kind.
pub(super) struct HeldSlot {
    hosted: Arc<Hosted>,
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
}

impl HeldSlot {
    pub(super) fn new(slot: Slot) -> Self {
        Self {
            hosted: Arc::clone(slot.hosted()),
            state: Mutex::new(State {
                slot: Some(slot),
                away: None,
                waiting: 0,
                has_waited: false,
                ended: false,
            }),
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
            state.slot.take()
        };
        drop(left);
        Absence(self)
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
pub(super) struct Absence<'a>(&'a HeldSlot);

impl Absence<'_> {
    /// Takes a slot again, unless the handler waits for yet another answer.
    pub(super) async fn come_back(self) {
        let held = self.0;
        drop(self);
        if held.is_wanted() {
            let slot = held.hosted.slot().await;
            held.keep(slot);
        }
    }
}

impl Drop for Absence<'_> {
    fn drop(&mut self) {
        self.0.state.lock().waiting -= 1;
        // Where the question itself was dropped nobody comes back to wait for a slot.
        if self.0.is_wanted()
            && let Some(slot) = self.0.hosted.try_slot()
        {
            self.0.keep(slot);
        }
    }
}
