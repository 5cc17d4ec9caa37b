//! One agent that may be chosen: its record, how much it has in flight, and how it has done so far.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use super::in_flight::InFlight;
use super::least_loaded::LeastLoaded;
use super::presence::Presence;
use crate::observed::{Offered, Track};
use crate::{AgentRecord, CapabilityName, Instance, Load, Weight};

/// Stands for one instance that may be chosen; a handle that is cheap to clone.
///
/// Its load is what this process has in flight there, counted exactly by [`InFlight`], plus what others have, estimated
/// as the difference between the last reported load and this process's own part of it at that moment. Another
/// incarnation is another candidate, and so is an instance that has vanished and is back: what was in flight at the one that
/// has vanished counts nowhere any more, whenever its guards are dropped.
///
/// Among the [`Candidates`](super::Candidates) of a capability it also knows how that capability has gone there.
#[derive(Clone)]
pub struct Candidate {
    inner: Arc<Inner>,
    track: Arc<Track>,
}

struct Inner {
    instance: Instance,
    record: RwLock<Arc<AgentRecord>>,
    weight: AtomicU32,
    slots: AtomicU32,
    /// Which part of its capacity it is given, in 256ths.
    ramp: AtomicU32,
    /// What this process has in flight.
    own: AtomicU32,
    /// What others had in flight at the last report.
    others: AtomicU32,
    /// Set while the registry has left it out of a resync that left out most.
    doubtful: AtomicBool,
    presence: Presence,
    tracks: Mutex<Vec<(CapabilityName, Arc<Track>)>>,
    seats: Mutex<Vec<Seat>>,
}

/// Where the candidate stands in one pool, and who must be told of its load there.
struct Seat {
    position: usize,
    least: Arc<LeastLoaded>,
}

/// A ramp at its end: the whole capacity.
pub(crate) const FULL: u32 = 256;

/// More slots than this count as this many, so that scores keep their precision.
const MOST_SLOTS: u32 = 1 << 16;

impl Candidate {
    /// Makes a candidate of a record, with nothing in flight from here.
    pub fn new(record: Arc<AgentRecord>) -> Self {
        let inner = Inner {
            instance: record.instance.clone(),
            weight: AtomicU32::new(record.weight.as_u32()),
            slots: AtomicU32::new(record.load.slots),
            ramp: AtomicU32::new(FULL),
            own: AtomicU32::new(0),
            others: AtomicU32::new(record.load.in_flight),
            doubtful: AtomicBool::new(false),
            presence: Presence::default(),
            tracks: Mutex::default(),
            seats: Mutex::default(),
            record: RwLock::new(record),
        };
        Self {
            inner: Arc::new(inner),
            track: Arc::new(Track::new(Arc::default())),
        }
    }

    /// Returns the instance that this stands for.
    pub fn instance(&self) -> &Instance {
        &self.inner.instance
    }

    /// Returns its record as last heard; [`load`](Self::load) knows more than the record's own field.
    pub fn record(&self) -> Arc<AgentRecord> {
        Arc::clone(&self.inner.record.read())
    }

    /// Returns its share of the work.
    pub fn weight(&self) -> Weight {
        self.inner.record.read().weight
    }

    /// Returns its load: what is in flight there from here and from others, and its slots.
    pub fn load(&self) -> Load {
        Load::new(self.in_flight(), self.inner.slots.load(Ordering::Relaxed))
    }

    /// Returns how much of its load comes from this process.
    pub fn own_in_flight(&self) -> u32 {
        self.inner.own.load(Ordering::SeqCst)
    }

    /// Returns how much work it is meant to get, in proportion to the others: its weight times its slots, less while it
    /// has a [`SlowStart`](crate::SlowStart). An instance that states no slots counts as having one.
    pub fn capacity(&self) -> u64 {
        let slots = self.inner.slots.load(Ordering::SeqCst);
        let weight = self.inner.weight.load(Ordering::SeqCst).max(1);
        let ramp = self.inner.ramp.load(Ordering::SeqCst);
        u64::from(weight) * u64::from(slots.clamp(1, MOST_SLOTS)) * u64::from(ramp)
    }

    /// Returns the number by which loads are compared: it is in the order of `(in flight + 1) / capacity`, the load that
    /// one more task would bring about, and means nothing else.
    pub fn score(&self) -> u64 {
        let next = f64::from(self.in_flight()) + 1.0;
        // The bits of floating-point numbers that are not negative have the order of the numbers.
        (next / self.capacity() as f64).to_bits()
    }

    /// Returns the estimated time until one more task is done there, by which [`PeakEwma`](super::PeakEwma) compares:
    /// latency × (in flight + 1) ÷ capacity ÷ success rate, in no particular unit.
    ///
    /// As long as nothing is known of an instance it is worth one try: 0 while it has nothing in flight from here, more
    /// than any that is known until the first answer.
    pub fn cost(&self, now: Instant) -> f64 {
        const UNKNOWN: f64 = 1e12;
        let capacity = self.capacity() as f64;
        match self.track.expected(now) {
            Some(expected) => expected * (f64::from(self.in_flight()) + 1.0) / capacity,
            None => UNKNOWN * f64::from(self.own_in_flight()) / capacity,
        }
    }

    /// Returns the latency seen here for the capability, faded since the last task; `None` before the first.
    pub fn latency(&self, now: Instant) -> Option<Duration> {
        self.track.latency(now)
    }

    /// Returns the share of successes among the last outcomes of the capability seen here, 1 before the first.
    pub fn success_rate(&self) -> f64 {
        self.track.success().0
    }

    /// Returns until when it is ejected for the capability, if it is.
    pub fn ejected_until(&self) -> Option<Instant> {
        self.track.ejected_until()
    }

    /// Completes when the instance has left the registry or has been evicted: what is in flight there is to be done
    /// elsewhere. Completes at once if that is so already.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static {
        self.inner.presence.lost()
    }

    /// Counts one task as in flight there until the guard is dropped.
    pub fn begin(&self) -> InFlight {
        self.inner.own.fetch_add(1, Ordering::SeqCst);
        self.tell_pools();
        InFlight::new(self.clone())
    }

    pub(super) fn end_one(&self) {
        self.inner.own.fetch_sub(1, Ordering::SeqCst);
        self.tell_pools();
    }

    /// Takes over a newer record of the same instance; whoever changes its capacity must reseat it too.
    pub(crate) fn set_record(&self, record: Arc<AgentRecord>) {
        let inner = &*self.inner;
        let own = inner.own.load(Ordering::SeqCst);
        inner
            .others
            .store(record.load.in_flight.saturating_sub(own), Ordering::SeqCst);
        inner.slots.store(record.load.slots, Ordering::SeqCst);
        inner.weight.store(record.weight.as_u32(), Ordering::SeqCst);
        *inner.record.write() = record;
        self.tell_pools();
    }

    /// Sets which part of its capacity it is given, in 256ths; whoever does must tell its gatherings.
    pub(crate) fn set_ramp(&self, ramp: u32) {
        self.inner.ramp.store(ramp.clamp(1, FULL), Ordering::SeqCst);
        self.tell_pools();
    }

    pub(crate) fn ramp(&self) -> u32 {
        self.inner.ramp.load(Ordering::SeqCst)
    }

    pub(crate) fn presence(&self) -> &Presence {
        &self.inner.presence
    }

    pub(crate) fn is_doubtful(&self) -> bool {
        self.inner.doubtful.load(Ordering::Relaxed)
    }

    pub(crate) fn set_doubtful(&self, doubtful: bool) {
        self.inner.doubtful.store(doubtful, Ordering::Relaxed);
    }

    /// Tells whether both stand for the same stay of an instance.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(crate) fn track(&self) -> &Arc<Track> {
        &self.track
    }

    /// Returns the handle that knows how the capability has gone here; the same each time for the same `all`.
    pub(crate) fn offering(&self, name: &CapabilityName, all: &Arc<Offered>) -> Self {
        let mut tracks = self.inner.tracks.lock();
        let known = tracks.iter().position(|(known, _)| known == name);
        let track = match known {
            Some(at) if tracks[at].1.is_part_of(all) => Arc::clone(&tracks[at].1),
            _ => {
                let track = Arc::new(Track::new(Arc::clone(all)));
                if let Some(outdated) = known {
                    tracks.swap_remove(outdated);
                }
                tracks.push((name.clone(), Arc::clone(&track)));
                track
            }
        };
        Self {
            inner: Arc::clone(&self.inner),
            track,
        }
    }

    /// Forgets how the capabilities have gone that it offers no more.
    pub(crate) fn keep_tracks(&self, offered: impl Fn(&CapabilityName) -> bool) {
        self.inner.tracks.lock().retain(|(name, _)| offered(name));
    }

    pub(super) fn sit(&self, position: usize, least: &Arc<LeastLoaded>) {
        let mut seats = self.inner.seats.lock();
        seats.push(Seat {
            position,
            least: Arc::clone(least),
        });
        least.report(position, || self.score());
    }

    pub(super) fn move_to(&self, position: usize, least: &Arc<LeastLoaded>) {
        let mut seats = self.inner.seats.lock();
        if let Some(seat) = seats
            .iter_mut()
            .find(|seat| Arc::ptr_eq(&seat.least, least))
        {
            seat.position = position;
            least.report(position, || self.score());
        }
    }

    /// Returns its position in one pool.
    pub(super) fn position(&self, least: &Arc<LeastLoaded>) -> Option<usize> {
        let seats = self.inner.seats.lock();
        let seat = seats.iter().find(|seat| Arc::ptr_eq(&seat.least, least))?;
        Some(seat.position)
    }

    /// Gives up the seat in one pool and returns its position.
    pub(super) fn stand_up(&self, least: &Arc<LeastLoaded>) -> Option<usize> {
        let mut seats = self.inner.seats.lock();
        let found = seats
            .iter()
            .position(|seat| Arc::ptr_eq(&seat.least, least))?;
        Some(seats.swap_remove(found).position)
    }

    /// Returns in how many gatherings it stands.
    #[cfg(test)]
    pub(crate) fn seats(&self) -> usize {
        self.inner.seats.lock().len()
    }

    fn in_flight(&self) -> u32 {
        let own = self.inner.own.load(Ordering::SeqCst);
        own.saturating_add(self.inner.others.load(Ordering::SeqCst))
    }

    /// Reports to every tree in which it stands. The seats stay locked meanwhile, so that positions cannot move.
    fn tell_pools(&self) {
        for seat in self.inner.seats.lock().iter() {
            seat.least.report(seat.position, || self.score());
        }
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("instance", &self.inner.instance)
            .field("load", &self.load())
            .finish_non_exhaustive()
    }
}
