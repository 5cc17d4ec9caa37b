//! R19 and R20: what those see who follow a run or an inbox.

use bytes::Bytes;

use super::{Subject, dispatched, refused, settled, submission, succeeded};
use crate::journal::{Command, ErrorKind, Partition, RecordKind, RunState, Seq};
use crate::{RunId, TaskId, Timestamp};

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

/// Who watches a state learns that the run left it, whichever process writes that, and need not be told of more.
pub async fn r20_watches_of_a_state_see_it_left(subject: Subject) {
    let run = subject.accept().await;
    let seen = async || {
        let run = subject.other.run(run).await.expect("a run is read");
        run.expect("it is known").state
    };
    let lease = subject.own(run).await;
    let way = [
        (RunState::Submitted, RecordKind::Started),
        (RunState::Running, settled("x")),
    ];
    for (state, record) in way {
        assert_eq!(seen().await, state);
        let watch = subject.other.watch_while(run, state).await;
        let mut watch = watch.expect("the state is watched");
        subject
            .append(&lease, run, [record])
            .await
            .expect("the owner writes");
        while seen().await == state {
            watch.changed().await;
        }
    }
    assert_eq!(seen().await, RunState::Succeeded);
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
    let at = Timestamp::EPOCH;
    let redrive = Command::redrive(TaskId::new(0), at);
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
