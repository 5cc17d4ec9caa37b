//! Rules 11 and 12: what watchers are told.

use super::support::{Copy, LONG, Subject, next, record};
use crate::{Change, Health, Load, RemovalReason};

/// The resync holds what there is; then every change comes in order, numbered without a gap.
pub async fn r11_a_watch_begins_with_a_resync_and_tells_every_change(subject: Subject) {
    let early = record("early");
    subject.registered(early.clone(), LONG).await;
    let (mut watch, first) = subject.watch().await;
    assert_eq!(first.change, Change::Resync(vec![early.into()]));

    let late = record("late");
    let registration = subject.registered(late.clone(), LONG).await;
    subject
        .registry
        .renew(&registration, Load::new(1, 2), Health::Draining)
        .await
        .expect("renew");
    // A renewal that reports nothing new changes nothing and is not told.
    subject
        .registry
        .renew(&registration, Load::new(1, 2), Health::Draining)
        .await
        .expect("renew");
    let labelled = late.clone().with_label("zone", "a");
    subject
        .registry
        .update(&registration, labelled.clone())
        .await
        .expect("update");
    subject
        .registry
        .deregister(&registration)
        .await
        .expect("deregister");

    let instance = late.instance.clone();
    let expected = [
        Change::Added(late.into()),
        Change::Reported {
            instance: instance.clone(),
            load: Load::new(1, 2),
            health: Health::Draining,
        },
        Change::Updated(labelled.into()),
        Change::Removed {
            instance,
            reason: RemovalReason::Deregistered,
        },
    ];
    for (number, change) in (first.sequence + 1..).zip(expected) {
        let event = next(&mut watch).await;
        assert_eq!((event.sequence, event.change), (number, change));
    }
}

/// Watchers do not compete: each is told every change.
pub async fn r11_each_watch_is_told_everything(subject: Subject) {
    let mut watches = Vec::new();
    for _ in 0..3 {
        watches.push(subject.watch().await.0);
    }
    let registration = subject.registered(record("writer"), LONG).await;
    subject
        .registry
        .deregister(&registration)
        .await
        .expect("deregister");
    for watch in &mut watches {
        assert!(matches!(next(watch).await.change, Change::Added(_)));
        assert!(matches!(next(watch).await.change, Change::Removed { .. }));
    }
}

/// A watcher that sleeps through more than the buffer holds is resynced, and ends up with the truth.
pub async fn r12_a_slow_watch_gets_a_resync(subject: Subject) {
    let (mut watch, first) = subject.watch().await;
    let mut copy = Copy::default();
    copy.apply(first);
    let busy = subject.registered(record("busy"), LONG).await;
    for report in 0..3 * subject.watch_buffer as u32 {
        subject
            .registry
            .renew(&busy, Load::new(report + 1, 0), Health::Ready)
            .await
            .expect("renew");
    }
    let last = subject.registered(record("last"), LONG).await;
    while !copy.records.contains_key(&last.instance) {
        copy.apply(next(&mut watch).await);
    }
    assert!(copy.resyncs > 1, "the watch kept more than its buffer");
    assert_eq!(copy.instances(), subject.instances().await);
    assert_eq!(
        copy.records[&busy.instance].load.in_flight,
        3 * subject.watch_buffer as u32
    );

    // And it goes on as if nothing had been missed.
    subject
        .registry
        .deregister(&last)
        .await
        .expect("deregister");
    copy.apply(next(&mut watch).await);
    assert_eq!(copy.instances(), [busy.instance]);
}
