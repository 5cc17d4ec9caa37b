//! Where a runtime takes what differs at every start from: its time, its incarnation, the ids of runs, random numbers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use coditect_dag::RunId;
use coditect_registry::Incarnation;
use coditect_resilience::SplitMix;
use uuid::Uuid;

use crate::clock::Clock;

/// Chance, or what follows from a seed, so that a simulation can be repeated.
#[derive(Debug, Default)]
pub(crate) struct Chance(Option<Seeded>);

#[derive(Debug)]
struct Seeded {
    state: AtomicU64,
    /// What the clock shows when the runtime starts.
    now: SystemTime,
}

impl Chance {
    /// A chance of which everything follows from a seed.
    #[cfg(feature = "test-util")]
    pub(crate) const fn seeded(seed: u64, now: SystemTime) -> Self {
        let state = AtomicU64::new(seed);
        Self(Some(Seeded { state, now }))
    }

    pub(crate) fn clock(&self) -> Clock {
        let now = self.0.as_ref().map(|seeded| seeded.now);
        Clock::start(now.unwrap_or_else(SystemTime::now))
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.uuid()
            .map_or_else(Incarnation::fresh, Incarnation::from_uuid)
    }

    pub(crate) fn run(&self) -> RunId {
        self.uuid().map_or_else(RunId::new, RunId::from_uuid)
    }

    /// A generator of its own for each who asks.
    pub(crate) fn randomness(&self) -> SplitMix {
        self.number()
            .map_or_else(SplitMix::new, SplitMix::from_seed)
    }

    fn uuid(&self) -> Option<Uuid> {
        Some(Uuid::from_u64_pair(self.number()?, self.number()?))
    }

    /// The next number of SplitMix64 (Steele, Lea and Flood, 2014).
    fn number(&self) -> Option<u64> {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = &self.0.as_ref()?.state;
        let mut z = state
            .fetch_add(GAMMA, Ordering::Relaxed)
            .wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(z ^ (z >> 31))
    }
}
