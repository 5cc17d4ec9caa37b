//! Rules 1, 7, 10 and 13 to 15: who is found, and who stands beside whom.

use std::time::Duration;

use super::support::{LONG, SHORT, Subject, assert_refused, capability, next, pass, record};
use crate::{AgentRecord, Change, ErrorKind, Filter, Health, Incarnation, Load, RemovalReason};

/// What was registered comes back whole, from `list` and from `find`.
pub async fn r1_a_registered_record_is_found(subject: Subject) {
    assert!(
        subject.records().await.is_empty(),
        "the subject is not empty"
    );
    let rich = capability("summarize", "1.2.3")
        .with_description("shortens")
        .with_input_schema(serde_json::json!({ "type": "string" }))
        .with_output_schema(serde_json::json!({ "type": "object" }));
    let rich = record("writer")
        .with_capabilities([rich])
        .with_endpoint("10.0.0.7:4100")
        .with_load(Load::new(2, 9))
        .with_health(Health::Degraded)
        .with_tenant("acme".parse().expect("valid"))
        .with_label("zone", "eu-1");
    let registration = subject.registered(rich.clone(), LONG).await;
    assert_eq!(
        (&registration.instance, registration.ttl),
        (&rich.instance, LONG)
    );
    subject.registered(record("other"), LONG).await;
    let of_writer = Filter::all().with_agent(rich.agent().clone());
    assert_eq!(
        subject.registry.list(&of_writer).await.expect("list"),
        [rich.clone().into()]
    );
    assert_eq!(
        subject
            .registry
            .find(&"summarize".parse().expect("valid"))
            .await
            .expect("find"),
        [rich.into()]
    );
    assert_eq!(subject.records().await.len(), 2);
}

/// Two processes may serve under one name, each with its own lease.
pub async fn r7_incarnations_coexist(subject: Subject) {
    let first = subject.registered(record("writer"), LONG).await;
    let second = subject.registered(record("writer"), LONG).await;
    for registration in [&first, &second] {
        subject
            .registry
            .renew(registration, Load::idle(1), Health::Ready)
            .await
            .expect("both live");
    }
    assert_eq!(subject.records().await.len(), 2);
    subject
        .registry
        .deregister(&first)
        .await
        .expect("deregister");
    assert_eq!(subject.instances().await, [second.instance]);
}

/// A new start takes an exclusive name; the older one is told to stop and cannot take it back.
pub async fn r7_an_exclusive_registration_replaces_older_ones(subject: Subject) {
    for (older_exclusive, newer_exclusive) in [(true, true), (false, true), (true, false)] {
        let name = format!("writer-{older_exclusive}-{newer_exclusive}");
        let older_record = record(&name).with_exclusive(older_exclusive);
        let older = subject.registered(older_record.clone(), LONG).await;
        let (mut watch, _) = subject.watch().await;
        let newer = subject
            .registered(record(&name).with_exclusive(newer_exclusive), LONG)
            .await;
        let expected = Change::Removed {
            instance: older.instance.clone(),
            reason: RemovalReason::Replaced,
        };
        assert_eq!(next(&mut watch).await.change, expected);
        assert!(matches!(next(&mut watch).await.change, Change::Added(_)));

        let renewal = subject
            .registry
            .renew(&older, Load::idle(1), Health::Ready)
            .await;
        assert_refused(renewal, ErrorKind::Superseded);
        assert_refused(
            subject.registry.update(&older, older_record.clone()).await,
            ErrorKind::Superseded,
        );
        assert_refused(
            subject.registry.register(older_record, LONG).await,
            ErrorKind::Superseded,
        );
        let of_name = Filter::all().with_agent(newer.agent().clone());
        let left = subject.registry.list(&of_name).await.expect("list");
        assert_eq!(
            left.iter()
                .map(|record| &record.instance)
                .collect::<Vec<_>>(),
            [&newer.instance]
        );
        subject
            .registry
            .renew(&newer, Load::idle(1), Health::Ready)
            .await
            .expect("the newer one lives");
    }
}

/// The name is free again when its holder is gone.
pub async fn r7_a_replaced_incarnation_may_return_once_the_newer_is_gone(subject: Subject) {
    let older_record = record("writer").with_exclusive(true);
    let older = subject.registered(older_record.clone(), LONG).await;
    subject
        .registered(record("writer").with_exclusive(true), SHORT)
        .await;
    let renewal = subject
        .registry
        .renew(&older, Load::idle(1), Health::Ready)
        .await;
    assert_refused(renewal, ErrorKind::Superseded);
    pass(SHORT * 2).await;
    let renewal = subject
        .registry
        .renew(&older, Load::idle(1), Health::Ready)
        .await;
    assert_refused(renewal, ErrorKind::LeaseLost);
    subject.registered(older_record, LONG).await;
}

/// Names match exactly, versions as in Cargo.
pub async fn r10_find_matches_name_and_version(subject: Subject) {
    let both = record("both")
        .with_capabilities([capability("work", "1.0.0"), capability("work", "2.0.0")]);
    let both = subject.registered(both, LONG).await.instance;
    let new = record("new").with_capabilities([capability("work", "2.3.0")]);
    let new = subject.registered(new, LONG).await.instance;
    let preview = record("preview").with_capabilities([capability("work", "3.0.0-rc.1")]);
    let preview = subject.registered(preview, LONG).await.instance;
    for (requirement, expected) in [
        ("work", vec![&both, &new]),
        ("work@^1", vec![&both]),
        ("work@^2", vec![&both, &new]),
        ("work@>=2.1", vec![&new]),
        ("work@=3.0.0-rc.1", vec![&preview]),
        ("work@^4", vec![]),
        ("works", vec![]),
    ] {
        let found = subject
            .registry
            .find(&requirement.parse().expect("valid"))
            .await
            .expect("find");
        let mut found: Vec<_> = found.iter().map(|record| &record.instance).collect();
        let mut expected = expected;
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{requirement}");
    }
}

/// The same exclusive name in another tenant is another agent, and a filter keeps tenants apart.
pub async fn r13_tenants_are_strangers(subject: Subject) {
    let incarnation = Incarnation::fresh();
    let of = |tenant: Option<&str>| {
        let record =
            AgentRecord::new("writer".parse().expect("valid"), incarnation).with_exclusive(true);
        match tenant {
            Some(tenant) => record.with_tenant(tenant.parse().expect("valid")),
            None => record,
        }
    };
    let mut registrations = Vec::new();
    for tenant in [None, Some("acme"), Some("rival")] {
        registrations.push(subject.registered(of(tenant), LONG).await);
    }
    for registration in &registrations {
        subject
            .registry
            .renew(registration, Load::idle(1), Health::Ready)
            .await
            .expect("nobody was replaced");
    }
    let seen = subject
        .registry
        .list(&Filter::all().with_tenant("acme".parse().expect("valid")))
        .await
        .expect("list");
    let mut seen: Vec<_> = seen
        .iter()
        .map(|record| record.tenant().map(ToString::to_string))
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [None, Some("acme".to_owned())]);
    subject
        .registry
        .deregister(&registrations[1])
        .await
        .expect("deregister");
    assert_eq!(subject.records().await.len(), 2);
}

/// Records over a limit and senseless lifetimes are refused, and nothing is stored or told.
pub async fn r14_invalid_input_is_refused_and_changes_nothing(subject: Subject) {
    let registration = subject.registered(record("writer"), LONG).await;
    let (_watch, before) = subject.watch().await;
    let twice =
        record("a").with_capabilities([capability("work", "1.0.0"), capability("work", "1.0.0")]);
    let many =
        record("b").with_capabilities((0..2000).map(|i| capability(&format!("c{i}"), "1.0.0")));
    let large = record("c").with_label("text", "x".repeat(AgentRecord::MAX_BYTES));
    let labels = (0..100).fold(record("d"), |record, i| {
        record.with_label(format!("l{i}"), "")
    });
    for invalid in [twice, many, large, labels] {
        assert_refused(
            subject.registry.register(invalid.clone(), LONG).await,
            ErrorKind::Invalid,
        );
        let mut as_update = invalid;
        as_update.instance = registration.instance.clone();
        assert_refused(
            subject.registry.update(&registration, as_update).await,
            ErrorKind::Invalid,
        );
    }
    for ttl in [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_secs(1 << 40),
        Duration::MAX,
    ] {
        assert_refused(
            subject.registry.register(record("e"), ttl).await,
            ErrorKind::Invalid,
        );
    }
    let (_watch, after) = subject.watch().await;
    assert_eq!(before, after);
}

/// One entry per capability and version, with its schemas and each agent once.
pub async fn r15_the_catalogue_lists_each_capability_once(subject: Subject) {
    let v1 = capability("work", "1.0.0").with_input_schema(serde_json::json!({ "type": "string" }));
    let v2 = capability("work", "2.0.0");
    subject
        .registered(
            record("beta").with_capabilities([v1.clone(), v2.clone()]),
            LONG,
        )
        .await;
    subject
        .registered(record("alpha").with_capabilities([v1.clone()]), LONG)
        .await;
    subject
        .registered(record("alpha").with_capabilities([v1.clone()]), LONG)
        .await;
    let other_schema = capability("work", "2.0.0").with_input_schema(serde_json::json!(false));
    subject
        .registered(record("gamma").with_capabilities([other_schema]), LONG)
        .await;

    let catalogue = subject
        .registry
        .catalogue(&Filter::all())
        .await
        .expect("catalogue");
    let [first, second] = &catalogue.entries[..] else {
        panic!("two entries expected: {catalogue:?}")
    };
    assert_eq!(first.capability, v1);
    assert_eq!(
        first
            .agents
            .iter()
            .map(|agent| agent.as_str())
            .collect::<Vec<_>>(),
        ["alpha", "beta"]
    );
    assert_eq!((first.instances, first.disputed), (3, false));
    assert_eq!(second.capability.version, v2.version);
    assert_eq!((second.instances, second.disputed), (2, true));
    let requirement = "work@^2".parse().expect("valid");
    assert_eq!(
        catalogue.matching(&requirement).collect::<Vec<_>>(),
        [second]
    );
}
