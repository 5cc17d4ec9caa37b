//! R1 to R4: submission, commands and the inbox.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{RecordKind, Subject, batch, refused, submission};
use crate::journal::{Batch, Command, ErrorKind, Request, RunState, Seq};
use crate::{Attempt, RunId, TaskId, Timestamp};

fn cancel(reason: &str) -> Command {
    Command::Cancel {
        reason: reason.into(),
        at: Timestamp::from_millis(2),
    }
}

/// An accepted run is kept, and waits in the inbox, whether or not its partition has an owner.
pub async fn r1_an_accepted_run_waits_without_an_owner(subject: Subject) {
    let wanted = submission().with_label("team", "a").with_tenant("t");
    let run = wanted.run;
    let submitted = subject.journal.submit(wanted.clone()).await;
    assert!(!submitted.expect("a run is accepted").existed);

    let summary = subject.other.run(run).await.expect("a run is read");
    let summary = summary.expect("the run is known");
    assert_eq!(summary.state, RunState::Submitted);
    assert_eq!(
        (&summary.tenant, &summary.labels),
        (&wanted.tenant, &wanted.labels)
    );

    let lease = subject.own(run).await;
    let entries = subject.inbox(&lease).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].run, run);
    assert_eq!(
        entries[0].request,
        Request::Submit(Arc::new(wanted.clone()))
    );
    let log = subject.other.load(run).await.expect("the run is loaded");
    assert_eq!(*log.expect("the run is known").submission, wanted);
}

/// A submission with the id of a known run is that run.
pub async fn r2_submitting_a_run_again_is_harmless(subject: Subject) {
    let wanted = submission();
    for existed in [false, true, true] {
        let submitted = subject.journal.submit(wanted.clone()).await;
        let submitted = submitted.expect("a run is accepted");
        assert_eq!((submitted.run, submitted.existed), (wanted.run, existed));
    }
    let lease = subject.own(wanted.run).await;
    assert_eq!(subject.inbox(&lease).await.len(), 1);
}

/// Submissions with one idempotency key are one run, also when they arrive at once.
pub async fn r2_one_key_is_one_run_also_concurrently(subject: Subject) {
    let mut submissions = JoinSet::new();
    for number in 0..16 {
        let handles = [&subject.journal, &subject.other];
        let journal = Arc::clone(handles[number % 2]);
        let submission = submission().with_idempotency_key("once");
        submissions.spawn(async move { journal.submit(submission).await });
    }
    let answers: Vec<_> = submissions
        .join_all()
        .await
        .into_iter()
        .map(|answer| answer.expect("a submission is answered"))
        .collect();
    let runs: BTreeSet<_> = answers.iter().map(|answer| answer.run).collect();
    assert_eq!(runs.len(), 1, "one key, one run");
    assert_eq!(answers.iter().filter(|answer| !answer.existed).count(), 1);

    let mut entries = 0;
    for partition in subject.journal.partitions().partitions() {
        let lease = subject.journal.claim(partition, "first", super::TTL).await;
        let lease = lease
            .expect("a claim is answered")
            .expect("the partition is free");
        entries += subject.inbox(&lease).await.len();
    }
    assert_eq!(entries, 1, "one run, one entry");
}

/// Keys are apart by tenant, and the id of a run gives no access to another tenant.
pub async fn r2_tenants_do_not_share_keys_or_runs(subject: Subject) {
    let of = |tenant: &str| {
        submission()
            .with_tenant(tenant)
            .with_idempotency_key("same")
    };
    let (a, b) = (of("a"), of("b"));
    for wanted in [&a, &b] {
        let submitted = subject.journal.submit(wanted.clone()).await;
        let submitted = submitted.expect("a run is accepted");
        assert_eq!((submitted.run, submitted.existed), (wanted.run, false));
    }
    let mut forged = submission().with_tenant("b");
    forged.run = a.run;
    refused(subject.journal.submit(forged).await, ErrorKind::Conflict);
}

/// Entries are handed out until an append consumes them, and never after.
pub async fn r3_entries_wait_until_an_append_consumes_them(subject: Subject) {
    let run = subject.accept().await;
    subject
        .journal
        .send(run, cancel("a"))
        .await
        .expect("a command is sent");
    let lease = subject.own(run).await;
    let entries = subject.inbox(&lease).await;
    assert_eq!(entries.len(), 2);
    assert_eq!(
        subject.inbox(&lease).await,
        entries,
        "reading consumes nothing"
    );

    tokio::time::sleep(super::TTL * 2).await;
    let lease = subject.take_over(run).await;
    assert_eq!(
        subject.inbox(&lease).await,
        entries,
        "a takeover consumes nothing"
    );

    let mut batch = Batch::new();
    batch.consume(entries[1].seq);
    subject
        .journal
        .append(&lease, &mut batch)
        .await
        .expect("it is consumed");
    assert_eq!(subject.inbox(&lease).await, entries[..1]);
    batch.consume(entries[0].seq);
    subject
        .journal
        .append(&lease, &mut batch)
        .await
        .expect("it is consumed");
    assert_eq!(subject.inbox(&lease).await, []);
}

/// Entries come in the order of their positions, page by page, and later ones get greater positions.
pub async fn r3_entries_come_in_order_and_in_pages(subject: Subject) {
    let run = subject.accept().await;
    let lease = subject.own(run).await;
    let mut consume = Batch::new();
    consume.consume(subject.inbox(&lease).await[0].seq);
    subject
        .journal
        .append(&lease, &mut consume)
        .await
        .expect("it is consumed");

    let reasons: Vec<_> = (0..7).map(|number| number.to_string()).collect();
    for reason in &reasons {
        subject
            .journal
            .send(run, cancel(reason))
            .await
            .expect("a command is sent");
    }
    let (mut after, mut seen) = (Seq::ZERO, Vec::new());
    loop {
        let page = subject.journal.inbox(&lease, after, 3).await;
        let page = page.expect("the inbox is read");
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        assert!(page[0].seq > after && page.is_sorted_by_key(|entry| entry.seq));
        after = last.seq;
        seen.extend(page.into_iter().map(|entry| entry.request));
    }
    let sent: Vec<_> = reasons
        .iter()
        .map(|reason| Request::Command(cancel(reason)))
        .collect();
    assert_eq!(seen, sent);
}

/// A command waits in the inbox of its run's partition; one for an unknown run is refused.
pub async fn r4_a_command_reaches_the_inbox_of_a_known_run_only(subject: Subject) {
    refused(
        subject.journal.send(RunId::new(), cancel("x")).await,
        ErrorKind::NotFound,
    );
    let run = subject.accept().await;
    let lease = subject.own(run).await;
    let submit = subject.inbox(&lease).await[0].seq;
    let mut started = batch(run, [RecordKind::Started]);
    started.consume(submit);
    subject
        .journal
        .append(&lease, &mut started)
        .await
        .expect("it is consumed");
    subject
        .other
        .send(run, cancel("enough"))
        .await
        .expect("a command is sent");
    let entries = subject.inbox(&lease).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].run, run);
    assert_eq!(entries[0].request, Request::Command(cancel("enough")));
    assert!(entries[0].seq > submit);
}

/// Every command comes as it was sent, whatever it carries.
pub async fn r4_every_command_comes_as_it_was_sent(subject: Subject) {
    let run = subject.accept().await;
    let (at, task) = (Timestamp::from_millis(2), TaskId::new(3));
    let signal = |payload: &[u8]| Command::Signal {
        name: "paid".into(),
        payload: Bytes::copy_from_slice(payload),
        at,
    };
    let patch = |patch: &[u8]| Command::Patch {
        patch: Bytes::copy_from_slice(patch),
        at,
    };
    let priority = |task| Command::Prioritize {
        task,
        priority: 0,
        at,
    };
    let commands = vec![
        cancel("enough"),
        Command::Pause {
            reason: "an incident".into(),
            at,
        },
        Command::Resume { at },
        Command::Reschedule {
            start_at: Timestamp::MAX,
            at,
        },
        priority(None),
        priority(Some(task)),
        signal(br#"{"cents": 17}"#),
        signal(b""),
        signal(&[255, 254]),
        signal(&[b'x'; 60_000]),
        patch(br#"{"id": "a"}"#),
        patch(&[255, 254]),
        patch(&[b'y'; 300_000]),
        Command::redrive(task, at),
        Command::Redrive {
            task,
            at,
            attempt: Some(Attempt::new(2)),
            input: Some(Bytes::from_static(b"[1]")),
            to: Some("other@^2".into()),
        },
        Command::Retry {
            settled: Seq::new(9),
            at,
        },
    ];
    for command in &commands {
        let sent = subject.journal.send(run, command.clone()).await;
        sent.expect("a command is sent");
    }
    let lease = subject.own(run).await;
    let came: Vec<_> = subject.inbox(&lease).await[1..]
        .iter()
        .map(|entry| match &entry.request {
            Request::Command(command) => command.clone(),
            other => panic!("it was submitted once, and not {other:?}"),
        })
        .collect();
    assert_eq!(came, commands);
}
