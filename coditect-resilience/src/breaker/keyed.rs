//! Many breakers, one for each key, in bounded memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use tokio::sync::mpsc;

use super::handle::{Breaker, BreakerSettings};
use super::machine::BreakerState;
use super::observer::BreakerObserver;
use super::policy::BreakerPolicy;
use crate::error::Error;
use crate::random::Randomness;

/// Keeps a breaker for each key (an agent, a capability, an endpoint), and never more than its capacity.
///
/// When it is full, a new key takes the place of another, in this order: a closed one that was not asked for lately,
/// any closed one that no call is using, any closed one, and only then one that is open, half-open or
/// forced. What it forgets begins closed if it comes back. A look-up of a known key takes a lock that readers share.
///
/// To find a place it goes round its keys once at most (the CLOCK algorithm of page replacement: Corbató, 1968), and
/// as a rule a step or two. Only where nearly all keys are open does each new one cost a full round.
///
/// ```
/// use coditect_resilience::{BreakerPolicy, BreakerState, Breakers};
///
/// let breakers = Breakers::new(BreakerPolicy::default(), 2)?;
/// breakers.breaker("broken").force_open();
/// for agent in ["a", "b", "c", "d"] {
///     breakers.breaker(agent).acquire()?.success();
/// }
/// assert_eq!(breakers.len(), 2);
/// assert_eq!(breakers.breaker("broken").state(), BreakerState::ForcedOpen);
/// # Ok::<(), coditect_resilience::Error>(())
/// ```
#[derive(Clone)]
pub struct Breakers {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Arc<BreakerSettings>,
    capacity: usize,
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    places: HashMap<Arc<str>, usize>,
    slots: Vec<Slot>,
    hand: usize,
}

struct Slot {
    breaker: Breaker,
    /// Asked for since the hand last passed.
    is_recent: AtomicBool,
}

impl Breakers {
    /// Makes an empty table for at most `capacity` keys.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPolicy`](crate::ErrorKind::InvalidPolicy) if the capacity is zero.
    pub fn new(policy: BreakerPolicy, capacity: usize) -> Result<Self, Error> {
        if capacity == 0 {
            return Err(Error::invalid_policy("there is room for no breaker"));
        }
        Ok(Self::with(BreakerSettings::new(policy), capacity))
    }

    fn with(settings: BreakerSettings, capacity: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                settings: Arc::new(settings),
                capacity,
                table: RwLock::default(),
            }),
        }
    }

    /// Tells an observer about every breaker. Called before the first key: clones made earlier are another table.
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn BreakerObserver>) -> Self {
        self.change(|settings| settings.observer = observer)
    }

    /// Replaces the source of the jitter, before the first key.
    #[must_use]
    pub fn with_randomness(self, randomness: impl Randomness) -> Self {
        self.change(|settings| settings.randomness = Arc::new(randomness))
    }

    pub(super) fn with_outbox(self, outbox: mpsc::Sender<Arc<str>>) -> Self {
        self.change(|settings| settings.outbox = Some(outbox))
    }

    fn change(self, change: impl FnOnce(&mut BreakerSettings)) -> Self {
        let mut settings = BreakerSettings::clone(&self.inner.settings);
        change(&mut settings);
        Self::with(settings, self.inner.capacity)
    }

    /// Returns the breaker of a key, a new one if the key is not known.
    #[must_use]
    pub fn breaker(&self, key: &str) -> Breaker {
        if let Some(breaker) = self.inner.table.read().find(key) {
            return breaker;
        }
        let (breaker, evicted) = {
            let mut table = self.inner.table.write();
            // Another thread may have been here between the two locks.
            if let Some(breaker) = table.find(key) {
                return breaker;
            }
            let breaker = Breaker::with_settings(key.into(), Arc::clone(&self.inner.settings));
            (breaker.clone(), table.insert(breaker, self.inner.capacity))
        };
        if let Some(evicted) = evicted {
            let observer = &self.inner.settings.observer;
            observer.on_evicted(evicted.name(), evicted.state());
        }
        breaker
    }

    /// Returns the breaker of a key if it is known, which does not count as asking for it.
    #[must_use]
    pub fn peek(&self, key: &str) -> Option<Breaker> {
        let table = self.inner.table.read();
        let place = table.places.get(key)?;
        Some(table.slots[*place].breaker.clone())
    }

    /// Returns the number of keys that are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.table.read().slots.len()
    }

    /// Tells whether no key is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the most keys that are kept.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.inner.capacity
    }

    /// Returns the policy of every breaker.
    #[must_use]
    pub fn policy(&self) -> &BreakerPolicy {
        &self.inner.settings.policy
    }

    /// Returns the breakers that are not simply closed, for an operator to look at.
    #[must_use]
    pub fn tripped(&self) -> Vec<Breaker> {
        let table = self.inner.table.read();
        let breakers = table.slots.iter().map(|slot| &slot.breaker);
        breakers
            .filter(|breaker| breaker.state() != BreakerState::Closed)
            .cloned()
            .collect()
    }
}

impl Table {
    fn find(&self, key: &str) -> Option<Breaker> {
        let slot = &self.slots[*self.places.get(key)?];
        // Written only when it changes, so that readers do not take the line from each other.
        if !slot.is_recent.load(Ordering::Relaxed) {
            slot.is_recent.store(true, Ordering::Relaxed);
        }
        Some(slot.breaker.clone())
    }

    /// Puts a breaker in and returns the one that had to leave for it.
    fn insert(&mut self, breaker: Breaker, capacity: usize) -> Option<Breaker> {
        let name = Arc::clone(breaker.shared_name());
        let slot = Slot {
            breaker,
            is_recent: AtomicBool::new(true),
        };
        if self.slots.len() < capacity {
            self.places.insert(name, self.slots.len());
            self.slots.push(slot);
            return None;
        }
        let place = self.victim();
        let old = std::mem::replace(&mut self.slots[place], slot);
        self.places.remove(old.breaker.shared_name());
        self.places.insert(name, place);
        Some(old.breaker)
    }

    /// Finds the slot that is missed the least, going round once at most.
    fn victim(&mut self) -> usize {
        let mut best = (Worth::Tripped, self.hand);
        for _ in 0..self.slots.len() {
            let place = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            let worth = self.slots[place].worth();
            if worth == Worth::Idle {
                return place;
            }
            if worth < best.0 {
                best = (worth, place);
            }
        }
        best.1
    }
}

/// How much a breaker would be missed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Idle,
    Recent,
    InUse,
    Tripped,
}

impl Slot {
    fn worth(&mut self) -> Worth {
        let was_recent = std::mem::take(self.is_recent.get_mut());
        if self.breaker.state() != BreakerState::Closed {
            Worth::Tripped
        } else if self.breaker.is_in_use() {
            Worth::InUse
        } else if was_recent {
            Worth::Recent
        } else {
            Worth::Idle
        }
    }
}

impl fmt::Debug for Breakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breakers")
            .field("len", &self.len())
            .field("capacity", &self.inner.capacity)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
