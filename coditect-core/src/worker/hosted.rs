//! One agent of this process, and the slots in which it works.

use std::fmt;
use std::sync::{Arc, OnceLock};

use coditect_bus::QueueName;
use coditect_registry::{AgentId, Capability, Health, Reason, Requirement};
use semver::Version;
use tokio::sync::{Notify, watch};

use super::board::GuardBoard;
use super::breaker::{Guard, Leave};
use super::hungry::Hungry;
use super::lull::Lull;
use super::rate::RateGate;
use super::slots::{Load, Measured, Place, Slots};
use super::standing::{Reported, Standing};
use crate::agent::{AgentCard, ErasedAgent, Performer};
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
    slots: Slots,
    hungry: Arc<Hungry>,
    /// What stands before the calls of each capability, in the same order.
    guards: Vec<Guard>,
    /// Whether anything waits on the bus for each capability, in the same order.
    pub(super) lulls: Vec<Lull>,
    /// What it is called in the outcomes of each capability, in the same order, once it is known which start it is.
    performers: OnceLock<Box<[Arc<Performer>]>>,
    /// How many handlers wait for others without a slot.
    away: watch::Sender<usize>,
}

impl Hosted {
    pub(crate) fn new(agent: Arc<dyn ErasedAgent>, board: &mut GuardBoard) -> Result<Self, Error> {
        let card = agent.card();
        let id = AgentId::new(card.name()).map_err(|error| {
            Error::invalid(format!("`{}` is no name for an agent", card.name())).with_source(error)
        })?;
        let capabilities = card.capabilities()?;
        let hungry = Arc::default();
        let guards = capabilities
            .iter()
            .map(|capability| board.guard(&id, capability, card.breaker(), &hungry))
            .collect();
        let lulls = capabilities.iter().map(|_| Lull::default()).collect();
        Ok(Self {
            id,
            lulls,
            capabilities,
            guards,
            slots: Slots::new(card.concurrency(), card.adaptive()),
            hungry,
            standing: Standing::default(),
            own_queue: OnceLock::new(),
            performers: OnceLock::new(),
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
        let index = self.capability_for(requirement)?;
        Some(&self.capabilities[index].version)
    }

    /// Which of its capabilities meets a requirement: that of the highest version.
    pub(crate) fn capability_for(&self, requirement: &Requirement) -> Option<usize> {
        let offered = self.capabilities.iter().enumerate();
        let matching = offered.filter(|(_, capability)| requirement.matches(capability));
        let best = matching.max_by_key(|(_, capability)| &capability.version);
        best.map(|(index, _)| index)
    }

    /// Says which start of the agent this is.
    pub(super) fn set_incarnation(&self, incarnation: &Arc<str>) {
        let performers = self.capabilities.iter().map(|capability| {
            let (name, version) = (capability.name.clone(), capability.version.clone());
            Arc::new(Performer::new(
                self.id.clone(),
                name,
                version,
                Arc::clone(incarnation),
            ))
        });
        // Once, when the worker is made.
        let _ = self.performers.set(performers.collect());
    }

    /// Who does work of what is required here.
    pub(crate) fn performer(&self, requirement: &Requirement) -> Option<Arc<Performer>> {
        let capability = self.capability_for(requirement)?;
        Some(Arc::clone(&self.performers.get()?[capability]))
    }

    /// What stands before the calls of a capability.
    pub(crate) fn guard(&self, capability: usize) -> &Guard {
        &self.guards[capability]
    }

    pub(super) fn guards(&self) -> impl Iterator<Item = (&Capability, &Guard)> {
        self.capabilities.iter().zip(&self.guards)
    }

    /// What others are told of the agent: what it says itself, and that it is not to be preferred while it fails.
    pub(super) fn reported(&self) -> Reported {
        let reported = self.standing.reported();
        let tripped = self.guards().find_map(|(capability, guard)| {
            let since = guard.tripped_since()?;
            let text = format!("the breaker of `{}` is open", capability.name);
            Some(Reason::new(&text, since))
        });
        match tripped {
            Some(reason) if reported.health == Health::Ready => Reported {
                health: Health::Degraded,
                reason: Some(reason),
            },
            _ => reported,
        }
    }

    /// Says whether a slot is free, and the agent wants work.
    fn is_free(&self) -> bool {
        self.slots.has_free() && self.standing.is_open()
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

    /// What it is to be asked before others by: a higher version, and among equals one that takes work at once.
    pub(crate) fn rank_for(&self, requirement: &Requirement) -> Option<(&Version, bool)> {
        let capability = self.capability_for(requirement)?;
        let takes = self.is_free() && self.guards[capability].admits();
        Some((&self.capabilities[capability].version, takes))
    }

    /// Takes a slot for work of a capability if one is free and nobody waits for it, the agent wants work, and its breaker
    /// lets a call through.
    pub(crate) fn try_work(self: &Arc<Self>, capability: usize) -> Option<Slot> {
        // Leave that is not used rings for those whom it kept from a probe: two who look in turn would wake each other for ever.
        if !self.is_free() {
            return None;
        }
        // Before the slot: whoever is refused has then kept it from nobody.
        let leave = self.guards[capability].leave().ok()?;
        let mut slot = self.free_slot()?;
        slot.leave = leave;
        Some(slot)
    }

    /// Takes a slot for a handler that has been let through before, if one is free and the agent wants work.
    pub(crate) fn try_slot(self: &Arc<Self>) -> Option<Slot> {
        if !self.standing.is_open() {
            return None;
        }
        self.free_slot()
    }

    fn free_slot(self: &Arc<Self>) -> Option<Slot> {
        Some(Slot {
            place: Some(self.slots.try_take()?),
            leave: None,
            hosted: Arc::clone(self),
        })
    }

    /// Takes the next free slot for work of a capability, once its breaker lets a call through.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in the queue.
    pub(crate) async fn work(self: &Arc<Self>, capability: usize) -> Slot {
        let guard = &self.guards[capability];
        loop {
            guard.admitted().await;
            let mut slot = self.slot().await;
            // It may have opened while the slot was waited for.
            if let Ok(leave) = guard.leave() {
                slot.leave = leave;
                return slot;
            }
        }
    }

    /// Takes the next free slot.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in the queue.
    pub(crate) async fn slot(self: &Arc<Self>) -> Slot {
        Slot {
            place: Some(self.slots.take().await),
            leave: None,
            hosted: Arc::clone(self),
        }
    }

    /// Waits until the agent wants work of a capability, its breaker lets a call through and a slot is free, and leaves it to
    /// whoever takes it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn has_slot(self: &Arc<Self>, capability: usize) {
        self.standing.opened().await;
        self.guards[capability].admitted().await;
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

    /// Has `wake` notified once, when a slot becomes free for work of a capability.
    pub(crate) fn notify_free(&self, capability: usize, wake: &Arc<Notify>) {
        self.hungry.add(capability, wake);
        // A slot freed, or a breaker closed, between the caller's look and this call would not notify.
        if self.is_free() && self.guards[capability].admits() {
            self.feed();
        }
    }

    /// Hands a wake on that was of no use: whoever waits next may have one for the free slot.
    pub(crate) fn pass_wake_on(&self) {
        if self.is_free() {
            self.feed();
        }
    }

    fn feed(&self) {
        self.hungry
            .feed(|capability| self.guards[capability].admits());
    }

    /// Never notifies `wake` again, and hands on what it may have been notified of.
    pub(crate) fn forget(&self, wake: &Arc<Notify>) {
        self.hungry.remove(wake);
        self.lulls.iter().for_each(|lull| lull.forget(wake));
        self.pass_wake_on();
    }

    /// How many tasks it takes at once, now.
    pub(crate) fn limit(&self) -> usize {
        self.slots.limit()
    }

    /// How many deliveries are worth fetching at once, for a while.
    pub(super) fn width(&self) -> usize {
        self.slots.width()
    }

    /// Waits until [`width`](Self::width) is another.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn widened(&self, from: usize) {
        self.slots.widened(from).await;
    }

    /// Begins to measure a call, where that says something of how much the agent bears.
    pub(super) fn measure(&self) -> Option<Measured> {
        self.slots.measure()
    }

    /// Learns from a call how much the agent bears.
    pub(super) fn learn(&self, measured: &Measured, load: Load) {
        if self.slots.learn(measured, load) {
            self.hungry.feed_all();
        }
    }

    pub(crate) fn in_use(&self) -> usize {
        self.slots.in_use()
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
    place: Option<Place>,
    /// Leave for the call that the slot was taken for, where it needs one.
    leave: Option<Leave>,
    hosted: Arc<Hosted>,
}

impl Slot {
    pub(crate) fn hosted(&self) -> &Arc<Hosted> {
        &self.hosted
    }

    /// Adds the leave for the call that the slot is for.
    pub(super) fn put_leave(&mut self, leave: Option<Leave>) {
        self.leave = leave;
    }

    /// Begins the call that the slot was taken for: its leave ends with it and not with the slot. Says who counts what it
    /// costs.
    pub(super) fn begin(&mut self) -> (Option<Leave>, Option<Arc<RateGate>>) {
        let mut leave = self.leave.take();
        let meter = leave.as_mut().and_then(Leave::begin);
        (leave, meter)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        drop(self.leave.take());
        drop(self.place.take());
        self.hosted.feed();
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

#[cfg(test)]
mod tests;
