//! Many breakers, one for each key, in bounded memory.

use std::collections::{HashMap, VecDeque};
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
use crate::sync::Mutex;

/// Keeps a breaker for each key (an agent, a capability, an endpoint), and never more than its capacity.
///
/// When it is full, a new key takes the place of another, in this order: a closed one that was not asked for lately,
/// any closed one that no call is using, any closed one, and only then one that is open, half-open or
/// forced. What it forgets begins closed if it comes back. A look-up of a known key takes a lock that readers share.
///
/// To find a place it goes round its closed keys as a clock's hand does (the CLOCK algorithm of page replacement: Corbató,
/// 1968), 64 steps at most, so that of many that are all in use the best of 64 goes. What it finds tripped it sets aside until
/// that closes, so that each trip is paid for once: new keys cost little even where nearly all others are open.
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
    /// The names of breakers that closed since the last new key.
    returns: Arc<Mutex<Vec<Arc<str>>>>,
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    places: HashMap<Arc<str>, u32>,
    slots: Vec<Slot>,
    /// The places over which the hand goes, the next one first.
    ring: VecDeque<u32>,
    /// The places that were found tripped, the longest ago first, each with the count of its setting aside. Those whose
    /// slot no longer bears that count are back in the ring.
    aside: VecDeque<(u32, u64)>,
    set_aside: u64,
}

struct Slot {
    breaker: Breaker,
    /// Asked for since the hand last passed.
    is_recent: AtomicBool,
    /// The count of its setting aside; such a slot is not in the ring.
    aside: Option<u64>,
}

impl Breakers {
    /// Makes an empty table for at most `capacity` keys.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPolicy`](crate::ErrorKind::InvalidPolicy) if the capacity is zero or above 2³² − 1.
    pub fn new(policy: BreakerPolicy, capacity: usize) -> Result<Self, Error> {
        if capacity == 0 || u32::try_from(capacity).is_err() {
            return Err(Error::invalid_policy(
                "there is room for no breaker, or for more than can be counted",
            ));
        }
        Ok(Self::with(BreakerSettings::new(policy), capacity))
    }

    fn with(mut settings: BreakerSettings, capacity: usize) -> Self {
        let returns = Arc::default();
        settings.returns = Some(Arc::clone(&returns));
        Self {
            inner: Arc::new(Inner {
                settings: Arc::new(settings),
                capacity,
                returns,
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
            let returned = std::mem::take(&mut *self.inner.returns.lock());
            table.bring_back(&returned);
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
        Some(table.slots[*place as usize].breaker.clone())
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
        let slot = &self.slots[*self.places.get(key)? as usize];
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
            aside: None,
        };
        if self.slots.len() < capacity {
            // The capacity was checked to fit.
            let place = self.slots.len() as u32;
            self.slots.push(slot);
            self.places.insert(name, place);
            self.ring.push_back(place);
            return None;
        }
        let place = self.victim();
        let old = std::mem::replace(&mut self.slots[place as usize], slot);
        self.places.remove(old.breaker.shared_name());
        self.places.insert(name, place);
        self.ring.push_back(place);
        Some(old.breaker)
    }

    /// Takes the place out whose breaker is missed the least.
    fn victim(&mut self) -> u32 {
        const STEPS: usize = 64;
        let (mut best, mut steps) = (None, 0);
        while steps < self.ring.len().min(STEPS)
            && let Some(place) = self.ring.pop_front()
        {
            match self.slots[place as usize].worth() {
                Worth::Idle => return place,
                Worth::Tripped => self.put_aside(place),
                worth => {
                    self.ring.push_back(place);
                    steps += 1;
                    if best.is_none_or(|(least, _)| worth < least) {
                        best = Some((worth, place));
                    }
                }
            }
        }
        if let Some((_, place)) = best {
            // It is one of the last few that were put back.
            let at = self.ring.iter().rposition(|other| *other == place);
            at.and_then(|at| self.ring.remove(at));
            return place;
        }
        let tripped = std::iter::from_fn(|| self.aside.pop_front())
            .find(|(place, count)| self.slots[*place as usize].aside == Some(*count));
        tripped
            .expect("a slot is in the ring or aside, and a table has a slot")
            .0
    }

    fn put_aside(&mut self, place: u32) {
        self.set_aside += 1;
        self.slots[place as usize].aside = Some(self.set_aside);
        self.aside.push_back((place, self.set_aside));
        // Of those that came back in the meantime a mark is left; there are never more of them than slots.
        if self.aside.len() > 2 * self.slots.len() {
            let slots = &self.slots;
            self.aside
                .retain(|(place, count)| slots[*place as usize].aside == Some(*count));
        }
    }

    /// Puts those back into the ring that were set aside and have closed since.
    fn bring_back(&mut self, names: &[Arc<str>]) {
        for name in names {
            let Some(place) = self.places.get(name) else {
                continue;
            };
            let slot = &mut self.slots[*place as usize];
            if slot.breaker.has_returned() && slot.aside.take().is_some() {
                self.ring.push_back(*place);
            }
        }
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
