//! Rules 2 to 6, 8 and 9: how a registration lives and ends.

use super::support::{LONG, SHORT, Subject, assert_refused, capability, next, pass, record};
use crate::{Change, ErrorKind, Filter, Health, Load, RemovalReason};

/// A lease that nobody renews ends, and its record is in no lookup, though nobody watches.
pub async fn r2_an_unrenewed_lease_expires_by_itself(subject: Subject) {
    subject.registered(record("mortal"), SHORT).await;
    let lasting = subject.registered(record("lasting"), LONG).await;
    pass(SHORT * 2).await;
    assert_eq!(subject.instances().await, [lasting.instance]);
    assert_eq!(
        subject
            .registry
            .find(&"work".parse().expect("valid"))
            .await
            .expect("find")
            .len(),
        1
    );
    assert_eq!(
        subject
            .registry
            .catalogue(&Filter::all())
            .await
            .expect("catalogue")
            .entries[0]
            .instances,
        1
    );
}

/// Watchers hear of an expiry without anybody calling the registry.
pub async fn r2_watchers_are_told_of_expiry(subject: Subject) {
    let (mut watch, _) = subject.watch().await;
    let mortal = subject.registered(record("mortal"), SHORT).await;
    assert!(matches!(next(&mut watch).await.change, Change::Added(_)));
    let expected = Change::Removed {
        instance: mortal.instance,
        reason: RemovalReason::Expired,
    };
    assert_eq!(next(&mut watch).await.change, expected);
}

/// An agent that renews in time lives on, and its load and health are stored.
pub async fn r3_renewal_extends_the_lease_and_stores_the_report(subject: Subject) {
    // Twice as long over as it lasts, and never so long that a slow machine would be late.
    let registration = subject.registered(record("writer"), 3 * SHORT).await;
    for beat in 1..=6 {
        pass(SHORT).await;
        let renewed = subject
            .registry
            .renew(&registration, Load::new(beat, 8), Health::Degraded)
            .await;
        renewed.expect("renewal in time");
        let records = subject.records().await;
        assert_eq!(
            (records[0].load, records[0].health),
            (Load::new(beat, 8), Health::Degraded)
        );
    }
}

/// After its lease has ended a registration can neither be renewed nor updated, and its agent is told to register again.
pub async fn r4_a_lost_registration_is_refused(subject: Subject) {
    let original = record("writer");
    let registration = subject.registered(original.clone(), SHORT).await;
    pass(SHORT * 2).await;
    assert_refused(
        subject
            .registry
            .renew(&registration, Load::idle(1), Health::Ready)
            .await,
        ErrorKind::LeaseLost,
    );
    assert_refused(
        subject
            .registry
            .update(&registration, original.clone())
            .await,
        ErrorKind::LeaseLost,
    );
    assert!(
        subject.records().await.is_empty(),
        "a refused renewal brought the record back"
    );

    let again = subject.registered(original, LONG).await;
    subject
        .registry
        .renew(&again, Load::idle(1), Health::Ready)
        .await
        .expect("registered again");
    subject
        .registry
        .deregister(&again)
        .await
        .expect("deregister");
    assert_refused(
        subject
            .registry
            .renew(&again, Load::idle(1), Health::Ready)
            .await,
        ErrorKind::LeaseLost,
    );
}

/// Each registration has a greater token, whether of the same instance, another incarnation or another agent.
pub async fn r5_fencing_tokens_grow(subject: Subject) {
    let same = record("same");
    let mut last = subject.registered(same.clone(), LONG).await;
    for next in [same.clone(), record("same"), record("other"), same] {
        let registration = subject.registered(next, LONG).await;
        assert!(
            registration.token > last.token,
            "{registration:?} after {last:?}"
        );
        last = registration;
    }
    subject
        .registry
        .deregister(&last)
        .await
        .expect("deregister");
    assert!(subject.registered(record("same"), LONG).await.token > last.token);
}

/// Repeating a registration leaves one record, the newer, and ends the older registration.
pub async fn r6_registering_again_replaces_the_same_instance(subject: Subject) {
    let original = record("writer");
    let first = subject.registered(original.clone(), LONG).await;
    let (mut watch, _) = subject.watch().await;
    let changed = original.with_capabilities([capability("edit", "1.0.0")]);
    let second = subject.registered(changed.clone(), LONG).await;
    assert_eq!(
        next(&mut watch).await.change,
        Change::Updated(changed.clone().into())
    );
    assert_eq!(subject.records().await, [changed.into()]);
    assert!(
        subject
            .registry
            .find(&"work".parse().expect("valid"))
            .await
            .expect("find")
            .is_empty()
    );
    assert_refused(
        subject
            .registry
            .renew(&first, Load::idle(1), Health::Ready)
            .await,
        ErrorKind::LeaseLost,
    );
    subject
        .registry
        .renew(&second, Load::idle(1), Health::Ready)
        .await
        .expect("renew");
}

/// An update changes what is found, tells watchers, and leaves the lease's end where it was.
pub async fn r8_update_replaces_the_record_without_extending_the_lease(subject: Subject) {
    let original = record("writer");
    let registration = subject.registered(original.clone(), SHORT).await;
    let (mut watch, _) = subject.watch().await;
    pass(SHORT * 3 / 4).await;
    let changed = original
        .with_capabilities([capability("edit", "1.0.0")])
        .with_label("zone", "b");
    subject
        .registry
        .update(&registration, changed.clone())
        .await
        .expect("update");
    assert_eq!(
        next(&mut watch).await.change,
        Change::Updated(changed.clone().into())
    );
    assert_eq!(
        subject
            .registry
            .find(&"edit".parse().expect("valid"))
            .await
            .expect("find"),
        [changed.into()]
    );
    assert!(
        subject
            .registry
            .find(&"work".parse().expect("valid"))
            .await
            .expect("find")
            .is_empty()
    );

    pass(SHORT * 3 / 4).await;
    assert!(
        subject.records().await.is_empty(),
        "the update has extended the lease"
    );
    let stranger = subject
        .registry
        .update(&registration, record("stranger"))
        .await;
    assert_refused(stranger, ErrorKind::Invalid);
}

/// Deregistering takes the record out at once, is told once, and may be repeated.
pub async fn r9_deregister_is_immediate_and_idempotent(subject: Subject) {
    let registration = subject.registered(record("writer"), LONG).await;
    let (mut watch, _) = subject.watch().await;
    for _ in 0..3 {
        subject
            .registry
            .deregister(&registration)
            .await
            .expect("deregister");
        assert!(subject.records().await.is_empty());
    }
    let expected = Change::Removed {
        instance: registration.instance,
        reason: RemovalReason::Deregistered,
    };
    assert_eq!(next(&mut watch).await.change, expected);
    subject.registered(record("next"), LONG).await;
    assert!(
        matches!(next(&mut watch).await.change, Change::Added(_)),
        "the departure was told twice"
    );
}

/// A registration that has been followed by another of the same instance no longer ends anything.
pub async fn r9_a_lost_registration_cannot_take_out_its_successor(subject: Subject) {
    let original = record("writer");
    let first = subject.registered(original.clone(), LONG).await;
    let second = subject.registered(original, LONG).await;
    subject
        .registry
        .deregister(&first)
        .await
        .expect("deregister");
    assert_eq!(subject.instances().await, [second.instance]);
}
