//! The file form of a run: whole, or refused with the reason.

use bytes::Bytes;

use super::*;
use crate::journal::{
    Belonging, ErrorKind, RecordKind, RunArchive, RunLog, Seq, Settlement, Submission,
};
use crate::{Attempt, RunId, TaskId, Timestamp};

/// A run with contents of every kind.
fn archive() -> RunArchive {
    let submission = Submission::new(RunId::new(), r#"{"plan":1}"#, Timestamp::from_millis(7));
    let submission = submission
        .with_idempotency_key("key")
        .with_tenant("tenant")
        .with_label("kind", "monthly")
        .with_start_at(Timestamp::from_millis(8));
    let (task, attempt) = (TaskId::new(0), Attempt::FIRST);
    let incarnation = None;
    let succeeded = |output: Bytes| RecordKind::Succeeded {
        task,
        attempt,
        output,
    };
    let kinds = [
        RecordKind::Started,
        RecordKind::Dispatched {
            task,
            attempt,
            incarnation,
        },
        succeeded(Bytes::from_static(&[0, 255])),
        succeeded("a text\nof two lines".into()),
        succeeded(Bytes::from("9".repeat(10_000))),
        RecordKind::Settled(Settlement::Succeeded { result: "1".into() }),
    ];
    let belonging = |key: &'static [u8], value: &'static [u8]| Belonging {
        space: "run".to_owned(),
        key: Bytes::from_static(key),
        value: Bytes::from_static(value),
    };
    RunArchive {
        log: RunLog {
            submission: Arc::new(submission),
            snapshot: None,
            snapshot_upto: Seq::ZERO,
            tail: kinds.map(|kind| kind.at(Timestamp::from_millis(9))).into(),
        },
        belongings: vec![belonging(b"\x02name\0", b"1"), belonging(b"\x00", b"\xff")],
    }
}

#[test]
fn a_file_holds_the_whole_run() {
    let archive = archive();
    let file = archive.to_bytes().unwrap();
    assert_eq!(RunArchive::from_bytes(&file).unwrap(), archive);
    let first = file.split(|byte| *byte == b'\n').next().unwrap();
    assert_eq!(first, br#"{"format":"coditect-run","version":1}"#);
}

#[test]
fn what_is_no_such_file_is_invalid_and_a_newer_one_says_so() {
    for foreign in ["", "notes\n", "{}\n", r#"{"format":"other","version":1}"#] {
        let error = RunArchive::from_bytes(&foreign.into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{foreign}");
        assert_eq!(error.to_string(), "the file is no exported run");
    }
    let text = String::from_utf8(archive().to_bytes().unwrap().to_vec()).unwrap();
    let newer = text.replacen(r#""version":1"#, r#""version":2"#, 1);
    let error = RunArchive::from_bytes(&newer.into()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let why = std::error::Error::source(&error).map(ToString::to_string);
    assert_eq!(why.as_deref(), Some("it has version 2, this one knows 1"));
}

#[test]
fn no_damage_goes_unnoticed() {
    let mut archive = archive();
    // The long one is like any other.
    archive.log.tail.remove(4);
    let file = archive.to_bytes().unwrap();
    for end in 0..file.len() {
        assert!(
            RunArchive::from_bytes(&file.slice(..end)).is_err(),
            "cut off at {end}"
        );
    }
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut damaged = file.to_vec();
            damaged[at] ^= 1 << bit;
            let read = RunArchive::from_bytes(&damaged.into());
            assert!(read.is_err(), "bit {bit} of byte {at}");
        }
    }
    let more = [&file[..], b"{}\n"].concat();
    assert!(RunArchive::from_bytes(&more.into()).is_err());
}

#[test]
fn a_log_without_its_beginning_is_no_run() {
    let mut archive = archive();
    archive.log.snapshot = Some("state".into());
    assert_eq!(archive.to_bytes().unwrap_err().kind(), ErrorKind::Invalid);
}
