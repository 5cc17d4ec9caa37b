//! An agent that fails for a while, wherever it runs, and its breakers, which have it called far less often meanwhile.

use std::time::Duration;

use coditect_core::resilience::{Backoff, BreakerPolicy, Jitter};
use coditect_harness::Random;

/// How many failures in a row open a breaker.
const TRIPS: u32 = 2;
/// How long a breaker stays open, less a random share of up to one half.
const OPEN: Duration = Duration::from_millis(600);
/// How many handlers may have given up their slots to wait for others, on top of those who hold one. A leaf waits for nobody.
const WAITING: u32 = 6;

/// When which agent fails whatever it is given.
#[derive(Clone, Debug)]
pub(crate) struct Outage {
    of: &'static str,
    from: Duration,
    until: Duration,
}

impl Outage {
    pub(crate) fn drawn(random: &mut Random) -> Self {
        let from = Duration::from_millis(500 + random.below(2_500));
        Self {
            of: ["work", "work", "leaf", "split"][random.below(4) as usize],
            from,
            until: from + Duration::from_millis(1_000 + random.below(2_500)),
        }
    }

    pub(crate) fn is_on(&self, agent: &str, at: Duration) -> bool {
        self.of == agent && (self.from..self.until).contains(&at)
    }

    /// How many calls of one agent of one process may fail: those that trip its breaker, those that were under way when it
    /// did, and a probe each time that it was open for as short as it may.
    pub(crate) fn most_calls(&self, slots: usize) -> u32 {
        let probes = (self.until - self.from).as_millis() / (OPEN / 2).as_millis();
        let waiting = match self.of {
            "leaf" => 0,
            _ => WAITING,
        };
        TRIPS + slots as u32 + waiting + probes as u32 + 1
    }
}

/// The breaker of every agent, and of ports that are guarded.
pub(crate) fn breaker() -> BreakerPolicy {
    BreakerPolicy::builder()
        .consecutive_failures(TRIPS)
        .open_for(Backoff::constant(OPEN).with_jitter(Jitter::Equal))
        .build()
        .expect("it trips")
}
