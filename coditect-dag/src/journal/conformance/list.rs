//! R18: lists of runs.

use bytes::Bytes;

use super::{Subject, submission};
use crate::journal::{Partition, RecordKind, RunFilter, RunState, Settlement, Submission};
use crate::{RunId, Timestamp};

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

/// A list by age has the runs that were submitted in a span, its begin included and its end not.
pub async fn r18_a_list_is_of_an_age(subject: Subject) {
    let mut runs = Vec::new();
    for at in [10, 20, 30, 40] {
        let at = Timestamp::from_millis(at);
        let old = Submission { at, ..submission() };
        runs.extend(accept_all(&subject, [old.with_tenant("a")]).await);
    }
    let span = |from: Option<u64>, until: Option<u64>| RunFilter {
        tenant: Some("a".into()),
        from: from.map(Timestamp::from_millis),
        until: until.map(Timestamp::from_millis),
        ..RunFilter::default()
    };
    let sorted = |runs: &[RunId]| {
        let mut runs = runs.to_vec();
        runs.sort_unstable();
        runs
    };
    for (from, until, expected) in [
        (None, None, &runs[..]),
        (Some(20), None, &runs[1..]),
        (None, Some(20), &runs[..1]),
        (Some(20), Some(40), &runs[1..3]),
        (Some(41), None, &[]),
    ] {
        let found = listed(&subject, span(from, until)).await;
        assert_eq!(found, sorted(expected), "{from:?}..{until:?}");
    }
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
