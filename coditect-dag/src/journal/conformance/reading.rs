//! R15 to R20: what readers see.

use bytes::Bytes;

use super::{Subject, TTL, batch, dispatched, kinds, refused, settled, submission, succeeded};
use crate::journal::{
    ErrorKind, Partition, RecordKind, RunFilter, RunState, Seq, Settlement, Submission,
};
use crate::{RunId, TaskId};

/// A load is the latest snapshot and every record after it, in order.
pub async fn r15_a_load_is_the_snapshot_and_what_follows(subject: Subject) {
    let run = subject.accept().await;
    let lease = subject.own(run).await;
    let outcomes = (0..10).map(|task| succeeded(task, &task.to_string()));
    subject
        .append(&lease, run, outcomes)
        .await
        .expect("the owner writes");
    for (upto, name) in [(4, "first"), (4, "again"), (7, "second"), (10, "third")] {
        let snapshot = subject
            .journal
            .snapshot(&lease, run, Bytes::from(name), Seq::new(upto));
        snapshot.await.expect("the snapshot is stored");
        let log = subject
            .other
            .load(run)
            .await
            .expect("it is loaded")
            .expect("it is known");
        assert_eq!(log.snapshot.as_deref(), Some(name.as_bytes()));
        assert_eq!(
            (log.snapshot_upto, log.last()),
            (Seq::new(upto), Seq::new(10))
        );
        let rest: Vec<_> = (upto..10)
            .map(|task| succeeded(task as u32, &task.to_string()))
            .collect();
        assert_eq!(kinds(log.tail), rest);
    }
    subject
        .append(&lease, run, [dispatched(10)])
        .await
        .expect("the owner writes");
    assert_eq!(kinds(subject.log(run).await), [dispatched(10)]);
    assert_eq!(
        subject
            .other
            .load(RunId::new())
            .await
            .expect("it is answered"),
        None
    );
}

/// A snapshot that claims more than the log, or less than the one before, is refused.
pub async fn r15_a_snapshot_outside_of_the_log_is_refused(subject: Subject) {
    let run = subject.accept().await;
    let lease = subject.own(run).await;
    subject
        .append(&lease, run, (0..5).map(dispatched))
        .await
        .expect("the owner writes");
    let store = async |upto| {
        subject
            .journal
            .snapshot(&lease, run, Bytes::new(), Seq::new(upto))
            .await
    };
    refused(store(6).await, ErrorKind::Invalid);
    assert_eq!(subject.log(run).await.len(), 5);
    store(3).await.expect("the snapshot is stored");
    refused(store(2).await, ErrorKind::Invalid);
    assert_eq!(subject.log(run).await.len(), 2);
}

/// The output of a task is that of its latest record, and a snapshot takes it from nobody.
pub async fn r16_outputs_outlive_snapshots_and_the_latest_counts(subject: Subject) {
    let run = subject.accept().await;
    let lease = subject.own(run).await;
    let resolved = RecordKind::Resolved {
        task: TaskId::new(5),
        output: Bytes::from_static(b"r"),
    };
    let first = [RecordKind::Started, succeeded(3, "old"), resolved.clone()];
    subject
        .append(&lease, run, first.clone())
        .await
        .expect("the owner writes");
    let second = [
        RecordKind::Redriven {
            task: TaskId::new(3),
        },
        succeeded(3, "new"),
    ];
    subject
        .append(&lease, run, second.clone())
        .await
        .expect("the owner writes");
    assert_eq!(
        kinds(subject.log(run).await),
        [&first[..], &second[..]].concat()
    );
    for snapshot in [false, true] {
        if snapshot {
            let store = subject
                .journal
                .snapshot(&lease, run, Bytes::new(), Seq::new(5));
            store.await.expect("the snapshot is stored");
        }
        for (task, output) in [
            (3, Some("new")),
            (5, Some("r")),
            (4, None),
            (u32::MAX, None),
        ] {
            let read = subject.other.output(run, TaskId::new(task)).await;
            assert_eq!(
                read.expect("an output is read").as_deref(),
                output.map(str::as_bytes)
            );
        }
    }
    let unknown = subject.other.output(RunId::new(), TaskId::new(3)).await;
    assert_eq!(unknown.expect("it is answered"), None);
}

/// A new owner learns of every run that needs it once: from the inbox, or as an open run.
pub async fn r17_open_runs_and_inbox_name_each_run_once(subject: Subject) {
    let run = subject.accept().await;
    let lease = subject.own(run).await;
    assert_eq!(
        subject
            .journal
            .open_runs(&lease)
            .await
            .expect("it is answered"),
        []
    );
    let mut started = batch(run, [RecordKind::Started]);
    started.consume(subject.inbox(&lease).await[0].seq);
    subject
        .journal
        .append(&lease, &mut started)
        .await
        .expect("the owner writes");
    tokio::time::sleep(TTL * 2).await;
    let lease = subject.take_over(run).await;
    assert_eq!(
        subject
            .other
            .open_runs(&lease)
            .await
            .expect("it is answered"),
        [run]
    );
    assert_eq!(subject.inbox(&lease).await, []);
    subject
        .append(&lease, run, [settled("x")])
        .await
        .expect("the owner writes");
    assert_eq!(
        subject
            .other
            .open_runs(&lease)
            .await
            .expect("it is answered"),
        []
    );
}

async fn listed(subject: &Subject, filter: RunFilter) -> Vec<RunId> {
    let runs = subject.other.list(filter).await.expect("runs are listed");
    runs.into_iter().map(|run| run.run).collect()
}

async fn accept_all(
    subject: &Subject,
    submissions: impl IntoIterator<Item = Submission>,
) -> Vec<RunId> {
    let mut runs = Vec::new();
    for submission in submissions {
        runs.push(
            subject
                .journal
                .submit(submission)
                .await
                .expect("a run is accepted")
                .run,
        );
    }
    runs.sort_unstable();
    runs
}

/// A list has the runs that meet every condition, and no other.
pub async fn r18_a_list_meets_every_condition(subject: Subject) {
    let a = accept_all(&subject, (0..4).map(|_| submission().with_tenant("a"))).await;
    let b = accept_all(
        &subject,
        (0..4).map(|_| submission().with_tenant("b").with_label("k", "v")),
    )
    .await;
    let mut all = [a.clone(), b.clone()].concat();
    all.sort_unstable();
    assert_eq!(listed(&subject, RunFilter::default()).await, all);
    let tenant = |tenant: &str| RunFilter {
        tenant: Some(tenant.into()),
        ..RunFilter::default()
    };
    let label = |value: &str| RunFilter {
        label: Some(("k".into(), value.into())),
        ..RunFilter::default()
    };
    let state = |state| RunFilter {
        state: Some(state),
        ..RunFilter::default()
    };
    assert_eq!(listed(&subject, tenant("a")).await, a);
    assert_eq!(listed(&subject, tenant("c")).await, []);
    assert_eq!(listed(&subject, label("v")).await, b);
    assert_eq!(listed(&subject, label("w")).await, []);
    assert_eq!(
        listed(
            &subject,
            RunFilter {
                tenant: Some("a".into()),
                ..label("v")
            }
        )
        .await,
        []
    );

    let lease = subject.own(a[1]).await;
    let failed = RecordKind::Settled(Settlement::Failed {
        failure: Bytes::from_static(b"f"),
    });
    subject
        .append(&lease, a[1], [RecordKind::Started])
        .await
        .expect("the owner writes");
    assert_eq!(listed(&subject, state(RunState::Running)).await, [a[1]]);
    subject
        .append(&lease, a[1], [failed])
        .await
        .expect("the owner writes");
    assert_eq!(listed(&subject, state(RunState::Running)).await, []);
    assert_eq!(listed(&subject, state(RunState::Failed)).await, [a[1]]);
    assert_eq!(listed(&subject, state(RunState::Submitted)).await.len(), 7);
    let home = RunFilter {
        partition: Some(lease.partition()),
        ..RunFilter::default()
    };
    let there: Vec<_> = all
        .iter()
        .filter(|run| subject.home(**run) == lease.partition())
        .copied()
        .collect();
    assert_eq!(listed(&subject, home).await, there);
    let beyond = Partition::new(subject.journal.partitions().get());
    let nowhere = RunFilter {
        partition: Some(beyond),
        ..RunFilter::default()
    };
    assert_eq!(listed(&subject, nowhere).await, []);
}

/// A list in pages is the same list.
pub async fn r18_a_list_has_pages(subject: Subject) {
    let all = accept_all(&subject, (0..20).map(|_| submission())).await;
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let filter = RunFilter {
            after,
            limit: Some(6),
            ..RunFilter::default()
        };
        let page = listed(&subject, filter).await;
        assert!(page.len() == 6 || page.len() == all.len() - seen.len());
        let Some(last) = page.last() else { break };
        after = Some(*last);
        seen.extend(page);
    }
    assert_eq!(seen, all);
}

/// Events come in order, page by page, without gaps.
pub async fn r19_events_have_no_gaps(subject: Subject) {
    let run = subject.accept().await;
    let lease = subject.own(run).await;
    let expected: Vec<_> = (0..10)
        .flat_map(|task| [dispatched(task), succeeded(task, "x")])
        .collect();
    subject
        .append(&lease, run, expected.clone())
        .await
        .expect("the owner writes");
    let (mut after, mut seen) = (Seq::ZERO, Vec::new());
    loop {
        let page = subject
            .other
            .events(run, after, 7)
            .await
            .expect("events are read");
        assert_eq!(page.skipped, 0);
        assert!(page.records.len() <= 7);
        if page.records.is_empty() {
            break;
        }
        for (seq, record) in page.records {
            assert_eq!(seq, after.next());
            after = seq;
            seen.push(record.kind);
        }
    }
    assert_eq!(seen, expected);
    let beyond = subject
        .other
        .events(run, Seq::new(1_000), 7)
        .await
        .expect("events are read");
    assert_eq!(beyond.records, []);
    refused(
        subject.other.events(RunId::new(), Seq::ZERO, 7).await,
        ErrorKind::NotFound,
    );
}

/// Records that a snapshot stands for are either still there or counted as skipped.
pub async fn r19_events_behind_a_snapshot_are_kept_or_counted(subject: Subject) {
    let run = subject.accept().await;
    let lease = subject.own(run).await;
    subject
        .append(&lease, run, (0..10).map(dispatched))
        .await
        .expect("the owner writes");
    let store = subject
        .journal
        .snapshot(&lease, run, Bytes::new(), Seq::new(8));
    store.await.expect("the snapshot is stored");
    for after in 0..=10 {
        let page = subject.other.events(run, Seq::new(after), usize::MAX).await;
        let page = page.expect("events are read");
        let first = after + page.skipped + 1;
        assert!(
            page.skipped == 0 || first <= 9,
            "what follows the snapshot is there"
        );
        assert!(page.records.iter().map(|(seq, _)| seq.get()).eq(first..=10));
        let tasks = page.records.into_iter().map(|(_, record)| record.kind);
        assert!(tasks.eq((first..=10).map(|seq| dispatched(seq as u32 - 1))));
    }
}

/// Who watches a run learns that it settled, also when that happened before waiting.
pub async fn r20_watches_see_a_run_settle(subject: Subject) {
    let run = subject.accept().await;
    let mut watch = subject.other.watch(run).await.expect("the run is watched");
    let mut late = subject.other.watch(run).await.expect("the run is watched");
    let lease = subject.own(run).await;
    let other = subject.other.clone();
    let waiter = tokio::spawn(async move {
        loop {
            let summary = other
                .run(run)
                .await
                .expect("a run is read")
                .expect("it is known");
            if summary.state.is_settled() {
                return summary.state;
            }
            watch.changed().await;
        }
    });
    subject
        .append(&lease, run, [RecordKind::Started])
        .await
        .expect("the owner writes");
    tokio::task::yield_now().await;
    subject
        .append(&lease, run, [settled("x")])
        .await
        .expect("the owner writes");
    assert_eq!(waiter.await.expect("the waiter ends"), RunState::Succeeded);
    late.changed().await;
}

/// A watch that begins before the submission sees the run arrive and settle.
pub async fn r20_a_run_may_be_watched_before_it_is_submitted(subject: Subject) {
    let wanted = submission();
    let run = wanted.run;
    let mut watch = subject.other.watch(run).await.expect("the run is watched");
    subject
        .journal
        .submit(wanted)
        .await
        .expect("a run is accepted");
    watch.changed().await;
    let lease = subject.own(run).await;
    subject
        .append(&lease, run, [settled("x")])
        .await
        .expect("the owner writes");
    while subject
        .other
        .run(run)
        .await
        .expect("a run is read")
        .is_none_or(|run| !run.state.is_settled())
    {
        watch.changed().await;
    }
}

/// Who watches an inbox learns of submissions and commands, whatever process they come from.
pub async fn r20_watches_see_arrivals_in_the_inbox(subject: Subject) {
    let wanted = submission();
    let run = wanted.run;
    let lease = subject.own(run).await;
    let watch = subject.journal.watch_inbox(lease.partition()).await;
    let mut watch = watch.expect("the inbox is watched");
    assert_eq!(subject.inbox(&lease).await, []);
    subject
        .other
        .submit(wanted)
        .await
        .expect("a run is accepted");
    while subject.inbox(&lease).await.is_empty() {
        watch.changed().await;
    }
    let at = crate::Timestamp::EPOCH;
    let redrive = crate::journal::Command::Redrive {
        task: TaskId::new(0),
        at,
    };
    subject
        .other
        .send(run, redrive)
        .await
        .expect("a command is sent");
    while subject.inbox(&lease).await.len() < 2 {
        watch.changed().await;
    }
    let beyond = Partition::new(subject.journal.partitions().get());
    refused(
        subject.journal.watch_inbox(beyond).await,
        ErrorKind::Invalid,
    );
}
