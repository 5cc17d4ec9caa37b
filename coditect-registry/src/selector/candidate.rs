//! One agent that may be chosen: its record, and how much it has in flight.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::{Mutex, RwLock};

use super::least_loaded::LeastLoaded;
use crate::{AgentRecord, Instance, Load, Weight};

/// Stands for one instance that may be chosen; a handle that is cheap to clone.
///
/// Its load is what this process has in flight there, counted exactly by [`InFlight`], plus what others have, estimated
/// as the difference between the last reported load and this process's own part of it at that moment.
#[derive(Clone)]
pub struct Candidate {
    inner: Arc<Inner>,
}

struct Inner {
    instance: Instance,
    record: RwLock<Arc<AgentRecord>>,
    weight: AtomicU32,
    slots: AtomicU32,
    /// What this process has in flight.
    own: AtomicU32,
    /// What others had in flight at the last report.
    others: AtomicU32,
    seats: Mutex<Vec<Seat>>,
}

/// Where the candidate stands in one pool, and who must be told of its load there.
struct Seat {
    position: usize,
    least: Arc<LeastLoaded>,
}

impl Candidate {
    /// Makes a candidate of a record, with nothing in flight from here.
    pub fn new(record: Arc<AgentRecord>) -> Self {
        let inner = Inner {
            instance: record.instance.clone(),
            weight: AtomicU32::new(record.weight.as_u32()),
            slots: AtomicU32::new(record.load.slots),
            own: AtomicU32::new(0),
            others: AtomicU32::new(record.load.in_flight),
            seats: Mutex::default(),
            record: RwLock::new(record),
        };
        Self {
            inner: Arc::new(inner),
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

    /// Returns the number by which loads are compared: `(in flight + 1) / weight`, as a fraction of 2³¹.
    ///
    /// It is the load per weight that one more task would bring about.
    pub fn score(&self) -> u64 {
        let next = u64::from(self.in_flight().saturating_add(1));
        (next << 31) / u64::from(self.inner.weight.load(Ordering::SeqCst).max(1))
    }

    /// Counts one task as in flight there until the guard is dropped.
    pub fn begin(&self) -> InFlight {
        self.inner.own.fetch_add(1, Ordering::SeqCst);
        self.tell_pools();
        InFlight {
            candidate: self.clone(),
        }
    }

    /// Takes over a newer record of the same instance; whoever changes weight must reseat it too.
    pub(crate) fn set_record(&self, record: Arc<AgentRecord>) {
        let inner = &*self.inner;
        let own = inner.own.load(Ordering::SeqCst);
        inner
            .others
            .store(record.load.in_flight.saturating_sub(own), Ordering::SeqCst);
        inner.slots.store(record.load.slots, Ordering::Relaxed);
        inner.weight.store(record.weight.as_u32(), Ordering::SeqCst);
        *inner.record.write() = record;
        self.tell_pools();
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

/// Counts one task as in flight at a candidate for as long as it lives.
#[must_use = "the task no longer counts once this is dropped"]
#[derive(Debug)]
pub struct InFlight {
    candidate: Candidate,
}

impl InFlight {
    /// Returns the candidate at which the task is.
    pub fn candidate(&self) -> &Candidate {
        &self.candidate
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.candidate.inner.own.fetch_sub(1, Ordering::SeqCst);
        self.candidate.tell_pools();
    }
}
