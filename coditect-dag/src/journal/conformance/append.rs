//! R9 to R14: what an append does, and what it refuses.

use bytes::Bytes;

use super::{
    RecordKind, Subject, TTL, batch, dispatched, kinds, refused, settled, submission, succeeded,
};
use crate::journal::{Batch, Command, ErrorKind, PartitionLease, RunState, Seq};
use crate::{RunId, TaskId, Timestamp};

/// A batch with one bad record, or one bad consumption, writes and consumes nothing at all.
pub async fn r9_a_refused_batch_changes_nothing_and_stays_whole(subject: Subject) {
    let run = subject.accept().await;
    let lease = subject.own(run).await;
    let entries = subject.inbox(&lease).await;
    let unknown = sibling(&subject, run);
    let good = || {
        let mut good = batch(run, [RecordKind::Started, dispatched(0), succeeded(0, "x")]);
        good.consume(entries[0].seq);
        good
    };
    let mut bad_record = good();
    bad_record.push(unknown, RecordKind::Started.at(Timestamp::EPOCH));
    bad_record.push(run, dispatched(1).at(Timestamp::EPOCH));
    let mut bad_consumption = good();
    bad_consumption.consume(Seq::new(entries[0].seq.get() + 1_000));
    for mut bad in [bad_record, bad_consumption] {
        let before = bad.clone();
        subject
            .journal
            .append(&lease, &mut bad)
            .await
            .expect_err("the batch is refused");
        assert_eq!(bad, before, "a refused batch stays whole");
        assert_eq!(subject.log(run).await, []);
        assert_eq!(subject.inbox(&lease).await, entries);
        let output = subject.journal.output(run, TaskId::new(0)).await;
        assert_eq!(output.expect("an output is read"), None);
        let summary = subject.journal.run(run).await.expect("a run is read");
        assert_eq!(
            summary.expect("the run is known").state,
            RunState::Submitted
        );
    }
}

/// Finds the id of a run in the same partition as another.
fn sibling(subject: &Subject, run: RunId) -> RunId {
    loop {
        let other = RunId::new();
        if subject.home(other) == subject.home(run) {
            return other;
        }
    }
}

/// An accepted batch writes its records and consumes its entries, and is empty afterwards.
pub async fn r9_an_accepted_batch_is_whole_and_leaves_it_empty(subject: Subject) {
    let run = subject.accept().await;
    let lease = subject.own(run).await;
    let expected = [RecordKind::Started, dispatched(0), succeeded(0, "x")];
    let mut batch = batch(run, expected.clone());
    for entry in subject.inbox(&lease).await {
        batch.consume(entry.seq);
    }
    subject
        .journal
        .append(&lease, &mut batch)
        .await
        .expect("the batch is accepted");
    assert!(batch.is_empty());
    assert_eq!(kinds(subject.log(run).await), expected);
    assert_eq!(subject.inbox(&lease).await, []);
    subject
        .journal
        .append(&lease, &mut batch)
        .await
        .expect("an empty batch is accepted");
    assert_eq!(subject.log(run).await.len(), 3);
}

/// The records of each run stand in the order of appends and of the batch, also where runs alternate.
pub async fn r10_records_keep_their_order(subject: Subject) {
    let first = subject.accept().await;
    let mut second = submission();
    second.run = sibling(&subject, first);
    let second = subject
        .journal
        .submit(second)
        .await
        .expect("a run is accepted")
        .run;
    let lease = subject.own(first).await;
    for round in 0..4 {
        let mut batch = Batch::new();
        for task in round * 10..round * 10 + 10 {
            batch.push(first, dispatched(task).at(Timestamp::EPOCH));
            batch.push(second, dispatched(1_000 + task).at(Timestamp::EPOCH));
            batch.push(first, succeeded(task, "x").at(Timestamp::EPOCH));
        }
        subject
            .journal
            .append(&lease, &mut batch)
            .await
            .expect("the batch is accepted");
    }
    let of_first: Vec<_> = (0..40)
        .flat_map(|task| [dispatched(task), succeeded(task, "x")])
        .collect();
    let of_second: Vec<_> = (0..40).map(|task| dispatched(1_000 + task)).collect();
    assert_eq!(kinds(subject.log(first).await), of_first);
    assert_eq!(kinds(subject.log(second).await), of_second);
    let page = subject.other.events(first, Seq::ZERO, usize::MAX).await;
    let page = page.expect("events are read");
    assert!(page.records.iter().map(|(seq, _)| seq.get()).eq(1..=80));
}

async fn assert_fenced(
    subject: &Subject,
    stale: &PartitionLease,
    run: RunId,
    valid: &PartitionLease,
) {
    let entries = subject.inbox(valid).await;
    let log = subject.other.load(run).await.expect("the run is loaded");
    let mut batch = batch(run, [dispatched(0), succeeded(0, "stale")]);
    refused(
        subject.journal.append(stale, &mut batch).await,
        ErrorKind::Fenced,
    );
    let mut consume = Batch::new();
    consume.consume(entries[0].seq);
    refused(
        subject.journal.append(stale, &mut consume).await,
        ErrorKind::Fenced,
    );
    refused(
        subject.journal.append(stale, &mut Batch::new()).await,
        ErrorKind::Fenced,
    );
    let snapshot = subject
        .journal
        .snapshot(stale, run, Bytes::from_static(b"stale"), Seq::new(1));
    refused(snapshot.await, ErrorKind::Fenced);
    refused(
        subject.journal.inbox(stale, Seq::ZERO, 1).await,
        ErrorKind::Fenced,
    );
    refused(subject.journal.open_runs(stale).await, ErrorKind::Fenced);

    assert_eq!(
        subject.other.load(run).await.expect("the run is loaded"),
        log
    );
    assert_eq!(subject.inbox(valid).await, entries);
    let output = subject.other.output(run, TaskId::new(0)).await;
    assert_eq!(output.expect("an output is read"), None);
}

/// Who was replaced by another owner writes no record, consumes nothing, stores no snapshot.
pub async fn r11_a_stale_token_writes_nothing(subject: Subject) {
    let run = subject.accept().await;
    let stale = subject.own(run).await;
    subject
        .append(&stale, run, [RecordKind::Started])
        .await
        .expect("the owner writes");
    tokio::time::sleep(TTL * 2).await;
    let valid = subject.take_over(run).await;
    assert_fenced(&subject, &stale, run, &valid).await;
    subject
        .append(&valid, run, [dispatched(0)])
        .await
        .expect("the new owner writes");
    assert_fenced(&subject, &stale, run, &valid).await;
}

/// Who has given its lease back writes nothing, whether or not there is another owner.
pub async fn r11_a_released_lease_writes_nothing(subject: Subject) {
    let run = subject.accept().await;
    let stale = subject.own(run).await;
    subject
        .append(&stale, run, [RecordKind::Started])
        .await
        .expect("the owner writes");
    subject
        .journal
        .release(stale.clone())
        .await
        .expect("the lease is released");
    refused(
        subject.append(&stale, run, [dispatched(0)]).await,
        ErrorKind::Fenced,
    );
    let valid = subject.take_over(run).await;
    assert_fenced(&subject, &stale, run, &valid).await;
}

/// Unknown runs, runs of other partitions and entries that are not in the inbox are refused.
pub async fn r12_what_does_not_belong_is_refused(subject: Subject) {
    let run = subject.accept().await;
    let lease = subject.own(run).await;
    let foreign = loop {
        let wanted = submission();
        if subject.home(wanted.run) != subject.home(run) {
            break subject
                .journal
                .submit(wanted)
                .await
                .expect("a run is accepted")
                .run;
        }
    };
    refused(
        subject.append(&lease, foreign, [RecordKind::Started]).await,
        ErrorKind::Invalid,
    );
    assert_eq!(subject.log(foreign).await, []);
    let snapshot = subject
        .journal
        .snapshot(&lease, foreign, Bytes::new(), Seq::ZERO);
    refused(snapshot.await, ErrorKind::Invalid);

    let unknown = sibling(&subject, run);
    refused(
        subject.append(&lease, unknown, [RecordKind::Started]).await,
        ErrorKind::NotFound,
    );
    let snapshot = subject
        .journal
        .snapshot(&lease, unknown, Bytes::new(), Seq::ZERO);
    refused(snapshot.await, ErrorKind::NotFound);

    let seq = subject.inbox(&lease).await[0].seq;
    let mut consume = Batch::new();
    consume.consume(seq);
    subject
        .journal
        .append(&lease, &mut consume)
        .await
        .expect("it is consumed");
    consume.consume(seq);
    refused(
        subject.journal.append(&lease, &mut consume).await,
        ErrorKind::Conflict,
    );
}

/// A settled run takes no outcome, in the same batch or later, until a redrive opens it again.
pub async fn r13_a_settled_run_takes_nothing_but_a_redrive(subject: Subject) {
    let run = subject.accept().await;
    let lease = subject.own(run).await;
    let task = TaskId::new(0);
    let premature = [RecordKind::Started, settled("a"), succeeded(0, "late")];
    refused(
        subject.append(&lease, run, premature).await,
        ErrorKind::Conflict,
    );
    let end = [RecordKind::Started, settled("a")];
    subject
        .append(&lease, run, end)
        .await
        .expect("the run settles");
    for late in [
        succeeded(0, "late"),
        settled("b"),
        RecordKind::Cancelled { task },
    ] {
        refused(
            subject.append(&lease, run, [late]).await,
            ErrorKind::Conflict,
        );
    }
    let summary = subject
        .other
        .run(run)
        .await
        .expect("a run is read")
        .expect("it is known");
    assert_eq!(summary.state, RunState::Succeeded);
    assert_eq!(summary.result().map(|result| &result[..]), Some(&b"a"[..]));
    assert_eq!(subject.log(run).await.len(), 2);

    let redrive = [RecordKind::redriven(task), dispatched(0)];
    subject
        .append(&lease, run, redrive)
        .await
        .expect("a redrive opens the run");
    let summary = subject
        .other
        .run(run)
        .await
        .expect("a run is read")
        .expect("it is known");
    assert_eq!((summary.state, summary.result()), (RunState::Running, None));
    let end = [succeeded(0, "x"), settled("b")];
    subject
        .append(&lease, run, end)
        .await
        .expect("the run settles again");
}

/// What is committed is seen by every reading that begins afterwards.
pub async fn r14_a_commit_is_seen_everywhere(subject: Subject) {
    let run = subject.accept().await;
    let lease = subject.own(run).await;
    subject
        .append(&lease, run, [RecordKind::Started])
        .await
        .expect("the owner writes");
    for task in 0..50 {
        let outcome = [dispatched(task), succeeded(task, &task.to_string())];
        subject
            .append(&lease, run, outcome)
            .await
            .expect("the owner writes");
        let output = subject.other.output(run, TaskId::new(task)).await;
        let output = output.expect("an output is read").expect("it is there");
        assert_eq!(output, task.to_string());
        let summary = subject
            .other
            .run(run)
            .await
            .expect("a run is read")
            .expect("it is known");
        assert_eq!(summary.counts.succeeded, u64::from(task) + 1);
        assert_eq!(summary.last, Seq::new(2 * u64::from(task) + 3));
    }
    let cancel = Command::Cancel {
        reason: "x".into(),
        at: Timestamp::EPOCH,
    };
    subject
        .other
        .send(run, cancel)
        .await
        .expect("a command is sent");
    assert_eq!(subject.inbox(&lease).await.len(), 2);
}
