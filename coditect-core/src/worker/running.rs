//! Work that came over the bus: stopped by its name, or all at once.

use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{MessageId, QueueName};
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
    /// The same of requests, by the ids of their messages.
    requests: FxHashMap<MessageId, Vec<(u64, CancellationToken)>>,
    stopped: Stopped<AttemptName>,
    unwanted: Stopped<MessageId>,
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
        Some(self.enrolled(Name::Attempt(name), serial, token))
    }

    /// Makes a request known by the id of its message until the guard is dropped; none if nobody waits for its answer.
    pub(super) fn request(
        self: &Arc<Self>,
        id: MessageId,
        token: CancellationToken,
    ) -> Option<Enrolled> {
        let mut state = self.0.lock();
        if state.unwanted.contains(&id) {
            return None;
        }
        let serial = state.enter(&token);
        let copies = state.requests.entry(id).or_default();
        copies.push((serial, token.clone()));
        Some(self.enrolled(Name::Request(id), serial, token))
    }

    /// Stops requests whose answers nobody waits for; those that are still on their way are remembered.
    pub(super) fn unwanted(&self, ids: &[MessageId]) {
        let now = Instant::now();
        let mut state = self.0.lock();
        for id in ids {
            let copies = state.requests.get(id).into_iter().flatten();
            copies.for_each(|(_, token)| token.cancel());
            state.unwanted.insert(*id, now);
        }
    }

    fn enrolled(self: &Arc<Self>, name: Name, serial: u64, token: CancellationToken) -> Enrolled {
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
        let attempts = state.attempts.values().flatten();
        for (_, token) in attempts.chain(state.requests.values().flatten()) {
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

/// What was stopped, the oldest first.
#[derive(Debug)]
struct Stopped<N> {
    names: FxHashSet<N>,
    order: VecDeque<(Instant, N)>,
}

impl<N> Default for Stopped<N> {
    fn default() -> Self {
        Self {
            names: FxHashSet::default(),
            order: VecDeque::new(),
        }
    }
}

impl<N: Clone + Eq + Hash> Stopped<N> {
    fn contains(&self, name: &N) -> bool {
        self.names.contains(name)
    }

    fn insert(&mut self, name: N, now: Instant) {
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

/// By what something is told to stop.
#[derive(Debug)]
enum Name {
    Attempt(AttemptName),
    Request(MessageId),
}

/// Something that can be told to stop.
#[derive(Debug)]
pub(super) struct Enrolled {
    running: Arc<Running>,
    name: Name,
    serial: u64,
    pub(super) token: CancellationToken,
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        let mut state = self.running.0.lock();
        match &self.name {
            Name::Attempt(name) => leave(&mut state.attempts, name, self.serial),
            Name::Request(id) => leave(&mut state.requests, id, self.serial),
        }
    }
}

fn leave<N: Eq + Hash>(
    running: &mut FxHashMap<N, Vec<(u64, CancellationToken)>>,
    name: &N,
    serial: u64,
) {
    if let Some(copies) = running.get_mut(name) {
        copies.retain(|(other, _)| *other != serial);
        if copies.is_empty() {
            running.remove(name);
        }
    }
}

#[cfg(test)]
mod tests;
