//! Records survive their serde form, and stay small.

use super::*;

#[test]
fn a_record_is_at_most_a_cache_line() {
    assert!(size_of::<Record>() <= 64, "{}", size_of::<Record>());
}

#[test]
fn every_kind_survives_serde() {
    let (task, attempt) = (TaskId::new(7), Attempt::new(2));
    let at = Timestamp::from_millis(5);
    let kinds = [
        RecordKind::Started,
        RecordKind::Rescheduled { start_at: at },
        RecordKind::Dispatched {
            task,
            attempt,
            incarnation: Some("a".into()),
        },
        RecordKind::Claimed {
            task,
            attempt,
            incarnation: "a".into(),
            lease_ms: Some(10_000),
        },
        RecordKind::Granted {
            task,
            attempt,
            incarnation: "a".into(),
            lease_ms: 10_000,
            claim: 7,
        },
        RecordKind::Parked {
            task,
            attempt,
            reason: "silent".into(),
        },
        RecordKind::Succeeded {
            task,
            attempt,
            output: Bytes::from_static(b"{}"),
        },
        RecordKind::Failed {
            task,
            attempt,
            failure: Bytes::new(),
            retry_at: Some(at),
        },
        RecordKind::Lost {
            task,
            attempt,
            reason: "gone".into(),
        },
        RecordKind::Snoozed {
            task,
            attempt,
            until: at,
        },
        RecordKind::Expanded {
            task,
            attempt,
            plan: Bytes::new(),
        },
        RecordKind::Resolved {
            task,
            output: Bytes::new(),
        },
        RecordKind::ScopeFailed {
            task,
            failure: Bytes::new(),
        },
        RecordKind::Expired { task },
        RecordKind::Cancelled { task },
        RecordKind::RunCancelled {
            reason: "no".into(),
        },
        RecordKind::Unserved { task },
        RecordKind::redriven(task),
        RecordKind::Redriven {
            task,
            input: Some(Bytes::from_static(b"[1]")),
        },
        RecordKind::Aimed {
            task,
            to: "other@^2".into(),
        },
        RecordKind::Retried,
        RecordKind::Paused {
            reason: "an incident".into(),
        },
        RecordKind::Resumed,
        RecordKind::Prioritized {
            task: Some(task),
            priority: 0,
        },
        RecordKind::Prioritized {
            task: None,
            priority: 2,
        },
        RecordKind::Waiting { task, attempt },
        RecordKind::Signalled {
            name: "paid".into(),
            payload: Bytes::from_static(b"17"),
        },
        RecordKind::Patched {
            patch: Bytes::from_static(b"{}"),
        },
        RecordKind::PatchRefused {
            id: "a".into(),
            reason: "late".into(),
        },
        RecordKind::Settled(Settlement::Failed {
            failure: Bytes::new(),
        }),
    ];
    for kind in kinds {
        let record = kind.at(at);
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(
            serde_json::from_str::<Record>(&text).unwrap(),
            record,
            "{text}"
        );
    }
}

#[test]
fn unknown_fields_are_ignored_and_optional_ones_may_miss() {
    let text = r#"{"at":1,"kind":{"dispatched":{"task":3,"attempt":1,"lane":"x"}},"by":"y"}"#;
    let expected = RecordKind::Dispatched {
        task: TaskId::new(3),
        attempt: Attempt::FIRST,
        incarnation: None,
    };
    let record: Record = serde_json::from_str(text).unwrap();
    assert_eq!(record, expected.at(Timestamp::from_millis(1)));
}

#[test]
fn an_unknown_kind_is_an_error() {
    let text = r#"{"at":1,"kind":{"teleported":{"task":3}}}"#;
    assert!(serde_json::from_str::<Record>(text).is_err());
}
