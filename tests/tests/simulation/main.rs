//! A simulation of whole systems under virtual time: coordinators, workers, clients, a bus and a journal on which
//! everything happens that they do not promise not to do, and a witness of the promise.
//!
//! All nodes run in one thread on paused time, and all chance follows from a seed, so that a seed that fails fails
//! again. `CODITECT_SIM_SEEDS` says how many seeds are tried, `CODITECT_SIM_FIRST` from which on, and
//! `CODITECT_SIM_SEED` replays one and prints all that happened.

mod agents;
mod approval;
mod bus;
mod driver;
mod faults;
mod journal;
mod life;
mod meddle;
mod node;
mod outage;
mod planted;
mod ports;
mod scenario;
mod schedules;
mod store;
mod witness;
mod workload;
mod world;

use std::collections::BTreeSet;
use std::io::{Write, stderr};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::driver::{Outcome, count_panics, simulate};
use crate::planted::Planted;

/// How many seeds are tried where nothing is said.
const SEEDS: u64 = 2_000;
/// Seeds that have failed once, when the code and the simulation were as they were.
const REGRESSIONS: [u64; 5] = [20787, 21648, 22788, 23858, 24741];

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.trim().parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

/// Tries seeds on all cores; gives back those that failed, at most so many.
fn try_all(seeds: &[u64], most: usize) -> (Vec<Outcome>, String) {
    let (next, began) = (AtomicU64::new(0), Instant::now());
    let (failed, runs, completions) =
        (Mutex::new(Vec::new()), AtomicU64::new(0), AtomicU64::new(0));
    let virtual_ms = AtomicU64::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while failed.lock().len() < most {
                    let index = next.fetch_add(1, Ordering::Relaxed) as usize;
                    let Some(seed) = seeds.get(index) else { return };
                    let outcome = simulate(*seed, None);
                    runs.fetch_add(outcome.runs as u64, Ordering::Relaxed);
                    completions.fetch_add(outcome.completions, Ordering::Relaxed);
                    let span = outcome.virtual_time.as_millis() as u64;
                    virtual_ms.fetch_add(span, Ordering::Relaxed);
                    if !outcome.violations.is_empty() {
                        failed.lock().push(outcome);
                    }
                }
            });
        }
    });
    let hours = virtual_ms.into_inner() as f64 / 3.6e6;
    let summary = format!(
        "{} seeds, {} runs, {} completions, {hours:.1} hours of virtual time in {:.1?}",
        seeds.len(),
        runs.into_inner(),
        completions.into_inner(),
        began.elapsed()
    );
    (failed.into_inner(), summary)
}

#[test]
fn whatever_happens_the_promise_is_kept() {
    count_panics();
    if let Some(seed) = number("CODITECT_SIM_SEED") {
        let outcome = simulate(seed, None);
        let text = outcome.explain(usize::MAX);
        let _ = stderr().write_all(text.as_bytes());
        assert!(outcome.violations.is_empty(), "{:#?}", outcome.violations);
        return;
    }
    let first = number("CODITECT_SIM_FIRST").unwrap_or(0);
    let count = number("CODITECT_SIM_SEEDS").unwrap_or(SEEDS);
    let mut seeds = REGRESSIONS.to_vec();
    seeds.extend(first..first + count);
    let (failed, summary) = try_all(&seeds, 3);
    let _ = writeln!(stderr(), "{summary}");
    let numbers: Vec<_> = failed.iter().map(|outcome| outcome.seed).collect();
    let explained: String = failed.iter().map(|outcome| outcome.explain(60)).collect();
    assert!(failed.is_empty(), "{explained}\nseeds {numbers:?} failed");
}

#[test]
fn a_seed_repeats_itself_event_by_event() {
    count_panics();
    for seed in 0..40 {
        let (one, other) = (simulate(seed, None), simulate(seed, None));
        let (events, again) = (one.world.events(), other.world.events());
        let differs = events.iter().zip(&again).position(|(a, b)| a != b);
        assert_eq!(
            differs.map(|at| (&events[at.saturating_sub(4)..=at], &again[at])),
            None,
            "seed {seed}"
        );
        assert_eq!(one.fingerprint, other.fingerprint, "seed {seed}");
    }
    assert_ne!(simulate(1, None).fingerprint, simulate(2, None).fingerprint);
}

/// What must happen somewhere in three hundred seeds, or the simulation shows less than it says.
const HAPPENS: [&str; 84] = [
    "starts",
    "has started",
    "cannot start",
    "dies",
    "is paused",
    "goes on",
    "leaves",
    "severed",
    "publish",
    "publish refused",
    "publish unsure",
    "arrives twice",
    "notice lost",
    "the bus refuses",
    "the registry refuses",
    "deliver",
    "ack",
    "ack lost",
    "claims",
    "a claim is refused",
    "a claim is unsure",
    "a renewal stalls",
    "a renewal is refused",
    "a renewal is unsure",
    "releases",
    "hands over",
    "a hand-over is refused",
    "append",
    "an append is refused",
    "an append is unsure",
    "a read is refused",
    "a run is submitted",
    "a submission is unsure",
    "a run is accepted",
    "a run is cancelled",
    "begins",
    "does a step",
    "+ started",
    "+ dispatched",
    "+ claimed",
    "+ granted",
    "+ parked",
    "+ signalled",
    "+ ruled",
    "+ waiting",
    "+ paused",
    "+ resumed",
    "+ prioritized",
    "+ patched",
    "+ patch refused",
    "+ rescheduled",
    "+ redriven",
    "+ retried",
    "a run is paused",
    "a run is resumed",
    "a priority is changed",
    "a signal is sent",
    "a patch is applied",
    "a patch is refused",
    "a patch is unsure",
    "a run is rescheduled",
    "a run is put back",
    "a schedule is made",
    "an occurrence has its run",
    "the store refuses",
    "a commit meets another",
    "a commit is refused",
    "a commit is unsure",
    "+ snoozed",
    "somebody rules",
    "somebody decides",
    "an agent is out",
    "an agent is left alone",
    "a port is left alone",
    "+ succeeded",
    "+ failed",
    "+ lost",
    "+ expanded",
    "+ resolved",
    "+ expired",
    "+ unserved",
    "+ run cancelled",
    "+ settled",
    "faults end",
];

#[test]
fn everything_that_may_happen_does() {
    count_panics();
    let mut happened = BTreeSet::new();
    for seed in 0..300 {
        happened.extend(simulate(seed, None).world.happened());
    }
    let missing: Vec<_> = HAPPENS
        .iter()
        .filter(|what| !happened.contains(*what))
        .collect();
    assert!(missing.is_empty(), "{missing:?} never happened");
}

/// Says how a world is judged in which a component breaks its promise, within a few seeds.
fn caught(planted: Planted) -> String {
    count_panics();
    let violations = (0..300).flat_map(|seed| simulate(seed, Some(planted)).violations);
    violations.take(1).collect()
}

/// Checks that such a world is seen through by the witness of just this.
fn is_caught_as(planted: Planted, words: &str) {
    count_panics();
    let mut other = Vec::new();
    for seed in 0..300 {
        let violations = simulate(seed, Some(planted)).violations;
        if violations.iter().any(|text| text.contains(words)) {
            return;
        }
        other.extend(violations);
    }
    panic!("nobody has said `{words}`, but {other:#?}");
}

#[test]
fn a_bus_that_drops_what_it_has_confirmed_is_caught() {
    let text = caught(Planted::BusDropsConfirmed);
    assert!(text.contains("does not end"), "{text}");
}

#[test]
fn a_journal_that_takes_stale_tokens_is_caught() {
    let text = caught(Planted::JournalTakesStaleTokens);
    assert!(text.contains("under a stale token"), "{text}");
}

#[test]
fn a_journal_that_forgets_what_it_has_appended_is_caught() {
    let text = caught(Planted::JournalForgetsAppends);
    assert!(!text.is_empty());
}

#[test]
fn a_journal_that_forgets_runs_is_caught() {
    let text = caught(Planted::JournalForgetsRuns);
    assert!(text.contains("the journal has lost it"), "{text}");
}

#[test]
fn a_second_completion_is_caught() {
    let text = caught(Planted::SecondCompletion);
    assert!(text.contains("the task had ended before"), "{text}");
}

#[test]
fn a_forged_outcome_is_caught() {
    let text = caught(Planted::ForgedOutcome);
    assert!(
        text.contains("no handler of this attempt has answered"),
        "{text}"
    );
}

#[test]
fn an_irreversible_task_that_begins_twice_is_caught() {
    let text = caught(Planted::GrantsForged);
    assert!(text.contains("irreversible task"), "{text}");
}

#[test]
fn a_step_that_is_done_again_is_caught() {
    let text = caught(Planted::StepsForgotten);
    assert!(text.contains("a step of task"), "{text}");
}

#[test]
fn a_paused_run_that_goes_on_is_caught() {
    let text = caught(Planted::PausesIgnored);
    assert!(text.contains("the run is paused"), "{text}");
}

#[test]
fn a_signal_that_comes_twice_is_caught() {
    let text = caught(Planted::SignalsTwice);
    assert!(text.contains("it had come before"), "{text}");
}

#[test]
fn a_run_that_starts_early_is_caught() {
    let text = caught(Planted::StartsEarly);
    assert!(text.contains("it is before its start"), "{text}");
}

#[test]
fn an_occurrence_with_two_runs_is_caught() {
    let text = caught(Planted::OccurrencesTwice);
    assert!(text.contains("has the runs"), "{text}");
}

#[test]
fn an_occurrence_without_a_run_is_caught() {
    is_caught_as(Planted::OccurrencesForgotten, "has no run");
}

#[test]
fn an_occurrence_that_does_not_wait_is_caught() {
    is_caught_as(Planted::OverlapsIgnored, "has its run while");
}

#[test]
fn a_run_with_too_much_under_way_is_caught() {
    is_caught_as(Planted::LimitsIgnored, "attempts are under way");
}

#[test]
fn a_signal_that_is_changed_is_caught() {
    is_caught_as(Planted::SignalsChanged, "it waits for");
}

#[test]
fn a_task_that_was_added_and_never_runs_is_caught() {
    is_caught_as(Planted::PatchesIgnored, "was added, and has not run");
    is_caught_as(Planted::PatchesIgnored, "it comes after `extra");
}

#[test]
fn a_patch_that_is_forgotten_is_caught() {
    is_caught_as(Planted::PatchesForgotten, "is applied, and it is not");
}

#[test]
fn a_decision_that_is_turned_is_caught() {
    is_caught_as(Planted::DecisionsTurned, "it is rejected, and was approved");
    is_caught_as(Planted::DecisionsTurned, "it is approved, and was decided");
}

#[test]
fn an_agent_that_is_called_while_it_fails_is_caught() {
    is_caught_as(Planted::BreakersMissing, "is out, and was called");
}

#[test]
fn an_attempt_that_fails_before_it_begins_is_caught() {
    is_caught_as(Planted::FailedUnbegun, "no handler has begun this attempt");
}

#[test]
fn a_store_that_forgets_what_it_has_committed_is_caught() {
    is_caught_as(Planted::StoreForgetsCommits, "a step of task");
}
