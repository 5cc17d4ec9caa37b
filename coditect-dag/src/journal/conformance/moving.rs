//! R21: runs that come from another journal.

use super::{Subject, dispatched, refused, settled, submission, succeeded};
use crate::journal::{
    Batch, ErrorKind, MemoryJournal, RecordKind, Request, RunFilter, RunJournal, RunLog, Seq,
};
use crate::{TaskId, Timestamp};

/// A log as another journal has kept it.
async fn log_of(kinds: impl IntoIterator<Item = RecordKind>) -> RunLog {
    let submission = submission()
        .with_idempotency_key(crate::RunId::new().to_string())
        .with_tenant("abroad")
        .with_label("k", "v");
    let tail = kinds.into_iter().zip(1..);
    RunLog {
        submission: submission.into(),
        snapshot: None,
        snapshot_upto: Seq::ZERO,
        tail: tail
            .map(|(kind, at)| kind.at(Timestamp::from_millis(at)))
            .collect(),
    }
}

/// The records of a run that has come far: more than one transaction of any store takes.
fn many() -> impl Iterator<Item = RecordKind> {
    let large = "x".repeat(9_000);
    let tasks = (0..2_500_u32).flat_map(move |task| {
        let output = if task % 100 == 0 { &*large } else { "1" };
        [dispatched(task), succeeded(task, output)]
    });
    [RecordKind::Started].into_iter().chain(tasks)
}

/// A run that has settled is read as where it came from.
pub async fn r21_an_imported_run_is_the_one_it_was(subject: Subject) {
    let log = log_of(many().chain([settled("42")])).await;
    let run = log.submission.run;
    let there = MemoryJournal::default();
    there.import(log.clone()).await.expect("memory imports it");
    subject
        .journal
        .import(log.clone())
        .await
        .expect("it is imported");
    let read = async |journal: &dyn RunJournal| journal.run(run).await.expect("it is read");
    assert_eq!(read(&*subject.other).await, read(&there).await);
    let loaded = subject.other.load(run).await.expect("it is loaded");
    assert!(loaded.as_ref() == Some(&log), "the records are other ones");
    for task in [0, 1, 2_499].map(TaskId::new) {
        let output = subject.other.output(run, task).await.expect("it is read");
        assert_eq!(output, there.output(run, task).await.expect("it is read"));
    }
    let filter = RunFilter {
        tenant: Some("abroad".into()),
        label: Some(("k".into(), "v".into())),
        ..RunFilter::default()
    };
    let listed = subject.other.list(filter).await.expect("runs are listed");
    assert_eq!(listed.iter().map(|it| it.run).collect::<Vec<_>>(), [run]);
    let lease = subject.own(run).await;
    assert_eq!(subject.inbox(&lease).await, []);
    assert_eq!(subject.journal.open_runs(&lease).await.expect("a list"), []);
    refused(
        subject.append(&lease, run, [dispatched(0)]).await,
        ErrorKind::Conflict,
    );
}

/// A run that has not settled comes to the owner of its partition, which goes on with its log.
pub async fn r21_an_open_run_is_gone_on_with(subject: Subject) {
    let log = log_of([RecordKind::Started, dispatched(0)]).await;
    let run = log.submission.run;
    subject
        .journal
        .import(log.clone())
        .await
        .expect("it is imported");
    let lease = subject.own(run).await;
    assert_eq!(subject.journal.open_runs(&lease).await.expect("a list"), []);
    let entries = subject.inbox(&lease).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (entries[0].run, &entries[0].request),
        (run, &Request::Import)
    );
    let mut batch = Batch::new();
    batch.consume(entries[0].seq);
    batch.push(run, succeeded(0, "7").at(Timestamp::from_millis(9)));
    let appended = subject.journal.append(&lease, &mut batch).await;
    appended.expect("the owner writes");
    assert_eq!(subject.log(run).await.len(), 3);
    let open = subject.journal.open_runs(&lease).await.expect("a list");
    assert_eq!((open, subject.inbox(&lease).await), (vec![run], vec![]));
    let output = subject.other.output(run, TaskId::new(0)).await;
    assert_eq!(output.expect("it is read").as_deref(), Some(&b"7"[..]));

    let new = log_of([]).await;
    let run = new.submission.run;
    subject
        .journal
        .import(new.clone())
        .await
        .expect("it is imported");
    if subject.home(run) != lease.partition() {
        let lease = subject.own(run).await;
        let entries = subject.inbox(&lease).await;
        assert_eq!(entries[0].request, Request::Submit(new.submission));
    }
}

/// What is known is not replaced, and what is not whole is not taken.
pub async fn r21_what_is_known_stays_as_it_is(subject: Subject) {
    let log = log_of([RecordKind::Started]).await;
    let run = log.submission.run;
    subject
        .journal
        .import(log.clone())
        .await
        .expect("it is imported");
    let more = log_of([RecordKind::Started, dispatched(0)]).await;
    let mut again = (*log.submission).clone();
    let same_run = RunLog {
        submission: again.clone().into(),
        ..more.clone()
    };
    again.run = crate::RunId::new();
    let same_key = RunLog {
        submission: again.into(),
        ..more.clone()
    };
    for other in [same_run, same_key] {
        refused(subject.journal.import(other).await, ErrorKind::Conflict);
    }
    assert_eq!(subject.log(run).await, log.tail);
    let cut = RunLog {
        snapshot: Some("state".into()),
        snapshot_upto: Seq::new(7),
        ..more
    };
    let known = cut.submission.run;
    refused(subject.journal.import(cut).await, ErrorKind::Invalid);
    assert_eq!(subject.other.run(known).await.expect("it is read"), None);
    let accepted = subject.journal.submit((*log.submission).clone()).await;
    assert!(accepted.expect("it is answered").existed);
}
