//! What a simulation shares: one source of chance, one record of what happened, and whether faults still happen.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use coditect_harness::Random;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::faults::Faults;

/// Something that happened, in a form that is cheap to keep and to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    at_ms: u64,
    /// Of which node; 255 is nobody's.
    node: u8,
    what: &'static str,
    of: [u64; 2],
}

/// Nobody's node.
pub(crate) const NOBODY: u8 = u8::MAX;

/// One simulated world.
pub(crate) struct World {
    random: Mutex<Random>,
    events: Mutex<Vec<Event>>,
    violations: Mutex<Vec<String>>,
    faulty: AtomicBool,
    begun: Instant,
    pub(crate) faults: Faults,
}

impl World {
    pub(crate) fn new(mut random: Random, faults: impl FnOnce(&mut Random) -> Faults) -> Self {
        let faults = faults(&mut random);
        Self {
            random: Mutex::new(random),
            events: Mutex::default(),
            violations: Mutex::default(),
            faulty: AtomicBool::new(true),
            begun: Instant::now(),
            faults,
        }
    }

    /// The time at which every simulation begins.
    pub(crate) fn epoch() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.random.lock().below(bound)
    }

    pub(crate) fn number(&self) -> u64 {
        self.random.lock().number()
    }

    /// Says whether a fault that has so many chances in 10,000 happens now.
    pub(crate) fn hits(&self, chances: u64) -> bool {
        chances > 0 && self.is_faulty() && self.below(10_000) < chances
    }

    pub(crate) fn is_faulty(&self) -> bool {
        self.faulty.load(Ordering::Relaxed)
    }

    /// Ends all faults.
    pub(crate) fn calm_down(&self) {
        self.faulty.store(false, Ordering::Relaxed);
        self.note(NOBODY, "faults end", [0, 0]);
    }

    pub(crate) fn note(&self, node: u8, what: &'static str, of: [u64; 2]) {
        let at_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.events.lock().push(Event {
            at_ms,
            node,
            what,
            of,
        });
    }

    /// Takes note of a broken promise.
    pub(crate) fn violated(&self, text: String) {
        self.note(NOBODY, "VIOLATED", [0, 0]);
        self.violations.lock().push(text);
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().clone()
    }

    /// A number in which two different courses of events differ.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut mix = |number: u64| {
            hash = (hash ^ number).wrapping_mul(0x0100_0000_01b3);
            hash ^= hash >> 29;
        };
        for event in self.events.lock().iter() {
            mix(event.at_ms);
            mix(u64::from(event.node));
            event.what.bytes().for_each(|byte| mix(u64::from(byte)));
            event.of.iter().for_each(|number| mix(*number));
        }
        hash
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().clone()
    }

    /// What has happened at least once.
    pub(crate) fn happened(&self) -> BTreeSet<&'static str> {
        self.events.lock().iter().map(|event| event.what).collect()
    }

    /// The last events, a line each.
    pub(crate) fn last_events(&self, count: usize) -> String {
        let events = self.events.lock();
        let mut text = String::new();
        for event in &events[events.len().saturating_sub(count)..] {
            let Event {
                at_ms,
                node,
                what,
                of,
            } = event;
            let who = match *node {
                NOBODY => "-".to_owned(),
                node => node.to_string(),
            };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{at_ms:>8} ms  {who:>2}  {what:<24} {of:x?}");
        }
        text
    }
}
