//! A compartment for each key, in bounded memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::observer::BulkheadObserver;
use super::policy::BulkheadPolicy;
use super::slots::Slots;

/// Keeps a compartment for each key (a capability, a tenant), so that one of them cannot take all slots.
///
/// An idle compartment holds nothing worth keeping, so that all idle ones are forgotten when the table is full. If
/// every one is in use, the keys for which there is no room share one compartment of the same size: they
/// are still limited, and memory stays bounded.
///
/// ```
/// use coditect_resilience::{BulkheadPolicy, KeyedSlots};
///
/// let tenants = KeyedSlots::new(BulkheadPolicy::new(1)?, 1_000);
/// let busy = tenants.slots("acme").try_acquire();
/// assert!(busy.is_some() && tenants.slots("acme").try_acquire().is_none());
/// assert!(tenants.slots("umbrella").try_acquire().is_some());
/// # Ok::<(), coditect_resilience::Error>(())
/// ```
#[derive(Clone)]
pub struct KeyedSlots {
    policy: BulkheadPolicy,
    capacity: usize,
    observer: Arc<dyn BulkheadObserver>,
    overflow: Slots,
    slots: Arc<Mutex<HashMap<Arc<str>, Slots>>>,
}

impl KeyedSlots {
    /// Makes an empty table for at most `capacity` keys in use at once.
    #[must_use]
    pub fn new(policy: BulkheadPolicy, capacity: usize) -> Self {
        Self {
            policy,
            capacity,
            observer: Arc::new(()),
            overflow: Slots::named("(overflow)".into(), policy, Arc::new(())),
            slots: Arc::default(),
        }
    }

    /// Tells an observer about every compartment, before the first key.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn BulkheadObserver>) -> Self {
        self.overflow = self.overflow.with_observer(Arc::clone(&observer));
        self.observer = observer;
        self
    }

    /// Returns the compartment of a key.
    #[must_use]
    pub fn slots(&self, key: &str) -> Slots {
        let mut table = self.slots.lock();
        if let Some(slots) = table.get(key) {
            return slots.clone();
        }
        if table.len() >= self.capacity {
            table.retain(|_, slots| !slots.is_idle());
        }
        if table.len() >= self.capacity {
            return self.overflow.clone();
        }
        let name: Arc<str> = key.into();
        let slots = Slots::named(Arc::clone(&name), self.policy, Arc::clone(&self.observer));
        table.insert(name, slots.clone());
        slots
    }

    /// Returns the number of keys that are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.lock().len()
    }

    /// Tells whether no key is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for KeyedSlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedSlots")
            .field("policy", &self.policy)
            .field("len", &self.len())
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}
