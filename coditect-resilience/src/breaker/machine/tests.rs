//! The machine against a naive model that remembers everything and counts it afresh at each step.

use proptest::prelude::*;

use super::super::policy::Window;
use super::*;
use crate::{Backoff, Jitter};

/// A breaker written for clearness alone.
struct Model {
    policy: BreakerPolicy,
    state: BreakerState,
    /// Everything since it was last closed: at which millisecond, and how.
    history: Vec<(u64, CallOutcome)>,
    until: u64,
    openings: u32,
    open_for: Option<Duration>,
    /// The probes under way, by the number of their admission.
    probes: Vec<usize>,
    passed: u32,
    /// The admissions of this phase.
    current: Vec<usize>,
}

impl Model {
    fn enter(&mut self, state: BreakerState) {
        self.state = state;
        self.current.clear();
        self.probes.clear();
        self.passed = 0;
    }

    fn admit(&mut self, now: u64, number: usize) -> Result<bool, Option<u64>> {
        if self.state == BreakerState::Open {
            if now < self.until {
                return Err(Some(self.until - now));
            }
            self.enter(BreakerState::HalfOpen);
        }
        match self.state {
            BreakerState::ForcedOpen => return Err(None),
            BreakerState::HalfOpen if self.probes.len() >= self.policy.probes() as usize => {
                return Err(None);
            }
            BreakerState::HalfOpen => self.probes.push(number),
            _ => {}
        }
        self.current.push(number);
        Ok(self.state == BreakerState::HalfOpen)
    }

    fn record(&mut self, now: u64, number: usize, outcome: CallOutcome, random: f64) {
        if !self.current.contains(&number) {
            return;
        }
        self.release(number);
        match self.state {
            BreakerState::Closed => {
                self.history.push((now, outcome));
                if self.trips(now) {
                    self.open(now, random);
                }
            }
            BreakerState::HalfOpen if outcome.failed || outcome.slow => self.open(now, random),
            BreakerState::HalfOpen => {
                self.passed += 1;
                if self.passed == self.policy.successes_to_close() {
                    self.close();
                }
            }
            _ => {}
        }
    }

    fn release(&mut self, number: usize) {
        self.current.retain(|other| *other != number);
        self.probes.retain(|other| *other != number);
    }

    fn open(&mut self, now: u64, random: f64) {
        self.openings += 1;
        let backoff = self.policy.open_for();
        let delay = backoff.delay(self.openings, self.open_for, random);
        self.open_for = Some(delay);
        self.until = now + delay.as_millis() as u64;
        self.enter(BreakerState::Open);
    }

    fn close(&mut self) {
        (self.openings, self.open_for) = (0, None);
        self.history.clear();
        self.enter(BreakerState::Closed);
    }

    fn trips(&self, now: u64) -> bool {
        let row = self.history.iter().rev();
        let row = row.take_while(|(_, outcome)| outcome.failed).count();
        if self
            .policy
            .consecutive_failures()
            .is_some_and(|limit| row >= limit as usize)
        {
            return true;
        }
        let first = self.history[0].0;
        let held: Vec<_> = match self.policy.window() {
            Window::Calls(calls) => self.history.iter().rev().take(calls as usize).collect(),
            Window::Time(span) => {
                let step = |at: u64| (at - first) * 10 / span.as_millis() as u64;
                let held = self.history.iter();
                held.filter(|(at, _)| step(*at) + 10 > step(now)).collect()
            }
        };
        let share = |count: usize| count as f64 / held.len() as f64;
        let failed = share(held.iter().filter(|(_, outcome)| outcome.failed).count());
        let slow = share(held.iter().filter(|(_, outcome)| outcome.slow).count());
        held.len() >= self.policy.min_calls() as usize
            && (self
                .policy
                .failure_rate()
                .is_some_and(|rate| failed >= rate)
                || self
                    .policy
                    .slow_calls()
                    .is_some_and(|(_, rate)| slow >= rate))
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Admit,
    Finish(usize, CallOutcome, f64),
    Drop(usize),
    Wait(u64),
    ForceOpen,
    ForceClosed,
    Reset,
    AdoptOpen(u64),
    AdoptProbing,
}

fn any_step() -> impl Strategy<Value = Step> {
    let finish = (
        any::<usize>(),
        prop::bool::weighted(0.6),
        prop::bool::weighted(0.3),
        0.0..1.0,
    );
    prop_oneof![
        12 => Just(Step::Admit),
        12 => finish.prop_map(|(number, failed, slow, random)| {
            Step::Finish(number, CallOutcome { failed, slow }, random)
        }),
        2 => any::<usize>().prop_map(Step::Drop),
        8 => (0_u64..400).prop_map(Step::Wait),
        1 => Just(Step::ForceOpen),
        1 => Just(Step::ForceClosed),
        3 => Just(Step::Reset),
        1 => (0_u64..1_000).prop_map(Step::AdoptOpen),
        1 => Just(Step::AdoptProbing),
    ]
}

fn any_policy() -> impl Strategy<Value = BreakerPolicy> {
    let signs = (
        prop::option::of(1_u32..6),
        prop::option::of(prop::sample::select(vec![0.25, 0.5, 1.0])),
        prop::option::of(prop::sample::select(vec![0.5, 0.75])),
    );
    let window = prop_oneof![
        (8_u32..20).prop_map(Window::Calls),
        // Whole milliseconds in each tenth, so that the model can count in them.
        (1_u64..100).prop_map(|ms| Window::Time(Duration::from_millis(ms * 10))),
    ];
    (signs, window, 1_u32..8, 1_u32..3, 1_u32..4).prop_filter_map(
        "nothing trips it",
        |((row, failed, slow), window, min, probes, successes)| {
            let open = Backoff::new(Duration::from_millis(100), Duration::from_millis(800)).ok()?;
            let mut builder = BreakerPolicy::builder()
                // Without jitter the open time is whole milliseconds, as the model's.
                .open_for(open.with_jitter(Jitter::None))
                .window(window)
                .min_calls(min)
                .probes(probes)
                .successes_to_close(successes);
            if let Some(row) = row {
                builder = builder.consecutive_failures(row);
            }
            if let Some(rate) = failed {
                builder = builder.failure_rate(rate);
            }
            if let Some(rate) = slow {
                builder = builder.slow_calls(Duration::from_secs(1), rate);
            }
            builder.build().ok()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_machine_agrees_with_the_naive_model(
        policy in any_policy(),
        steps in prop::collection::vec(any_step(), 0..150),
    ) {
        let start = Instant::now();
        let mut machine = BreakerMachine::new(&policy);
        let mut model = Model {
            policy, state: BreakerState::Closed, history: vec![], until: 0, openings: 0, open_for: None,
            probes: vec![], passed: 0, current: vec![],
        };
        let (mut now, mut under_way, mut number) = (0_u64, Vec::new(), 0);
        for step in steps {
            let at = start + Duration::from_millis(now);
            match step {
                Step::Wait(ms) => now += ms,
                Step::Admit => {
                    number += 1;
                    let looked = machine.look(&policy, at);
                    let admitted = machine.admit(&policy, at);
                    prop_assert_eq!(looked, admitted.map(drop), "a look tells what would be said");
                    let expected = model.admit(now, number);
                    prop_assert_eq!(
                        admitted.map(Admission::is_probe),
                        expected.map_err(|left| left.map(Duration::from_millis))
                    );
                    under_way.extend(admitted.ok().map(|admission| (number, admission)));
                }
                Step::Finish(..) | Step::Drop(_) if under_way.is_empty() => {}
                Step::Finish(i, outcome, random) => {
                    let (number, admission) = under_way.swap_remove(i % under_way.len());
                    machine.record(&policy, admission, outcome, at, || random);
                    model.record(now, number, outcome, random);
                }
                Step::Drop(i) => {
                    let (number, admission) = under_way.swap_remove(i % under_way.len());
                    machine.release(admission);
                    model.release(number);
                }
                Step::ForceOpen => {
                    machine.force_open();
                    model.enter(BreakerState::ForcedOpen);
                }
                Step::ForceClosed => {
                    machine.force_closed();
                    model.enter(BreakerState::ForcedClosed);
                }
                Step::Reset => {
                    machine.reset(&policy);
                    model.close();
                }
                Step::AdoptOpen(ms) => {
                    machine.adopt_open(&policy, Duration::from_millis(ms), at);
                    let span = ms.min(800);
                    if model.state == BreakerState::Closed {
                        (model.openings, model.open_for) = (1, Some(Duration::from_millis(span)));
                        model.until = now + span;
                        model.enter(BreakerState::Open);
                    } else if model.state == BreakerState::Open {
                        model.until = model.until.max(now + span);
                    }
                }
                Step::AdoptProbing => {
                    machine.adopt_probing();
                    if matches!(model.state, BreakerState::Closed | BreakerState::Open) {
                        model.enter(BreakerState::HalfOpen);
                    }
                }
            }
            prop_assert_eq!(machine.state(), model.state);
        }
    }
}

#[test]
fn the_open_time_grows_with_each_failed_probe_and_begins_anew_once_closed() {
    let policy = BreakerPolicy::builder()
        .consecutive_failures(1)
        .open_for(
            Backoff::new(Duration::from_secs(1), Duration::from_secs(4))
                .unwrap()
                .with_jitter(Jitter::None),
        )
        .successes_to_close(1)
        .build()
        .unwrap();
    let mut machine = BreakerMachine::new(&policy);
    let mut now = Instant::now();
    for seconds in [1, 2, 4, 4] {
        let call = machine.admit(&policy, now).unwrap();
        machine.record(&policy, call, CallOutcome::FAILURE, now, || 0.0);
        assert_eq!(machine.open_left(now), Some(Duration::from_secs(seconds)));
        now += Duration::from_secs(seconds);
    }
    let probe = machine.admit(&policy, now).unwrap();
    machine.record(&policy, probe, CallOutcome::SUCCESS, now, || 0.0);
    assert_eq!(machine.state(), BreakerState::Closed);
    let call = machine.admit(&policy, now).unwrap();
    machine.record(&policy, call, CallOutcome::FAILURE, now, || 0.0);
    assert_eq!(machine.open_left(now), Some(Duration::from_secs(1)));
}
