//! Work that came over the bus: stopped by its name, or all at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use coditect_bus::QueueName;
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::wire::{AttemptId, Control};

/// How many stopped attempts are remembered, to be recognised when they are delivered.
const STOPPED: usize = 10_000;
/// How long a stopped attempt is remembered.
const STOPPED_FOR: Duration = Duration::from_secs(3_600);
/// After how long silence of an owner its token no longer keeps others from being heard.
///
/// Whoever was replaced notices by its lease, long before, and one token that nobody reaches fences no
/// owner out for ever.
const FENCED_FOR: Duration = Duration::from_secs(120);
/// How many owners are told apart; of more, those are forgotten that were not heard of for the longest.
const FENCES: usize = 4_096;

/// An attempt as its owner knows it. Another owner, who does not know it, cannot stop it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct AttemptName {
    /// Where its outcome goes.
    pub(super) owner: QueueName,
    pub(super) attempt: AttemptId,
}

/// What came over the bus and runs in this process, and what is not to start here.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    halted: bool,
    serial: u64,
    /// More than one where a message was delivered again and its first copy has not ended yet.
    attempts: FxHashMap<AttemptName, Vec<(u64, CancellationToken)>>,
    requests: FxHashMap<u64, CancellationToken>,
    stopped: Stopped,
    fences: FxHashMap<QueueName, Fence>,
}

/// The newest owner that was heard of, of those who share an outcome queue.
#[derive(Clone, Copy, Debug)]
struct Fence {
    token: u64,
    heard: Instant,
}

impl Running {
    /// Makes an attempt known under what others call it until the guard is dropped; none if it was stopped
    /// before it began.
    pub(super) fn attempt(
        self: &Arc<Self>,
        name: AttemptName,
        token: CancellationToken,
    ) -> Option<Enrolled> {
        let mut state = self.0.lock();
        if state.stopped.contains(&name) {
            return None;
        }
        let serial = state.enter(&token);
        let copies = state.attempts.entry(name.clone()).or_default();
        copies.push((serial, token.clone()));
        Some(self.enrolled(Some(name), serial, token))
    }

    /// Has a request told to stop with everything else until the guard is dropped.
    pub(super) fn request(self: &Arc<Self>, token: CancellationToken) -> Enrolled {
        let mut state = self.0.lock();
        let serial = state.enter(&token);
        state.requests.insert(serial, token.clone());
        self.enrolled(None, serial, token)
    }

    fn enrolled(
        self: &Arc<Self>,
        name: Option<AttemptName>,
        serial: u64,
        token: CancellationToken,
    ) -> Enrolled {
        Enrolled {
            running: Arc::clone(self),
            name,
            serial,
            token,
        }
    }

    /// Says whether an owner wants an attempt stopped.
    pub(super) fn is_stopped(&self, name: &AttemptName) -> bool {
        self.0.lock().stopped.contains(name)
    }

    /// Tells everything to stop, now and whatever is still to come.
    pub(super) fn halt(&self) {
        let mut state = self.0.lock();
        state.halted = true;
        let copies = state.attempts.values().flatten().map(|(_, token)| token);
        for token in copies.chain(state.requests.values()) {
            token.cancel();
        }
    }

    /// Says whether everything was told to stop.
    pub(super) fn is_halted(&self) -> bool {
        self.0.lock().halted
    }

    /// Stops what the owner of a partition wants stopped, unless that owner has been replaced.
    ///
    /// What is not here may still be on its way, and is remembered.
    pub(super) fn obey(&self, control: &Control) {
        let now = Instant::now();
        let mut state = self.0.lock();
        if !state.hears(control, now) {
            return;
        }
        for attempt in &control.stop {
            let name = AttemptName {
                owner: control.owner.clone(),
                attempt: *attempt,
            };
            let copies = state.attempts.get(&name).into_iter().flatten();
            for (_, token) in copies {
                token.cancel();
            }
            state.stopped.insert(name, now);
        }
    }
}

impl State {
    /// Gives something that begins a number of its own.
    fn enter(&mut self, token: &CancellationToken) -> u64 {
        if self.halted {
            token.cancel();
        }
        self.serial += 1;
        self.serial
    }

    fn hears(&mut self, control: &Control, now: Instant) -> bool {
        let fence = self.fences.get(&control.owner);
        let replaced = fence.is_some_and(|fence| {
            control.token < fence.token && now.saturating_duration_since(fence.heard) < FENCED_FOR
        });
        if !replaced {
            let token = control.token;
            self.make_room_for_a_fence();
            let fence = Fence { token, heard: now };
            self.fences.insert(control.owner.clone(), fence);
        }
        !replaced
    }

    fn make_room_for_a_fence(&mut self) {
        if self.fences.len() < FENCES {
            return;
        }
        let mut heard: Vec<_> = self.fences.values().map(|fence| fence.heard).collect();
        let middle = heard.len() / 2;
        let (_, median, _) = heard.select_nth_unstable(middle);
        let median = *median;
        self.fences.retain(|_, fence| fence.heard > median);
    }
}

/// Attempts that were stopped, the oldest first.
#[derive(Debug, Default)]
struct Stopped {
    names: FxHashSet<AttemptName>,
    order: VecDeque<(Instant, AttemptName)>,
}

impl Stopped {
    fn contains(&self, name: &AttemptName) -> bool {
        self.names.contains(name)
    }

    fn insert(&mut self, name: AttemptName, now: Instant) {
        while let Some((since, oldest)) = self.order.front()
            && (self.order.len() >= STOPPED || now.saturating_duration_since(*since) >= STOPPED_FOR)
        {
            self.names.remove(oldest);
            self.order.pop_front();
        }
        if self.names.insert(name.clone()) {
            self.order.push_back((now, name));
        }
    }
}

/// Something that can be told to stop.
#[derive(Debug)]
pub(super) struct Enrolled {
    running: Arc<Running>,
    /// None for a request, which has no name.
    name: Option<AttemptName>,
    serial: u64,
    pub(super) token: CancellationToken,
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        let mut state = self.running.0.lock();
        let Some(name) = &self.name else {
            state.requests.remove(&self.serial);
            return;
        };
        if let Some(copies) = state.attempts.get_mut(name) {
            copies.retain(|(serial, _)| *serial != self.serial);
            if copies.is_empty() {
                state.attempts.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
