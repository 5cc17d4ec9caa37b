//! R15 to R17: what a new owner and the readers of outputs find.

use bytes::Bytes;

use super::{Subject, TTL, batch, dispatched, kinds, refused, settled, succeeded};
use crate::journal::{ErrorKind, RecordKind, Seq};
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
    let second = [RecordKind::redriven(TaskId::new(3)), succeeded(3, "new")];
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
