//! What the handles of a view share with the task that follows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::builder::ViewBuilder;
use super::index::Index;
use super::picked::Picked;
use super::pool::Unprepared;
use crate::{
    Candidate, CapabilityName, Ejection, Event, Observer, Requirement, Selector, TenantId,
};

pub(super) struct Shared {
    pub(super) index: RwLock<Index>,
    pub(super) sequence: AtomicU64,
    pub(super) changed: Notify,
    pub(super) observer: Arc<dyn Observer>,
    /// Tells the clock of the view that something may be due sooner than it knew.
    pub(super) sooner: Notify,
    stale_limit: Option<Duration>,
    /// The flag is what picks look at; the time is set before it.
    stale: AtomicBool,
    stale_since: Mutex<Instant>,
}

impl Shared {
    pub(super) fn new(settings: ViewBuilder) -> Self {
        Self {
            index: RwLock::new(Index::new(settings.slow_start, settings.grace)),
            sequence: AtomicU64::new(0),
            changed: Notify::new(),
            observer: settings.observer,
            sooner: Notify::new(),
            stale_limit: settings.stale_limit,
            stale: AtomicBool::new(true),
            stale_since: Mutex::new(Instant::now()),
        }
    }

    pub(super) fn pick(
        &self,
        tenant: Option<&TenantId>,
        requirement: &Requirement,
        selector: &dyn Selector,
        now: Instant,
        random: u64,
    ) -> Option<Picked> {
        if self.is_expired(now) {
            return None;
        }
        let picked = self
            .index
            .read()
            .pick(tenant, requirement, selector, now, random);
        let in_flight = match picked {
            Ok(in_flight) => in_flight?,
            Err(Unprepared) => {
                let mut index = self.index.write();
                for instance in index.prepare(tenant, requirement, now) {
                    self.observer.readmitted(&instance, &requirement.name);
                }
                self.look_at_the_clock();
                index
                    .pick(tenant, requirement, selector, now, random)
                    .unwrap_or(None)?
            }
        };
        Some(Picked::new(in_flight))
    }

    /// Sets a candidate aside for a capability, if the policy allows it.
    pub(super) fn eject(
        &self,
        candidate: &Candidate,
        name: &CapabilityName,
        policy: &Ejection,
        now: Instant,
        random: u64,
    ) {
        let mut index = self.index.write();
        let Some(until) = index.eject(candidate, name, policy, now, random) else {
            return;
        };
        drop(index);
        let duration = until.saturating_duration_since(now);
        let instance = candidate.instance();
        tracing::warn!(%instance, capability = %name, ?duration, "an agent that fails is set aside");
        self.observer.ejected(instance, name, duration);
    }

    /// Applies an event; `false` if it does not follow upon the last one.
    pub(super) fn apply(&self, event: Event, now: Instant) -> bool {
        let Event { sequence, change } = event;
        let everything = change.everything().map(<[_]>::len);
        if let Some(count) = everything {
            self.observer.resynced(count);
        } else if self.is_stale() || sequence != self.sequence.load(Ordering::Relaxed) + 1 {
            return false;
        }
        let changed = self.index.write().apply(change, now);
        self.sequence.store(sequence, Ordering::Release);
        if everything.is_some() {
            self.stale.store(false, Ordering::Release);
        }
        if changed {
            self.changed.notify_waiters();
            self.look_at_the_clock();
        }
        true
    }

    /// Lets time pass.
    pub(super) fn advance(&self, now: Instant) {
        if self.index.write().advance(now) {
            self.changed.notify_waiters();
        }
    }

    pub(super) fn set_stale(&self, since: Instant) {
        if !self.is_stale() {
            *self.stale_since.lock() = since;
            self.stale.store(true, Ordering::Release);
        }
    }

    pub(super) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Acquire)
    }

    pub(super) fn stale_since(&self) -> Option<Instant> {
        self.is_stale().then(|| *self.stale_since.lock())
    }

    pub(super) fn is_expired(&self, now: Instant) -> bool {
        let Some((since, limit)) = self.stale_since().zip(self.stale_limit) else {
            return false;
        };
        now.saturating_duration_since(since) > limit
    }

    fn look_at_the_clock(&self) {
        self.sooner.notify_one();
    }
}
