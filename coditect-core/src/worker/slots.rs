//! The slots in which an agent works: as many as its card says, or as many as it is found to bear.

use std::sync::Arc;
use std::time::Duration;

use coditect_resilience::{AdaptiveLimit, AdaptivePolicy, Sample};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

/// Slots, first come, first served.
pub(super) struct Slots {
    free: Arc<Semaphore>,
    /// How many there are where nothing is found out.
    fixed: usize,
    adaptive: Option<Arc<Adaptive>>,
}

/// A limit that is found out.
struct Adaptive {
    free: Arc<Semaphore>,
    policy: AdaptivePolicy,
    state: Mutex<State>,
    /// For how many it is worth to fetch work, so that the rest is there for others.
    width: watch::Sender<usize>,
}

struct State {
    limit: AdaptiveLimit,
    /// How many slots there are, free or not. While work ends that was begun under a higher limit, they are more than that.
    slots: usize,
}

/// One slot; given back when dropped, or given up where there are too many.
#[derive(Debug)]
pub(super) struct Place {
    permit: Option<OwnedSemaphorePermit>,
    adaptive: Option<Arc<Adaptive>>,
}

/// A call that is measured.
pub(super) struct Measured {
    begun: Instant,
    in_flight: u32,
}

/// What a call has shown of how much its agent bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// It was done in the time that has passed.
    Borne,
    /// It was one too many.
    Overload,
}

impl Slots {
    pub(super) fn new(fixed: usize, adaptive: Option<AdaptivePolicy>) -> Self {
        let start = adaptive.map_or(fixed, |policy| policy.start() as usize);
        let start = start.min(Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(start));
        let adaptive = adaptive.map(|policy| {
            Arc::new(Adaptive {
                free: Arc::clone(&free),
                policy,
                state: Mutex::new(State {
                    limit: AdaptiveLimit::new(&policy),
                    slots: start,
                }),
                width: watch::Sender::new(width(start)),
            })
        });
        Self {
            free,
            fixed,
            adaptive,
        }
    }

    /// How many there may be at once, now.
    pub(super) fn limit(&self) -> usize {
        match &self.adaptive {
            Some(adaptive) => adaptive.state.lock().limit.limit() as usize,
            None => self.fixed,
        }
    }

    /// How many deliveries of a capability are worth fetching at once: somewhat more than there are slots, and the same for a
    /// while.
    pub(super) fn width(&self) -> usize {
        match &self.adaptive {
            Some(adaptive) => *adaptive.width.borrow(),
            None => self.fixed,
        }
    }

    /// Waits until [`width`](Self::width) is another.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn widened(&self, from: usize) {
        let Some(adaptive) = &self.adaptive else {
            return std::future::pending().await;
        };
        let mut width = adaptive.width.subscribe();
        // The sender lives as long as this.
        let _ = width.wait_for(|width| *width != from).await;
    }

    pub(super) fn in_use(&self) -> usize {
        let free = self.free.available_permits();
        match &self.adaptive {
            Some(adaptive) => adaptive.state.lock().slots.saturating_sub(free),
            None => self.fixed.saturating_sub(free),
        }
    }

    pub(super) fn has_free(&self) -> bool {
        self.free.available_permits() > 0
    }

    pub(super) fn try_take(&self) -> Option<Place> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(self.place(Some(permit)))
    }

    /// Takes the next free one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in the queue.
    pub(super) async fn take(&self) -> Place {
        let permit = Arc::clone(&self.free).acquire_owned().await;
        // The semaphore is never closed.
        self.place(permit.ok())
    }

    fn place(&self, permit: Option<OwnedSemaphorePermit>) -> Place {
        Place {
            permit,
            adaptive: self.adaptive.clone(),
        }
    }

    /// Begins to measure a call, where that says something.
    pub(super) fn measure(&self) -> Option<Measured> {
        self.adaptive.as_ref()?;
        Some(Measured {
            begun: Instant::now(),
            in_flight: u32::try_from(self.in_use()).unwrap_or(u32::MAX),
        })
    }

    /// Learns from a call; says whether there are more slots now.
    pub(super) fn learn(&self, measured: &Measured, load: Load) -> bool {
        let Some(adaptive) = &self.adaptive else {
            return false;
        };
        let latency = match load {
            Load::Borne => measured.begun.elapsed(),
            Load::Overload => Duration::ZERO,
        };
        adaptive.learn(Sample {
            latency,
            in_flight: measured.in_flight,
            overloaded: load == Load::Overload,
        })
    }
}

impl Adaptive {
    fn learn(&self, sample: Sample) -> bool {
        let mut state = self.state.lock();
        state.limit.sample(&self.policy, sample);
        let limit = state.limit.limit() as usize;
        let has_more = limit > state.slots;
        if has_more {
            self.free.add_permits(limit - state.slots);
            state.slots = limit;
        } else {
            // What is in use is given up when it comes back.
            state.slots -= self.free.forget_permits(state.slots - limit);
        }
        drop(state);
        self.width.send_if_modified(|known| {
            let now = width(limit);
            std::mem::replace(known, now) != now
        });
        has_more
    }

    /// Takes a slot back, unless there are too many.
    fn give_back(&self, permit: OwnedSemaphorePermit) {
        // Under the lock, or a limit that falls meanwhile would find neither a free slot nor one in use.
        let mut state = self.state.lock();
        if state.slots > state.limit.limit() as usize {
            state.slots -= 1;
            permit.forget();
        } else {
            drop(permit);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let (Some(adaptive), Some(permit)) = (&self.adaptive, self.permit.take()) {
            adaptive.give_back(permit);
        }
    }
}

impl std::fmt::Debug for Adaptive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Adaptive").finish_non_exhaustive()
    }
}

/// The power of two that is not below: it changes seldom, and a new subscription is due only then.
fn width(limit: usize) -> usize {
    limit.checked_next_power_of_two().unwrap_or(limit)
}

#[cfg(test)]
mod tests;
