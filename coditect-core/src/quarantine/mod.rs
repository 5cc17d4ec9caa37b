//! What keeps failing in the same way: which agents are given no more work of a capability, as coordinators see it.

mod kept;
mod pattern;
mod probe;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use coditect_dag::Timestamp;
use coditect_registry::{CapabilityName, Requirement};
use coditect_resilience::{QuarantineMachine, QuarantinePolicy, Randomness, SplitMix};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use self::pattern::Pattern;
pub use self::pattern::Quarantined;
pub(crate) use self::probe::ProbeGuard;
use crate::agent::Performer;
use crate::clock::Clock;
use crate::failure::{Failure, FailureKind};

/// How many patterns a process keeps in mind.
const PATTERNS: usize = 1_024;

/// When quarantines begin, by capability.
#[derive(Clone, Debug, Default)]
pub(crate) struct QuarantinePolicies {
    pub(crate) named: FxHashMap<CapabilityName, Option<QuarantinePolicy>>,
    pub(crate) default: Option<QuarantinePolicy>,
}

impl QuarantinePolicies {
    fn of(&self, capability: &CapabilityName) -> Option<QuarantinePolicy> {
        let named = self.named.get(capability);
        named.copied().unwrap_or(self.default)
    }

    fn is_empty(&self) -> bool {
        self.default.is_none() && self.named.values().all(Option::is_none)
    }
}

/// The quarantines of a process, which its owners share.
pub(crate) struct Quarantines {
    policies: QuarantinePolicies,
    board: Mutex<Board>,
    /// How many patterns are kept in mind.
    known: AtomicUsize,
    any_held: AtomicBool,
    /// Told when there is something to write down.
    changed: Notify,
    clock: Clock,
    randomness: SplitMix,
}

#[derive(Default)]
struct Board {
    patterns: FxHashMap<Pattern, Entry>,
    /// Ended, and to be forgotten by the store.
    ended: Vec<Pattern>,
    /// Owners of this process.
    owners: Vec<Weak<Notify>>,
}

/// One pattern.
struct Entry {
    policy: QuarantinePolicy,
    machine: QuarantineMachine<FailureKind>,
    /// How often it failed in the way it is held for, and how.
    failures: u64,
    since: Timestamp,
    example: Failure,
    /// Whether the store has it as it is.
    is_kept: bool,
    /// Whether the store has had it, so that its absence there means that somebody has ended it.
    was_kept: bool,
}

impl Entry {
    fn new(policy: QuarantinePolicy, example: Failure, now: Timestamp) -> Self {
        Self {
            machine: QuarantineMachine::new(&policy),
            policy,
            failures: 0,
            since: now,
            example,
            is_kept: false,
            was_kept: false,
        }
    }

    fn is_held(&self) -> bool {
        self.machine.held().is_some()
    }

    /// How long until it is probed; nothing while a probe is under way.
    fn left(&self, now: Instant) -> Option<Duration> {
        match self.machine.look(&self.policy, now) {
            Ok(()) => Some(Duration::ZERO),
            Err(left) => left,
        }
    }
}

impl Quarantines {
    pub(crate) fn new(policies: QuarantinePolicies, clock: Clock, randomness: SplitMix) -> Self {
        Self {
            policies,
            board: Mutex::default(),
            known: AtomicUsize::new(0),
            any_held: AtomicBool::new(false),
            changed: Notify::new(),
            clock,
            randomness,
        }
    }

    /// Has an owner woken when something is held no longer.
    pub(crate) fn register(&self, wake: &Arc<Notify>) {
        let mut board = self.board.lock();
        board.owners.retain(|owner| owner.strong_count() > 0);
        board.owners.push(Arc::downgrade(wake));
    }

    /// The patterns of a capability that are held.
    pub(crate) fn held_for(&self, requirement: &Requirement) -> Vec<Pattern> {
        if !self.any_held.load(Ordering::Acquire) {
            return Vec::new();
        }
        let board = self.board.lock();
        let held = board.patterns.iter().filter(|(_, entry)| entry.is_held());
        let held = held.map(|(pattern, _)| pattern);
        let meets = |pattern: &&Pattern| {
            pattern.capability == requirement.name && requirement.versions.matches(&pattern.version)
        };
        held.filter(meets).cloned().collect()
    }

    /// Takes in that work succeeded.
    pub(crate) fn succeeded(&self, by: &Performer) {
        if self.known.load(Ordering::Acquire) == 0 {
            return;
        }
        if let Some(entry) = self.board.lock().patterns.get_mut(&Pattern::of(by)) {
            let random = || self.randomness.next_unit();
            entry
                .machine
                .record(&entry.policy, None, Instant::now(), random);
        }
    }

    /// Takes in that work has failed for good; says whether its pattern is held for that, so that it is worth keeping.
    pub(crate) fn failed(&self, failure: &Failure) -> bool {
        let Some(by) = &failure.by else { return false };
        let Some(policy) = self.policies.of(&by.capability) else {
            return false;
        };
        let (pattern, now) = (Pattern::of(by), Instant::now());
        let mut board = self.board.lock();
        if !board.patterns.contains_key(&pattern) {
            board.make_room();
            if board.patterns.len() >= PATTERNS {
                return false;
            }
        }
        let entry = board.patterns.entry(pattern.clone());
        let entry = entry.or_insert_with(|| Entry::new(policy, failure.clone(), self.clock.now()));
        if let Some(held) = entry.machine.held() {
            let same = *held == failure.kind;
            if same {
                entry.failures = entry.failures.saturating_add(1);
                entry.is_kept = false;
            }
            return same;
        }
        let random = || self.randomness.next_unit();
        let kind = Some(failure.kind);
        if entry.machine.record(&entry.policy, kind, now, random) {
            entry.since = self.clock.now();
            entry.failures = u64::from(entry.policy.failures());
            entry.example = failure.clone();
            entry.is_kept = false;
            tracing::warn!(%pattern, %failure, "an agent keeps failing in the same way; its work is held");
            self.note(&board);
        } else {
            self.known.store(board.patterns.len(), Ordering::Release);
        }
        false
    }

    /// Leave to try what is held, if it is time for that.
    pub(crate) fn probe(self: &Arc<Self>, pattern: &Pattern) -> Option<ProbeGuard> {
        let mut board = self.board.lock();
        let entry = board.patterns.get_mut(pattern)?;
        let probe = entry.machine.probe(&entry.policy, Instant::now()).ok()?;
        Some(ProbeGuard::new(Arc::clone(self), pattern.clone(), probe))
    }

    /// The failure with which a quarantine began.
    pub(crate) fn example(&self, pattern: &Pattern) -> Option<Failure> {
        let board = self.board.lock();
        let entry = board.patterns.get(pattern)?;
        Some(entry.example.clone())
    }

    /// Says whether it is time to try what is held.
    pub(crate) fn may_probe(&self, pattern: &Pattern) -> bool {
        let board = self.board.lock();
        let entry = board.patterns.get(pattern);
        entry.is_some_and(|entry| entry.machine.look(&entry.policy, Instant::now()).is_ok())
    }

    /// How long until the first of these is probed.
    pub(crate) fn next_probe(&self, patterns: &[Pattern]) -> Option<Duration> {
        let (board, now) = (self.board.lock(), Instant::now());
        let entries = patterns.iter().filter_map(|one| board.patterns.get(one));
        entries.filter_map(|entry| entry.left(now)).min()
    }

    /// Ends the quarantine of a pattern here; says whether there was one.
    pub(crate) fn release(&self, pattern: &Pattern) -> bool {
        let mut board = self.board.lock();
        let ended = board.end(pattern);
        self.note(&board);
        ended
    }

    /// Takes over what has changed: what others look at without the lock, and those who wait.
    fn note(&self, board: &Board) {
        self.known.store(board.patterns.len(), Ordering::Release);
        let held = board.patterns.values().any(Entry::is_held);
        self.any_held.store(held, Ordering::Release);
        for owner in &board.owners {
            if let Some(owner) = owner.upgrade() {
                owner.notify_one();
            }
        }
        self.changed.notify_one();
    }
}

impl Board {
    /// Forgets the pattern that was quiet for longest, once there are too many. What is held is not forgotten.
    fn make_room(&mut self) {
        if self.patterns.len() < PATTERNS {
            return;
        }
        let watched = self.patterns.iter().filter(|(_, entry)| !entry.is_held());
        let quiet = watched.min_by_key(|(_, entry)| entry.machine.last());
        if let Some(pattern) = quiet.map(|(pattern, _)| pattern.clone()) {
            self.patterns.remove(&pattern);
        }
    }

    fn end(&mut self, pattern: &Pattern) -> bool {
        let Some(entry) = self.patterns.remove(pattern) else {
            return false;
        };
        if entry.is_held() {
            self.ended.push(pattern.clone());
        }
        entry.is_held()
    }
}

#[cfg(test)]
mod tests;
