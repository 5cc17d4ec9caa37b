//! What a copy makes of entries: those that follow, those that do not, and those about strangers.

use super::*;
use crate::{FencingToken, Incarnation, RemovalReason};

fn record(agent: &str) -> AgentRecord {
    AgentRecord::new(agent.parse().unwrap(), Incarnation::fresh())
}

fn stored(record: &AgentRecord) -> Stored {
    Stored {
        token: FencingToken::new(1),
        record: record.clone(),
    }
}

fn entry(sequence: u64, count: u64, kind: Kind) -> Entry {
    Entry {
        sequence,
        count,
        kind,
    }
}

fn put(record: &AgentRecord) -> Kind {
    Kind::Put(record.instance.clone(), Some(Box::new(record.clone())))
}

fn reports(of: &[&AgentRecord]) -> Kind {
    let report = |record: &&AgentRecord| (record.instance.clone(), Load::new(1, 2), Health::Ready);
    Kind::Reported(of.iter().map(report).collect())
}

fn gone(record: &AgentRecord) -> Kind {
    Kind::Gone(record.instance.clone(), RemovalReason::Expired)
}

fn numbers(applied: Applied) -> Vec<u64> {
    match applied {
        Applied::Told(events) => events.iter().map(|event| event.sequence).collect(),
        Applied::Gap => panic!("a gap"),
    }
}

#[test]
fn changes_are_numbered_one_by_one() {
    let (a, b) = (record("a"), record("b"));
    let mut copy = Replica::new(10);
    assert_eq!(numbers(copy.apply(entry(11, 1, put(&a)), false)), [11]);
    assert_eq!(numbers(copy.apply(entry(12, 1, put(&b)), false)), [12]);
    let both = entry(14, 2, reports(&[&a, &b]));
    assert_eq!(numbers(copy.apply(both, false)), [13, 14]);
    assert_eq!(numbers(copy.apply(entry(15, 1, gone(&a)), false)), [15]);
    assert_eq!(copy.snapshot().sequence, 15);
    let left = Arc::new(b.reported(Load::new(1, 2), Health::Ready));
    assert_eq!(copy.snapshot().change, Change::Resync(vec![left]));
}

#[test]
fn what_is_in_already_is_no_news_and_what_is_missing_is_a_gap() {
    let a = record("a");
    let mut copy = Replica::new(10);
    copy.put(stored(&a));
    assert!(numbers(copy.apply(entry(10, 1, put(&a)), false)).is_empty());
    assert_eq!(copy.apply(entry(12, 1, put(&a)), false), Applied::Gap);
    for about_nobody in [
        gone(&record("x")),
        reports(&[&a, &record("x")]),
        Kind::Judged(record("x").instance, None),
        Kind::Put(a.instance.clone(), None),
    ] {
        let mut copy = copy.clone();
        let count = if matches!(about_nobody, Kind::Reported(_)) {
            2
        } else {
            1
        };
        let applied = copy.apply(entry(10 + count, count, about_nobody), false);
        assert_eq!(applied, Applied::Gap);
    }
}

#[test]
fn a_copy_that_was_read_in_motion_settles() {
    let (early, late, left) = (record("early"), record("late"), record("left"));
    let mut copy = Replica::new(10);
    // Read after all of this had happened, although it began before.
    copy.put(stored(&early));
    copy.put(stored(&late));
    for (sequence, kind) in [
        (11, put(&left)),
        (12, put(&late)),
        (13, gone(&left)),
        (14, gone(&record("never-seen"))),
    ] {
        let told = copy.apply(entry(sequence, 1, kind), true);
        assert_eq!(told, Applied::Told(Vec::new()));
    }
    let mut expected = Replica::new(14);
    expected.put(stored(&early));
    expected.put(stored(&late));
    assert!(copy.agrees(&expected));
    assert_eq!(copy.snapshot().sequence, 14);
}

#[test]
fn foreign_instances_are_left_out_without_a_gap() {
    let (own, foreign) = (record("own"), record("foreign"));
    let mut copy = Replica::new(10);
    copy.put(stored(&own));
    let told = [
        (11, 1, Kind::Foreign(foreign.instance.clone())),
        (13, 2, reports(&[&foreign, &own])),
        (14, 1, Kind::Judged(foreign.instance.clone(), None)),
        (15, 1, Kind::Unreadable("later".to_owned())),
        (16, 1, gone(&foreign)),
        (17, 1, gone(&own)),
    ];
    let told = told
        .map(|(sequence, count, kind)| numbers(copy.apply(entry(sequence, count, kind), false)));
    assert_eq!(told.concat(), [11, 12]);
    assert_eq!(copy.sequence(), 17);
}

#[test]
fn events_go_on_from_the_last_of_the_copy_before() {
    let (mut old, a) = (Replica::new(1000), record("a"));
    old.apply(entry(1001, 1, put(&a)), false);
    // Redis has lost its data, and its clock had been set back.
    let mut new = Replica::new(500);
    new.succeed(&old, true);
    assert_eq!(new.snapshot().sequence, 1001);
    assert_eq!(numbers(new.apply(entry(501, 1, put(&a)), false)), [1002]);
}
