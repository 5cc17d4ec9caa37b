//! Who is chosen: fairness, exactness, and that counts stay right under threads.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::{AgentRecord, Health, Incarnation, Load, Weight};

fn candidate(number: usize, weight: u32, in_flight: u32) -> Candidate {
    let record = AgentRecord::new(format!("a{number}").parse().unwrap(), Incarnation::fresh())
        .with_weight(Weight::new(weight).unwrap())
        .with_load(Load::new(in_flight, 8));
    Candidate::new(Arc::new(record))
}

fn candidates(weights_and_loads: &[(u32, u32)]) -> Candidates {
    Candidates::new(
        weights_and_loads
            .iter()
            .enumerate()
            .map(|(i, &(weight, load))| candidate(i, weight, load)),
    )
}

fn weights_and_loads() -> impl Strategy<Value = Vec<(u32, u32)>> {
    prop::collection::vec((1..10u32, 0..6u32), 1..40)
}

/// How often each position is chosen by random numbers that are evenly spaced.
fn tally(candidates: &Candidates, selector: &dyn Selector, picks: u64) -> HashMap<usize, u64> {
    let mut tally = HashMap::new();
    for i in 0..picks {
        let random = u64::MAX / picks * i + u64::MAX / picks / 2;
        *tally
            .entry(selector.select(candidates, Instant::now(), random).unwrap())
            .or_default() += 1;
    }
    tally
}

#[test]
fn nobody_is_chosen_among_none() {
    let none = Candidates::default();
    for selector in [
        &RoundRobin as &dyn Selector,
        &LeastConnections,
        &PowerOfTwoChoices,
        &PeakEwma,
        &Weighted,
    ] {
        assert_eq!(
            selector.select(&none, Instant::now(), 7),
            None,
            "{selector:?}"
        );
    }
}

proptest! {
    #[test]
    fn round_robin_gives_each_exactly_one_turn_in_any_n(members in weights_and_loads(), offset in 0..50usize) {
        let candidates = candidates(&members);
        for _ in 0..offset {
            RoundRobin.select(&candidates, Instant::now(), 0);
        }
        let tally = tally(&candidates, &RoundRobin, members.len() as u64);
        prop_assert!((0..members.len()).all(|position| tally[&position] == 1));
    }

    #[test]
    fn weighted_is_proportional(members in weights_and_loads()) {
        let candidates = candidates(&members);
        let total: u32 = members.iter().map(|(weight, _)| weight).sum();
        let tally = tally(&candidates, &Weighted, u64::from(total) * 10);
        for (position, (weight, _)) in members.iter().enumerate() {
            prop_assert_eq!(tally[&position], u64::from(*weight) * 10);
        }
    }

    #[test]
    fn two_choices_draw_two_and_never_take_the_more_loaded(members in weights_and_loads(), random: u64) {
        let candidates = candidates(&members);
        let (first, second) = PowerOfTwoChoices::draw(members.len(), random);
        prop_assert_eq!(first == second, members.len() == 1);
        let chosen = PowerOfTwoChoices.select(&candidates, Instant::now(), random).unwrap();
        prop_assert!(chosen == first || chosen == second);
        let other = first + second - chosen;
        prop_assert!(candidates.get(chosen).unwrap().score() <= candidates.get(other).unwrap().score());
    }

    #[test]
    fn least_connections_finds_the_least_through_any_comings_and_goings(
        members in weights_and_loads(),
        steps in prop::collection::vec((0..5u8, any::<prop::sample::Index>(), any::<u64>()), 1..100),
    ) {
        let mut candidates = candidates(&members);
        let (mut in_flight, mut outside, mut number) = (Vec::new(), Vec::new(), members.len());
        for (kind, index, random) in steps {
            match kind {
                0 if !candidates.is_empty() => {
                    let leaving = candidates.get(index.index(candidates.len())).unwrap().clone();
                    candidates.remove(&leaving);
                    outside.push(leaving);
                }
                1 if !outside.is_empty() => candidates.insert(outside.swap_remove(index.index(outside.len()))),
                2 => {
                    number += 1;
                    candidates.insert(candidate(number, 1 + random as u32 % 9, 0));
                }
                3 if !in_flight.is_empty() => drop(in_flight.swap_remove(index.index(in_flight.len()))),
                _ if !candidates.is_empty() => {
                    in_flight.push(candidates.get(index.index(candidates.len())).unwrap().begin());
                }
                _ => {}
            }
            let chosen = candidates.least_loaded(random).map(|position| candidates.get(position).unwrap().score());
            prop_assert_eq!(chosen, candidates.iter().map(Candidate::score).min());
        }
    }
}

#[test]
fn two_choices_reach_everyone() {
    let tally = tally(&candidates(&[(1, 0); 5]), &PowerOfTwoChoices, 5000);
    assert!(
        (0..5).all(|position| (900..1100).contains(&tally[&position])),
        "{tally:?}"
    );
}

#[test]
fn least_connections_is_fair_among_equals() {
    let tally = tally(
        &candidates(&[(1, 3), (1, 0), (1, 0), (1, 5), (1, 0)]),
        &LeastConnections,
        300,
    );
    assert_eq!(tally, HashMap::from([(1, 100), (2, 100), (4, 100)]));
}

#[test]
fn least_connections_fills_up_in_proportion_to_the_weights() {
    let candidates = candidates(&[(1, 0), (2, 0), (5, 0)]);
    let _work: Vec<InFlight> = (0..80)
        .map(|random| {
            candidates
                .get(
                    LeastConnections
                        .select(&candidates, Instant::now(), random)
                        .unwrap(),
                )
                .unwrap()
                .begin()
        })
        .collect();
    assert_eq!(
        candidates
            .iter()
            .map(Candidate::own_in_flight)
            .collect::<Vec<_>>(),
        [10, 20, 50]
    );
}

#[test]
fn a_report_counts_what_others_have_in_flight_and_not_our_own_twice() {
    let candidate = candidate(0, 1, 3);
    let ours = [candidate.begin(), candidate.begin()];
    assert_eq!(candidate.load().in_flight, 5);
    let report = |load| {
        candidate.set_record(Arc::new(
            AgentRecord::clone(&candidate.record()).with_load(load),
        ))
    };
    report(Load::new(6, 8));
    assert_eq!(candidate.load(), Load::new(6, 8));
    drop(ours);
    assert_eq!(candidate.load().in_flight, 4);
    report(Load::new(0, 8));
    assert_eq!(
        (candidate.load().in_flight, candidate.own_in_flight()),
        (0, 0)
    );
}

#[test]
fn scores_do_not_overflow() {
    let score = candidate(0, 1, u32::MAX).score();
    assert!(score > candidate(0, 1, u32::MAX - 2).score() && score < u64::MAX);
    assert!(candidate(0, 65_535, 0).score() > 0);
}

#[test]
fn a_gathering_that_is_dropped_leaves_no_seat_behind() {
    let candidate = candidate(0, 1, 0);
    drop(Candidates::new([candidate.clone()]));
    assert_eq!(candidate.seats(), 0);
    let _work = candidate.begin();
    assert_eq!(candidate.record().health, Health::Ready);
}

#[test]
fn counts_and_tree_agree_after_many_threads() {
    let candidates = candidates(&[(1, 0); 7]);
    let kept: Vec<InFlight> = std::thread::scope(|scope| {
        let work = |thread: u64| {
            let candidates = &candidates;
            move || {
                let mut kept = Vec::new();
                for i in 0..5_000_u64 {
                    let random = (i * 4 + thread).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                    let chosen = candidates
                        .get(
                            LeastConnections
                                .select(candidates, Instant::now(), random)
                                .unwrap(),
                        )
                        .unwrap();
                    let in_flight = chosen.begin();
                    if i % 50 == 0 {
                        kept.push(in_flight);
                    }
                }
                kept
            }
        };
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(work(thread))).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let total: u32 = candidates.iter().map(Candidate::own_in_flight).sum();
    assert_eq!(total as usize, kept.len());
    let least = candidates.iter().map(Candidate::score).min().unwrap();
    for random in 0..20 {
        let chosen = candidates.least_loaded(random << 59).unwrap();
        assert_eq!(candidates.get(chosen).unwrap().score(), least);
    }
    drop(kept);
    assert!(
        candidates
            .iter()
            .all(|candidate| candidate.own_in_flight() == 0)
    );
}
