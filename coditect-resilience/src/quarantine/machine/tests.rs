//! The machine against a naive model that remembers everything and counts it afresh at each step.

use proptest::prelude::*;

use super::*;
use crate::Backoff;

/// After how many milliseconds it is probed.
const PROBE: u64 = 50;

/// A quarantine written for clearness alone.
struct Model {
    failures: usize,
    of: usize,
    within: u64,
    history: Vec<(u64, Option<u8>)>,
    /// The kind, and when it may be probed.
    held: Option<(u8, u64)>,
    /// The probe under way that still counts.
    probe: Option<usize>,
}

impl Model {
    fn record(&mut self, now: u64, outcome: Option<u8>) -> bool {
        if self.held.is_some() {
            return false;
        }
        self.history.push((now, outcome));
        let last = self.history.iter().rev().take(self.of);
        let last = last.filter(|(at, _)| now - at <= self.within);
        let trips = outcome.is_some_and(|kind| {
            last.filter(|(_, other)| *other == Some(kind)).count() >= self.failures
        });
        if trips {
            self.history.clear();
            self.held = outcome.map(|kind| (kind, now + PROBE));
        }
        trips
    }

    fn probe(&mut self, now: u64, number: usize) -> bool {
        let due = self.held.is_some_and(|(_, at)| at <= now);
        if due && self.probe.is_none() {
            self.probe = Some(number);
            return true;
        }
        false
    }

    fn probed(&mut self, now: u64, number: usize, passed: bool) {
        if self.probe != Some(number) {
            return;
        }
        self.probe = None;
        match &mut self.held {
            Some(_) if passed => self.held = None,
            Some((_, at)) => *at = now + PROBE,
            None => {}
        }
    }

    fn release(&mut self) {
        self.history.clear();
        (self.held, self.probe) = (None, None);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Record(Option<u8>),
    Probe,
    /// Of the probe with this index among those that were let through.
    Probed(prop::sample::Index, bool),
    GiveUp(prop::sample::Index),
    Release,
    Adopt(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::option::weighted(0.7, 0..3_u8).prop_map(Step::Record),
        3 => Just(Step::Probe),
        2 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(of, passed)| Step::Probed(of, passed)),
        1 => any::<prop::sample::Index>().prop_map(Step::GiveUp),
        1 => Just(Step::Release),
        1 => (0..3_u8).prop_map(Step::Adopt),
    ]
}

proptest! {
    #[test]
    fn the_quarantine_agrees_with_a_naive_count(
        (failures, of) in (1..6_u32).prop_flat_map(|failures| (Just(failures), failures..12)),
        within in 1..200_u64,
        steps in prop::collection::vec((0..40_u64, step()), 0..200),
    ) {
        let policy = QuarantinePolicy::new(failures, of, Duration::from_millis(within)).unwrap();
        let policy = policy.with_probe_after(Backoff::constant(Duration::from_millis(PROBE)));
        let mut machine = QuarantineMachine::new(&policy);
        let mut model = Model {
            failures: failures as usize,
            of: of as usize,
            within,
            history: Vec::new(),
            held: None,
            probe: None,
        };
        let start = Instant::now();
        let (mut now, mut probes) = (0, Vec::new());
        for (passed, step) in steps {
            now += passed;
            let at = start + Duration::from_millis(now);
            match step {
                Step::Record(outcome) => {
                    let trips = machine.record(&policy, outcome, at, || 0.0);
                    prop_assert_eq!(trips, model.record(now, outcome));
                }
                Step::Probe => {
                    let looked = machine.look(&policy, at);
                    let probe = machine.probe(&policy, at);
                    prop_assert_eq!(looked.is_ok(), probe.is_ok());
                    prop_assert_eq!(probe.is_ok(), model.probe(now, probes.len()));
                    if let Err(Some(left)) = probe {
                        let due = model.held.map(|(_, due)| due - now);
                        prop_assert_eq!(Some(left), due.map(Duration::from_millis));
                    }
                    probes.extend(probe.map(Some));
                }
                Step::Probed(of, passed) if !probes.is_empty() => {
                    let number = of.index(probes.len());
                    if let Some(probe) = probes[number].take() {
                        machine.probed(&policy, probe, passed, at, || 0.0);
                        model.probed(now, number, passed);
                    }
                }
                Step::GiveUp(of) if !probes.is_empty() => {
                    let number = of.index(probes.len());
                    if let Some(probe) = probes[number].take() {
                        machine.give_up(probe);
                        model.probe = model.probe.filter(|under_way| *under_way != number);
                    }
                }
                Step::Release => {
                    prop_assert_eq!(machine.release(&policy), model.held.is_some());
                    model.release();
                }
                Step::Adopt(kind) => {
                    machine.adopt(&policy, kind, Duration::from_millis(PROBE), at);
                    if model.held.is_none() {
                        model.history.clear();
                        model.held = Some((kind, now + PROBE));
                    }
                }
                _ => {}
            }
            prop_assert_eq!(machine.held().copied(), model.held.map(|(kind, _)| kind));
            prop_assert!(machine.recent.len() <= of as usize);
        }
    }
}

#[test]
fn a_policy_that_could_never_hold_is_refused() {
    let minute = Duration::from_secs(60);
    for (failures, of, within) in [
        (0, 5, minute),
        (6, 5, minute),
        (1, 1_001, minute),
        (1, 1, Duration::ZERO),
    ] {
        let refused = QuarantinePolicy::new(failures, of, within).unwrap_err();
        assert_eq!(refused.kind(), crate::ErrorKind::InvalidPolicy);
    }
}
