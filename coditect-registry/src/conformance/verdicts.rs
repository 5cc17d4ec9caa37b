//! Rule 16, and what rule 3 says of reasons: what is held against an instance, and why.

use std::time::{Duration, SystemTime};

use super::support::{LONG, SHORT, Subject, assert_refused, next, pass, record};
use crate::{Change, ErrorKind, Health, Load, Reason, Verdict};

fn reason(text: &str) -> Reason {
    Reason::new(
        text,
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
    )
}

/// A reason that is reported with a health is stored, and a renewal that reports another health drops it.
pub async fn r3_a_reason_goes_with_the_health_it_was_given_for(subject: Subject) {
    let plain = record("writer");
    let registration = subject.registered(plain.clone(), LONG).await;
    let weak = plain.with_health_reason(Health::Degraded, reason("cold cache"));
    subject
        .registry
        .update(&registration, weak)
        .await
        .expect("update");
    for (health, expected) in [
        (Health::Degraded, Some(reason("cold cache"))),
        (Health::Ready, None),
    ] {
        subject
            .registry
            .renew(&registration, Load::new(2, 8), health)
            .await
            .expect("renew");
        let stored = &subject.records().await[0];
        assert_eq!(
            (stored.health, stored.health_reason.clone()),
            (health, expected)
        );
    }
}

/// Whoever watches is told of a verdict and of its end, and lookups show it, reason and time included.
pub async fn r16_a_verdict_is_told_and_shown_until_it_is_taken_back(subject: Subject) {
    let registration = subject.registered(record("writer"), LONG).await;
    let (mut watch, first) = subject.watch().await;
    let instance = &registration.instance;
    let verdicts = [
        Some(Verdict::degraded(reason("one of three probes"))),
        Some(Verdict::evicted(reason("no answer"))),
        None,
    ];
    for (number, verdict) in (first.sequence + 1..).zip(verdicts) {
        // The second time it is no news.
        for _ in 0..2 {
            subject
                .registry
                .judge(instance, verdict.clone())
                .await
                .expect("judge");
        }
        let event = next(&mut watch).await;
        let expected = Change::Judged {
            instance: instance.clone(),
            verdict: verdict.clone(),
        };
        assert_eq!((event.sequence, event.change), (number, expected));
        assert_eq!(subject.records().await[0].verdict, verdict);
        let found = subject.registry.find(&"work".parse().expect("valid")).await;
        assert_eq!(found.expect("find")[0].verdict, verdict);
    }
}

/// What the agent does leaves the verdict as it is, until it registers anew.
pub async fn r16_a_verdict_lasts_as_long_as_the_registration(subject: Subject) {
    let original = record("writer");
    let registration = subject.registered(original.clone(), LONG).await;
    let verdict = Some(Verdict::evicted(reason("no answer")));
    subject
        .registry
        .judge(&registration.instance, verdict.clone())
        .await
        .expect("judge");

    subject
        .registry
        .renew(&registration, Load::new(1, 8), Health::Degraded)
        .await
        .expect("renewal of an evicted instance");
    assert_eq!(subject.records().await[0].verdict, verdict);
    let flattering = original
        .with_label("zone", "b")
        .judged(Some(Verdict::degraded(reason("not so bad"))));
    let (mut watch, _) = subject.watch().await;
    subject
        .registry
        .update(&registration, flattering.clone())
        .await
        .expect("update");
    let kept = flattering.judged(verdict);
    assert_eq!(
        next(&mut watch).await.change,
        Change::Updated(kept.clone().into())
    );
    assert_eq!(subject.records().await, [kept.clone().into()]);

    subject.registered(kept, LONG).await;
    assert_eq!(subject.records().await[0].verdict, None);
}

/// Only live instances can be judged; another incarnation's verdict is not one's own.
pub async fn r16_only_a_live_instance_can_be_judged(subject: Subject) {
    let verdict = Some(Verdict::evicted(reason("no answer")));
    let stranger = record("writer").instance;
    assert_refused(
        subject.registry.judge(&stranger, verdict.clone()).await,
        ErrorKind::LeaseLost,
    );
    let mortal = subject.registered(record("writer"), SHORT).await;
    let other = subject.registered(record("writer"), LONG).await;
    assert_refused(
        subject.registry.judge(&stranger, verdict.clone()).await,
        ErrorKind::LeaseLost,
    );
    subject
        .registry
        .judge(&other.instance, verdict.clone())
        .await
        .expect("judge");
    for stored in subject.records().await {
        let expected = verdict
            .clone()
            .filter(|_| stored.instance == other.instance);
        assert_eq!(stored.verdict, expected);
    }
    pass(SHORT * 2).await;
    assert_refused(
        subject.registry.judge(&mortal.instance, verdict).await,
        ErrorKind::LeaseLost,
    );
}
