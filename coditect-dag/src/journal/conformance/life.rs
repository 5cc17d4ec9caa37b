//! R10, R13, R18: what becomes of a run beside its tasks.

use bytes::Bytes;

use super::{Subject, dispatched, kinds, refused, settled, succeeded};
use crate::journal::{ErrorKind, RecordKind, RunFilter, RunState, Seq, Settlement};
use crate::{Attempt, TaskId, Timestamp};

/// Records of pauses, priorities, waits, signals and second chances come back as they were written.
pub async fn r10_the_life_of_a_run_comes_back_as_it_was_written(subject: Subject) {
    let run = subject.accept().await;
    let lease = subject.own(run).await;
    let task = TaskId::new(0);
    let signal = |payload: &[u8]| RecordKind::Signalled {
        name: "paid".into(),
        payload: Bytes::copy_from_slice(payload),
    };
    let redriven = |input: &[u8]| RecordKind::Redriven {
        task,
        input: Some(Bytes::copy_from_slice(input)),
    };
    let patched = |patch: &[u8]| RecordKind::Patched {
        patch: Bytes::copy_from_slice(patch),
    };
    let written = vec![
        RecordKind::Started,
        RecordKind::Aimed {
            task,
            to: "other@^2".into(),
        },
        RecordKind::Paused {
            reason: "an \"incident\"".into(),
        },
        RecordKind::Prioritized {
            task: None,
            priority: 2,
        },
        RecordKind::Prioritized {
            task: Some(task),
            priority: 0,
        },
        RecordKind::Resumed,
        RecordKind::Waiting {
            task,
            attempt: Attempt::FIRST,
        },
        signal(b"17"),
        signal(&[255]),
        signal(&[b'x'; 50_000]),
        patched(br#"{"id":"a"}"#),
        patched(&[b'z'; 300_000]),
        RecordKind::PatchRefused {
            id: "b".into(),
            reason: "task `a` has begun".into(),
        },
        redriven(b"[1]"),
        redriven(&[b'y'; 50_000]),
        RecordKind::redriven(task),
        settled("a"),
        RecordKind::Retried,
    ];
    let appended = subject.append(&lease, run, written.clone()).await;
    appended.expect("the owner writes");
    assert_eq!(kinds(subject.log(run).await), written);
    let page = subject.other.events(run, Seq::ZERO, 100).await;
    let page = page.expect("the events are read").records;
    let told: Vec<_> = page.into_iter().map(|(_, record)| record.kind).collect();
    assert_eq!(told, written);
}

/// A retry opens a settled run, whose owner has to load it again.
pub async fn r13_a_retry_opens_a_settled_run(subject: Subject) {
    let run = subject.accept().await;
    let lease = subject.own(run).await;
    let failed = RecordKind::Settled(Settlement::Failed {
        failure: Bytes::from_static(b"no"),
    });
    let mut first = super::batch(run, [RecordKind::Started, failed]);
    first.consume(subject.inbox(&lease).await[0].seq);
    let appended = subject.journal.append(&lease, &mut first).await;
    appended.expect("the owner writes");
    let open = subject.journal.open_runs(&lease).await;
    assert_eq!(open.expect("open runs are read"), []);
    let paused = RecordKind::Paused { reason: "x".into() };
    for late in [paused, RecordKind::Resumed] {
        refused(
            subject.append(&lease, run, [late]).await,
            ErrorKind::Conflict,
        );
    }

    let again = [RecordKind::Retried, dispatched(0)];
    let appended = subject.append(&lease, run, again).await;
    appended.expect("a retry opens the run");
    let summary = subject.other.run(run).await.expect("a run is read");
    let summary = summary.expect("it is known");
    assert_eq!(summary.state, RunState::Running);
    assert_eq!((summary.settled_at, summary.settlement), (None, None));
    let open = subject.journal.open_runs(&lease).await;
    assert_eq!(open.expect("open runs are read"), [run]);
    let end = [succeeded(0, "x"), settled("b")];
    let appended = subject.append(&lease, run, end).await;
    appended.expect("the run settles again");
}

/// A run is listed as paused from its pause to its resumption, and a redrive of a task does not resume it.
pub async fn r18_a_paused_run_is_listed_as_paused(subject: Subject) {
    let run = subject.accept().await;
    let lease = subject.own(run).await;
    let listed = async |state| {
        let filter = RunFilter {
            state: Some(state),
            ..RunFilter::default()
        };
        let runs = subject.other.list(filter).await.expect("runs are listed");
        runs.into_iter().map(|run| run.run).collect::<Vec<_>>()
    };
    let paused = RecordKind::Paused { reason: "x".into() };
    let steps = [
        (RecordKind::Started, RunState::Running),
        (paused.clone(), RunState::Paused),
        (RecordKind::redriven(TaskId::new(0)), RunState::Paused),
        (RecordKind::Resumed, RunState::Running),
        (paused, RunState::Paused),
        (settled("a"), RunState::Succeeded),
    ];
    for (kind, state) in steps {
        let appended = subject.append(&lease, run, [kind.clone()]).await;
        appended.expect("the owner writes");
        for asked in [RunState::Running, RunState::Paused, RunState::Succeeded] {
            let expected: &[_] = if asked == state { &[run] } else { &[] };
            assert_eq!(listed(asked).await, expected, "{asked} after {kind:?}");
        }
    }
}

/// A run that is to start later is listed so until it does, across a pause, and is taken in without a record.
pub async fn r18_a_run_that_starts_later_is_listed_as_scheduled(subject: Subject) {
    let start_at = Timestamp::from_millis(9);
    let submission = super::submission().with_start_at(start_at);
    let run = submission.run;
    let submitted = subject.journal.submit(submission).await;
    submitted.expect("the run is accepted");
    let known = async || {
        let summary = subject.other.run(run).await.expect("the run is read");
        let summary = summary.expect("the run is known");
        let filter = RunFilter {
            state: Some(summary.state),
            ..RunFilter::default()
        };
        let listed = subject.other.list(filter).await.expect("runs are listed");
        assert_eq!(listed.first(), Some(&summary));
        summary
    };
    let summary = known().await;
    assert_eq!(
        (summary.state, summary.start_at),
        (RunState::Scheduled, Some(start_at))
    );
    let lease = subject.own(run).await;
    let open = subject.journal.open_runs(&lease).await;
    assert_eq!(open.expect("they are read"), [], "it is still in the inbox");
    let mut taken = crate::journal::Batch::new();
    taken.consume(subject.inbox(&lease).await[0].seq);
    let appended = subject.journal.append(&lease, &mut taken).await;
    appended.expect("the entry is consumed");
    let open = subject.journal.open_runs(&lease).await;
    assert_eq!(open.expect("they are read"), [run]);
    let log = subject.other.load(run).await.expect("the run is read");
    assert_eq!(
        log.expect("the run is known").submission.start_at,
        Some(start_at)
    );

    let later = Timestamp::from_millis(20);
    let paused = RecordKind::Paused { reason: "x".into() };
    let steps = [
        (
            RecordKind::Rescheduled { start_at: later },
            RunState::Scheduled,
        ),
        (paused.clone(), RunState::Paused),
        (RecordKind::Resumed, RunState::Scheduled),
        (paused, RunState::Paused),
        (RecordKind::Started, RunState::Paused),
        (RecordKind::Resumed, RunState::Running),
    ];
    for (kind, state) in steps {
        let appended = subject.append(&lease, run, [kind.clone()]).await;
        appended.expect("the owner writes");
        let summary = known().await;
        assert_eq!(
            (summary.state, summary.start_at),
            (state, Some(later)),
            "after {kind:?}"
        );
    }
    assert!(known().await.started_at.is_some());
}
