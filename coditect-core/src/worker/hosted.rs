//! One agent of this process, and the slots in which it works.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use coditect_bus::QueueName;
use coditect_registry::{AgentId, Capability, Requirement};
use parking_lot::Mutex;
use semver::Version;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::standing::{Reported, Standing};
use crate::agent::{AgentCard, ErasedAgent};
use crate::error::Error;

/// An agent of this process.
pub(crate) struct Hosted {
    pub(crate) id: AgentId,
    pub(crate) card: AgentCard,
    pub(crate) capabilities: Vec<Capability>,
    pub(crate) agent: Arc<dyn ErasedAgent>,
    pub(crate) standing: Standing,
    /// The queue of this instance alone, where it has one.
    own_queue: OnceLock<QueueName>,
    free: Arc<Semaphore>,
    hungry: Hungry,
    /// How many handlers wait for others without a slot.
    away: watch::Sender<usize>,
}

impl Hosted {
    pub(crate) fn new(agent: Arc<dyn ErasedAgent>) -> Result<Self, Error> {
        let card = agent.card();
        let id = AgentId::new(card.name()).map_err(|error| {
            Error::invalid(format!("`{}` is no name for an agent", card.name())).with_source(error)
        })?;
        Ok(Self {
            id,
            capabilities: card.capabilities()?,
            free: Arc::new(Semaphore::new(
                card.concurrency().min(Semaphore::MAX_PERMITS),
            )),
            hungry: Hungry::default(),
            standing: Standing::default(),
            own_queue: OnceLock::new(),
            away: watch::Sender::new(0),
            card,
            agent,
        })
    }

    pub(crate) fn offers(&self, requirement: &Requirement) -> bool {
        self.version_for(requirement).is_some()
    }

    /// The highest version offered that meets a requirement.
    pub(crate) fn version_for(&self, requirement: &Requirement) -> Option<&Version> {
        let offered = self.capabilities.iter();
        let matching = offered.filter(|capability| requirement.matches(capability));
        matching.map(|capability| &capability.version).max()
    }

    /// Says whether a slot is free, and the agent wants work.
    fn is_free(&self) -> bool {
        self.free.available_permits() > 0 && self.standing.is_open()
    }

    /// Takes over what the agent says of itself.
    pub(crate) fn report(&self, reported: Reported) {
        self.standing.report(reported);
        self.pass_wake_on();
    }

    /// Takes over what the agent says of itself, unless it has said just that before; says whether it is news.
    pub(crate) fn report_news(&self, reported: Reported) -> bool {
        let is_news = !self.standing.reported().says_the_same(&reported);
        if is_news {
            self.report(reported);
        }
        is_news
    }

    /// Ends the agent: a newer start has taken its name.
    pub(super) fn supersede(&self) {
        self.standing.supersede();
        // Owners that wait for a slot here look elsewhere.
        self.hungry.feed_all();
    }

    pub(super) fn set_own_queue(&self, queue: QueueName) {
        // Once, when the worker starts.
        let _ = self.own_queue.set(queue);
    }

    pub(super) fn own_queue(&self) -> Option<&QueueName> {
        self.own_queue.get()
    }

    /// What it is to be asked before others by: a higher version, and among equals a free slot.
    pub(crate) fn rank_for(&self, requirement: &Requirement) -> Option<(&Version, bool)> {
        Some((self.version_for(requirement)?, self.is_free()))
    }

    /// Takes a slot if one is free and nobody waits for it, and the agent wants work.
    pub(crate) fn try_slot(self: &Arc<Self>) -> Option<Slot> {
        if !self.standing.is_open() {
            return None;
        }
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(Slot {
            permit: Some(permit),
            hosted: Arc::clone(self),
        })
    }

    /// Takes the next free slot.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in the queue.
    pub(crate) async fn slot(self: &Arc<Self>) -> Slot {
        let permit = Arc::clone(&self.free).acquire_owned().await;
        Slot {
            // The semaphore is never closed.
            permit: permit.ok(),
            hosted: Arc::clone(self),
        }
    }

    /// Waits until the agent wants work and a slot is free, and leaves it to whoever takes it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn has_slot(self: &Arc<Self>) {
        self.standing.opened().await;
        // Once is enough: whoever waits here beside this one would be handed the slot again and again.
        if !self.is_free() {
            drop(self.slot().await);
        }
    }

    /// Notes that a handler waits for others without a slot, until what is returned is dropped.
    pub(crate) fn go_away(self: &Arc<Self>) -> Away {
        self.away.send_modify(|away| *away += 1);
        Away(Arc::clone(self))
    }

    /// Follows how many handlers wait for others without a slot.
    pub(super) fn watch_away(&self) -> watch::Receiver<usize> {
        self.away.subscribe()
    }

    /// Has `wake` notified once, when a slot becomes free.
    pub(crate) fn notify_free(&self, wake: &Arc<Notify>) {
        self.hungry.add(wake);
        // A slot freed between the caller's look and this call would not notify.
        if self.is_free() {
            self.hungry.feed();
        }
    }

    /// Hands a wake on that was of no use: whoever waits next may have one for the free slot.
    pub(crate) fn pass_wake_on(&self) {
        if self.is_free() {
            self.hungry.feed();
        }
    }

    /// Never notifies `wake` again, and hands on what it may have been notified of.
    pub(crate) fn forget(&self, wake: &Arc<Notify>) {
        self.hungry.remove(wake);
        self.pass_wake_on();
    }

    pub(crate) fn in_use(&self) -> usize {
        self.card
            .concurrency()
            .saturating_sub(self.free.available_permits())
    }
}

impl fmt::Debug for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosted")
            .field("id", &self.id)
            .field("in_use", &self.in_use())
            .finish_non_exhaustive()
    }
}

/// A right to run one handler of an agent; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    hosted: Arc<Hosted>,
}

impl Slot {
    pub(crate) fn hosted(&self) -> &Arc<Hosted> {
        &self.hosted
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.hosted.hungry.feed();
    }
}

/// A handler waits for others without a slot.
#[derive(Debug)]
pub(crate) struct Away(Arc<Hosted>);

impl Drop for Away {
    fn drop(&mut self) {
        self.0.away.send_modify(|away| *away -= 1);
    }
}

/// Who wants to know that a slot is free.
#[derive(Debug, Default)]
struct Hungry {
    any: AtomicBool,
    queue: Mutex<VecDeque<Arc<Notify>>>,
}

impl Hungry {
    fn add(&self, wake: &Arc<Notify>) {
        let mut queue = self.queue.lock();
        if !queue.iter().any(|known| Arc::ptr_eq(known, wake)) {
            queue.push_back(Arc::clone(wake));
        }
        self.any.store(true, Ordering::SeqCst);
    }

    fn remove(&self, wake: &Arc<Notify>) {
        self.queue.lock().retain(|known| !Arc::ptr_eq(known, wake));
    }

    fn feed_all(&self) {
        let waiting = std::mem::take(&mut *self.queue.lock());
        waiting.iter().for_each(|wake| wake.notify_one());
    }

    fn feed(&self) {
        if !self.any.load(Ordering::SeqCst) {
            return;
        }
        let mut queue = self.queue.lock();
        if let Some(wake) = queue.pop_front() {
            wake.notify_one();
        }
        if queue.is_empty() {
            self.any.store(false, Ordering::SeqCst);
        }
    }
}
