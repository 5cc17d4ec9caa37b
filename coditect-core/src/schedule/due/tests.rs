//! What is decided upon at an instant, for each policy.

use std::time::Duration;

use super::*;
use crate::schedule::Timing;

const HOUR: u64 = 3_600_000;
const NONE: [u64; 0] = [];

/// A schedule of every hour, made at the first one.
struct Subject {
    definition: Definition,
    state: State,
    runs: u128,
}

impl Subject {
    fn new(missed: Missed, overlap: Overlap) -> Self {
        let work = serde_json::from_str(r#"{"plan":{}}"#).unwrap();
        let definition = Definition {
            id: uuid::Uuid::nil(),
            revision: 1,
            timing: Timing::every(Duration::from_millis(HOUR)),
            missed,
            overlap,
            catch_up_ms: 24 * HOUR,
            created_at: Timestamp::EPOCH,
            updated_at: Timestamp::EPOCH,
            work,
        };
        Self {
            definition,
            state: State::default(),
            runs: 0,
        }
    }

    /// Decides at an instant, in hours, and submits; tells the hours of what was submitted.
    fn at(&mut self, hours: f64, ended: &[u128]) -> Vec<u64> {
        let calendar = self.definition.calendar().unwrap();
        let now = Timestamp::from_millis((hours * HOUR as f64) as u64);
        let id = |number: u128| RunId::from_uuid(uuid::Uuid::from_u128(number));
        let ended: FxHashSet<_> = ended.iter().map(|number| id(*number)).collect();
        let mut mint = || {
            self.runs += 1;
            id(self.runs)
        };
        self.definition
            .decide(&calendar, &mut self.state, now, &ended, &mut mint);
        let done: Vec<_> = self
            .state
            .pending
            .iter()
            .map(|it| (it.clone(), it.run))
            .collect();
        self.state.submitted(&done);
        let hour = |it: &Occurrence| it.nominal.as_millis() / HOUR;
        done.iter()
            .map(|(occurrence, _)| hour(occurrence))
            .collect()
    }

    fn counts(&self) -> (u64, u64, u64) {
        (self.state.fired, self.state.missed, self.state.overlapped)
    }
}

#[test]
fn what_is_in_time_runs_once_whatever_the_policies() {
    for missed in [Missed::Skip, Missed::Last, Missed::All(9)] {
        for overlap in [
            Overlap::Skip,
            Overlap::Allow,
            Overlap::Buffer(1),
            Overlap::CancelPrevious,
        ] {
            let mut subject = Subject::new(missed, overlap);
            assert_eq!(subject.at(0.9, &[]), NONE);
            assert_eq!(subject.at(1.001, &[]), [1]);
            assert_eq!(subject.at(1.001, &[]), NONE);
            assert_eq!(subject.at(2.0, &[1]), [2]);
            assert_eq!(subject.counts(), (2, 0, 0));
        }
    }
}

#[test]
fn what_was_missed_is_made_up_for_as_the_policy_says() {
    for (missed, expected) in [
        (Missed::Skip, vec![]),
        (Missed::Last, vec![4]),
        (Missed::All(2), vec![3, 4]),
        (Missed::All(500), vec![1, 2, 3, 4]),
    ] {
        let mut subject = Subject::new(missed, Overlap::Allow);
        assert_eq!(subject.at(4.5, &[]), expected, "{missed:?}");
        let left_out = 4 - expected.len() as u64;
        assert_eq!(
            subject.counts(),
            (expected.len() as u64, left_out, 0),
            "{missed:?}"
        );
        assert_eq!(subject.at(5.0, &[]), [5], "{missed:?}");
    }
}

#[test]
fn a_late_one_whose_successor_has_not_come_is_missed_after_a_while() {
    let mut subject = Subject::new(Missed::Skip, Overlap::Allow);
    let second = 1.0 / 3_600.0;
    assert_eq!(subject.at(1.0 + 29.0 * second, &[]), [1]);
    assert_eq!(subject.at(2.0 + 31.0 * second, &[]), NONE);
    assert_eq!(subject.counts(), (1, 1, 0));
}

#[test]
fn what_is_older_than_the_window_is_left_out() {
    let mut subject = Subject::new(Missed::All(500), Overlap::Allow);
    subject.definition.catch_up_ms = 2 * HOUR;
    assert_eq!(subject.at(9.5, &[]), [8, 9]);
    subject.definition.catch_up_ms = 0;
    assert_eq!(
        subject.at(12.001, &[]),
        [12],
        "what is in time is not made up for"
    );
    subject.definition.missed = Missed::Last;
    assert_eq!(subject.at(13.5, &[]), NONE);
    // A year of every hour: only so many are counted.
    assert_eq!(subject.at(9_000.5, &[]), NONE);
    assert_eq!(subject.counts(), (3, 7 + 2 + 1 + 1_000, 0));
}

#[test]
fn an_occurrence_that_overlaps_is_left_out_or_waits_or_goes_ahead() {
    let mut skip = Subject::new(Missed::Last, Overlap::Skip);
    assert_eq!(skip.at(1.0, &[]), [1]);
    assert_eq!(skip.at(2.0, &[]), NONE);
    assert_eq!(skip.at(3.0, &[1]), [3]);
    assert_eq!(skip.counts(), (2, 0, 1));

    let mut buffer = Subject::new(Missed::Last, Overlap::Buffer(2));
    for (hours, ended, expected) in [
        (1.0, &[][..], vec![1]),
        (2.0, &[], vec![]),
        (3.0, &[], vec![]),
        (4.0, &[], vec![]),
        (4.1, &[1], vec![2]),
        (4.2, &[], vec![]),
        (5.0, &[2], vec![3]),
        (5.1, &[3], vec![5]),
        (5.2, &[4], vec![]),
    ] {
        assert_eq!(buffer.at(hours, ended), expected, "at {hours}");
    }
    assert_eq!(buffer.counts(), (4, 0, 1));

    let mut allow = Subject::new(Missed::Last, Overlap::Allow);
    assert_eq!((allow.at(1.0, &[]), allow.at(2.0, &[])), (vec![1], vec![2]));
}

#[test]
fn an_occurrence_replaces_those_before_it() {
    let mut subject = Subject::new(Missed::All(9), Overlap::CancelPrevious);
    assert_eq!(subject.at(1.0, &[]), [1]);
    let first = subject.state.open.clone();
    let calendar = subject.definition.calendar().unwrap();
    let now = Timestamp::from_millis(2 * HOUR);
    let mut mint = RunId::new;
    let none = FxHashSet::default();
    subject
        .definition
        .decide(&calendar, &mut subject.state, now, &none, &mut mint);
    assert_eq!(subject.state.pending[0].replaces, first);
    // The next one comes before that was submitted, and replaces both.
    let now = Timestamp::from_millis(3 * HOUR);
    subject
        .definition
        .decide(&calendar, &mut subject.state, now, &none, &mut mint);
    let before = [first[0], subject.state.pending[0].run];
    assert_eq!(subject.state.pending[1].replaces, before);
    assert_eq!(subject.at(3.0, &[]), [2, 3]);
    assert_eq!(subject.state.open.len(), 1);
    assert_eq!(
        subject.at(6.5, &[]),
        [6],
        "of several only the last would live"
    );
    assert_eq!(subject.counts(), (4, 0, 2));
}

#[test]
fn a_pause_lets_them_pass_and_a_limit_ends_it() {
    let mut subject = Subject::new(Missed::All(9), Overlap::Buffer(9));
    subject.definition.timing = subject.definition.timing.at_most(3);
    assert_eq!(subject.at(2.5, &[]), [1]);
    subject.state.paused = Some("x".to_owned());
    assert_eq!(subject.at(2.6, &[1]), NONE, "what waits waits on");
    assert_eq!(subject.at(9.0, &[]), NONE);
    subject.state.paused = None;
    // As a resumption does it.
    subject.state.cursor = Timestamp::from_millis(9 * HOUR);
    assert_eq!(subject.at(9.1, &[]), [2]);
    assert_eq!(subject.at(10.0, &[2]), [10]);
    let calendar = subject.definition.calendar().unwrap();
    assert_eq!(subject.definition.next(&calendar, &subject.state), None);
    assert_eq!(subject.at(12.0, &[3]), NONE);
    assert_eq!(subject.counts(), (3, 0, 0));
}

#[test]
fn a_clock_that_is_set_back_repeats_nothing() {
    let mut subject = Subject::new(Missed::All(9), Overlap::Allow);
    assert_eq!(subject.at(3.0, &[]), [1, 2, 3]);
    assert_eq!(subject.at(1.0, &[]), NONE);
    assert_eq!(subject.at(3.9, &[]), NONE);
    assert_eq!(subject.at(4.0, &[]), [4]);
}
