//! What is written comes back, and what strangers write harms nobody.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::{Capability, Incarnation, Reason};

fn record() -> AgentRecord {
    AgentRecord::new("writer".parse().unwrap(), Incarnation::fresh())
        .with_capabilities([
            Capability::new("work", "1.0.0-rc.1+b".parse().unwrap()).unwrap(),
            Capability::new("edit", "2.0.0".parse().unwrap()).unwrap(),
        ])
        .with_tenant("acme".parse().unwrap())
        .with_load(Load::new(1, 8))
}

fn verdict() -> Verdict {
    Verdict::evicted(Reason::new("silent", SystemTime::UNIX_EPOCH))
}

/// A record as the script stores it.
fn written(record: &AgentRecord) -> String {
    format!("1 {}\n{}", capabilities(record), json(record).unwrap())
}

#[test]
fn a_record_comes_back_with_its_lease_and_verdict() {
    let reason = Reason::new("cold", SystemTime::UNIX_EPOCH + Duration::from_millis(5));
    let plain = record().with_health_reason(Health::Degraded, reason);
    let found = serde_json::to_string(&verdict()).unwrap();
    let read = |fresh: u8| {
        let lease = format!("17 1000 {fresh} d 3 8");
        stored(&name(&plain.instance), &written(&plain), &lease, &found).unwrap()
    };
    let mut expected = plain.clone().judged(Some(verdict()));
    expected.load = Load::new(3, 8);
    assert_eq!(read(1).token, FencingToken::new(17));
    assert_eq!(read(1).record, expected);
    expected.health_reason = None;
    assert_eq!(read(0).record, expected);
    assert_eq!(capabilities(&plain), "work@1.0.0-rc.1+b edit@2.0.0");
}

#[test]
fn what_is_stored_of_a_record_does_not_hold_its_verdict() {
    let judged = record().judged(Some(verdict()));
    assert!(!json(&judged).unwrap().contains("silent"));
}

#[test]
fn names_and_reports_are_read_as_they_are_written() {
    let plain = Instance::new("a.b-c".parse().unwrap(), Incarnation::fresh());
    for instance in [plain, record().instance] {
        assert_eq!(parse_instance(&name(&instance)), Some(instance));
    }
    for health in [Health::Ready, Health::Degraded, Health::Draining] {
        let load = Load::new(u32::MAX, 0);
        assert_eq!(parse_report(&report(load, health)), Some((load, health)));
    }
    for wrong in ["", "r", "r 1", "r 1 2 3", "z 1 2", "r -1 2", "r 1 x"] {
        assert_eq!(parse_report(wrong), None, "{wrong}");
    }
}

#[test]
fn a_stranger_in_the_place_of_a_record_is_named() {
    let record = record();
    let (name, lease) = (name(&record.instance), "17 1000 1 r 1 8");
    let stranger = AgentRecord::new("x".parse().unwrap(), record.incarnation());
    for (text, lease, verdict, expected) in [
        ("2 work@1.0.0\n{}", lease, "", "format"),
        ("", lease, "", "format"),
        ("1 \n{\"agent\":", lease, "", "EOF"),
        (&written(&stranger), lease, "", "it is about"),
        (&written(&record), "", "", "lease"),
        (&written(&record), "x 1 1 r 1 8", "", "lease"),
        (&written(&record), lease, "{}", "verdict"),
    ] {
        let unreadable = stored(&name, text, lease, verdict).unwrap_err();
        assert!(unreadable.why.contains(expected), "{unreadable:?}");
        assert_eq!(unreadable.name, name);
    }
}

fn bulk(text: impl AsRef<str>) -> Value {
    Value::BulkString(text.as_ref().as_bytes().to_vec())
}

/// The answer to `XREAD` with one entry.
fn log(id: &str, fields: &[(&str, &str)]) -> Value {
    let fields = fields
        .iter()
        .flat_map(|(name, value)| [bulk(name), bulk(value)]);
    let entry = Value::Array(vec![bulk(id), Value::Array(fields.collect())]);
    Value::Array(vec![Value::Array(vec![
        bulk("log"),
        Value::Array(vec![entry]),
    ])])
}

#[test]
fn each_kind_of_entry_is_read() {
    let record = record();
    let (name, json) = (name(&record.instance), json(&record).unwrap());
    let instance = || record.instance.clone();
    let found = serde_json::to_string(&verdict()).unwrap();
    let lines = format!("{name} r 1 8\n{name} x 2 8");
    let reported = vec![
        (instance(), Load::new(1, 8), Health::Ready),
        (instance(), Load::new(2, 8), Health::Draining),
    ];
    let put = Box::new(record.judged(Some(verdict())));
    let one = |fields: &[(&str, &str)]| entries(log("7-0", fields)).unwrap().remove(0).kind;
    let new = |data| {
        one(&[
            ("n", "1"),
            ("k", "new"),
            ("i", &name),
            ("d", data),
            ("v", &found),
        ])
    };
    assert_eq!(new(&json), Kind::Put(instance(), Some(put)));
    assert_eq!(new(""), Kind::Put(instance(), None));
    assert_eq!(new("{\"agent\":7}"), Kind::Foreign(instance()));
    assert_eq!(
        one(&[("n", "2"), ("k", "report"), ("d", &lines)]),
        Kind::Reported(reported)
    );
    assert_eq!(
        one(&[("n", "1"), ("k", "judge"), ("i", &name), ("v", "")]),
        Kind::Judged(instance(), None)
    );
    for (word, reason) in [
        ("expired", RemovalReason::Expired),
        ("left", RemovalReason::Deregistered),
        ("replaced", RemovalReason::Replaced),
    ] {
        assert_eq!(
            one(&[("n", "1"), ("k", "gone"), ("i", &name), ("r", word)]),
            Kind::Gone(instance(), reason)
        );
    }
    for strange in [
        &[("n", "3"), ("k", "report"), ("d", lines.as_str())][..],
        &[("n", "1"), ("k", "gone"), ("i", &name), ("r", "?")],
        &[("n", "1"), ("k", "new"), ("i", "nobody")],
        &[("n", "1"), ("k", "later")],
        &[("hello", "world")],
    ] {
        assert!(matches!(one(strange), Kind::Unreadable(_)), "{strange:?}");
    }
}

#[test]
fn no_news_is_no_entry_and_what_is_no_log_is_an_error() {
    assert_eq!(entries(Value::Nil).unwrap(), []);
    for wrong in [
        Value::Int(1),
        Value::Array(vec![]),
        Value::Array(vec![Value::Array(vec![bulk("log")])]),
        log("no number", &[]),
    ] {
        assert!(entries(wrong).is_err());
    }
}

proptest! {
    #[test]
    fn no_text_makes_reading_panic(a in ".{0,60}", b in "(1 |2 )?.{0,60}\n.{0,60}", c in ".{0,30}", k in "new|set|report|judge|gone|.{0,5}") {
        let _ = stored(&a, &b, &c, &a);
        let _ = entries(log(&c, &[("n", &a), ("k", &k), ("i", &a), ("d", &b), ("v", &c), ("r", &a)]));
        let _ = entries(log("1-0", &[("n", "1"), ("k", &k), ("i", &a), ("d", &b), ("v", &c), ("r", &a)]));
    }
}
