//! What a server does to the registry: dies, comes back with nothing, forgets scripts, stands still, evicts.

use std::slice;
use std::time::Duration;

use coditect_harness::{Redis, required};
use coditect_registry::{Change, ErrorKind, Filter, RedisRegistry, Registry, View};
use tokio::time::{Instant, timeout};

use super::support::*;

/// A server that has on its disk what it has confirmed: the usual one may lose its last second.
async fn durable_server() -> Option<Redis> {
    required(Redis::private(&["appendfsync always"])).await
}

/// Waits until a view follows again, or no longer.
async fn until_current(view: &View, current: bool) {
    let deadline = Instant::now() + PATIENCE;
    while view.is_current() != current {
        assert!(
            Instant::now() < deadline,
            "the view is current: {}",
            !current
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn agents_of_a_server_that_comes_back_empty_are_back_with_their_next_renewal() {
    let Some(redis) = server().await else {
        return;
    };
    let registry = connect(redis.url()).await;
    let view = View::follow(connect(redis.url()).await).await.unwrap();
    let mut registrations = Vec::new();
    for number in 0..20 {
        let record = record(&format!("agent-{number}"));
        registrations.push(registry.register(record, LONG).await.unwrap());
    }
    let updated = record("agent-0").with_label("zone", "a");
    let mut changed = updated.clone();
    changed.instance = registrations[0].instance.clone();
    registry.update(&registrations[0], changed).await.unwrap();
    let before = registry.list(&Filter::all()).await.unwrap();

    redis.restart_empty().await.unwrap();
    let renewals = registrations.iter().map(|it| renew(&registry, it));
    for renewed in futures::future::join_all(renewals).await {
        renewed.unwrap();
    }
    // The same records under the same tokens: what was registered stays registered.
    let mut after = registry.list(&Filter::all()).await.unwrap();
    for record in &mut after {
        let was = before.iter().find(|it| it.instance == record.instance);
        *record = std::sync::Arc::new(record.reported(was.unwrap().load, was.unwrap().health));
    }
    assert_eq!(sorted(before.clone()), sorted(after.clone()));
    let labelled = after.iter().filter(|it| !it.labels.is_empty()).count();
    assert_eq!(labelled, 1);
    for registration in &registrations {
        renew(&registry, registration).await.unwrap();
    }
    let later = registry.register(record("later"), LONG).await.unwrap();
    assert!(registrations.iter().all(|it| it.token < later.token));
    until_current(&view, true).await;
    loop {
        let changed = view.changed();
        if view.len() == 21 {
            break;
        }
        timeout(PATIENCE, changed).await.unwrap();
    }
}

#[tokio::test]
async fn after_a_loss_of_data_the_newer_holder_of_a_name_still_wins() {
    let Some(redis) = server().await else {
        return;
    };
    for newer_returns_first in [true, false] {
        let (one, other) = (connect(redis.url()).await, connect(redis.url()).await);
        let single = || record("single").with_exclusive(true);
        let older = one.register(single(), LONG).await.unwrap();
        let newer = other.register(single(), LONG).await.unwrap();
        redis.restart_empty().await.unwrap();
        if newer_returns_first {
            renew(&other, &newer).await.unwrap();
            let refused = renew(&one, &older).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Superseded);
        } else {
            renew(&one, &older).await.unwrap();
            renew(&other, &newer).await.unwrap();
            let refused = renew(&one, &older).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Superseded);
        }
        assert_eq!(instances(&one).await, slice::from_ref(&newer.instance));
        other.deregister(&newer).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_given_up_does_not_come_back() {
    let Some(redis) = server().await else {
        return;
    };
    let registry = connect(redis.url()).await;
    let left = registry.register(record("left"), LONG).await.unwrap();
    registry.deregister(&left).await.unwrap();
    redis.restart_empty().await.unwrap();
    let refused = renew(&registry, &left).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LeaseLost);
    assert!(instances(&registry).await.is_empty());
}

#[tokio::test]
async fn leases_that_ended_while_the_server_was_down_have_some_time_left() {
    let Some(redis) = durable_server().await else {
        return;
    };
    let registry = connect(redis.url()).await;
    let lease = Duration::from_millis(300);
    let registration = registry.register(record("writer"), lease).await.unwrap();
    redis.kill().await.unwrap();
    // The time that the server is away is what this is about.
    tokio::time::sleep(lease * 2).await;
    redis.restart().await.unwrap();
    assert_eq!(instances(&registry).await.len(), 1);
    renew(&registry, &registration).await.unwrap();
    // From then on it has its usual lease.
    let mut watch = watch(&registry).await;
    let gone = next(&mut watch).await.unwrap();
    assert!(matches!(gone.change, Change::Removed { .. }), "{gone:?}");
}

#[tokio::test]
async fn calls_made_while_the_server_is_away_succeed_when_it_is_back() {
    let Some(redis) = durable_server().await else {
        return;
    };
    let registry = connect(redis.url()).await;
    let kept = registry.register(record("kept"), LONG).await.unwrap();
    redis.kill().await.unwrap();
    let all = Filter::all();
    let (renewed, registered, listed, restarted) = tokio::join!(
        renew(&registry, &kept),
        registry.register(record("new"), LONG),
        registry.list(&all),
        redis.restart(),
    );
    restarted.unwrap();
    renewed.unwrap();
    assert!(!listed.unwrap().is_empty());
    let registered = registered.unwrap();
    renew(&registry, &registered).await.unwrap();
    assert_eq!(instances(&registry).await.len(), 2);
}

#[tokio::test]
async fn a_view_goes_on_while_the_server_is_away_and_says_that_it_is_stale() {
    let Some(redis) = durable_server().await else {
        return;
    };
    let registry = connect(redis.url()).await;
    let registration = registry.register(record("writer"), LONG).await.unwrap();
    let view = View::follow(connect(redis.url()).await).await.unwrap();
    assert!(view.is_current());
    redis.kill().await.unwrap();
    until_current(&view, false).await;
    assert_eq!(
        sorted(view.records()),
        slice::from_ref(&registration.instance)
    );

    redis.restart().await.unwrap();
    until_current(&view, true).await;
    registry.deregister(&registration).await.unwrap();
    loop {
        let changed = view.changed();
        if view.is_empty() {
            break;
        }
        timeout(PATIENCE, changed).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_forgets_its_scripts_is_told_them_again() {
    let Some(redis) = server().await else {
        return;
    };
    let registry = connect(redis.url()).await;
    let mut watch = watch(&registry).await;
    let first = registry.register(record("first"), LONG).await.unwrap();
    until_added(&mut watch, &first.instance).await;
    redis.cli(&["SCRIPT", "FLUSH"]).await.unwrap();
    renew(&registry, &first).await.unwrap();
    redis.cli(&["SCRIPT", "FLUSH"]).await.unwrap();
    let second = registry.register(record("second"), LONG).await.unwrap();
    let event = until_added(&mut watch, &second.instance).await;
    assert!(matches!(event.change, Change::Added(_)), "{event:?}");
}

#[tokio::test]
async fn data_that_are_flushed_come_back_and_watches_start_over() {
    let Some(redis) = server().await else {
        return;
    };
    let registry = connect(redis.url()).await;
    let kept = registry.register(record("kept"), LONG).await.unwrap();
    let mut watch = watch(&registry).await;
    redis.cli(&["FLUSHALL"]).await.unwrap();
    let emptied = next(&mut watch).await.unwrap();
    assert_eq!(emptied.change, Change::Reset(Vec::new()));
    renew(&registry, &kept).await.unwrap();
    let event = until_added(&mut watch, &kept.instance).await;
    assert_eq!(event.sequence, emptied.sequence + 1);
}

#[tokio::test]
async fn a_server_that_stands_still_leaves_the_outcome_unknown() {
    let Some(redis) = server().await else {
        return;
    };
    let patient = connect(redis.url()).await;
    let hasty = builder(redis.url()).with_patience(Duration::from_millis(1));
    let hasty: RedisRegistry = hasty.connect().await.unwrap();
    let registration = hasty.register(record("writer"), LONG).await.unwrap();
    redis.pause().await.unwrap();
    let error = renew(&hasty, &registration).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
    let all = Filter::all();
    let (listed, resumed) = tokio::join!(patient.list(&all), redis.resume());
    resumed.unwrap();
    assert_eq!(listed.unwrap().len(), 1);
    while let Err(error) = renew(&hasty, &registration).await {
        assert!(error.is_retryable(), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_answers_late_is_followed_again_over_the_same_connection() {
    let Some(redis) = server().await else {
        return;
    };
    let registry = builder(redis.url())
        .with_response_timeout(PATIENCE)
        .connect()
        .await
        .unwrap();
    let registration = registry.register(record("writer"), LONG).await.unwrap();
    let mut ended = watch(&registry).await;
    redis.pause().await.unwrap();
    assert_eq!(next(&mut ended).await, None);
    redis.resume().await.unwrap();
    let mut watch = watch(&registry).await;
    registry.deregister(&registration).await.unwrap();
    let gone = next(&mut watch).await.unwrap();
    assert!(matches!(gone.change, Change::Removed { .. }), "{gone:?}");
}

#[tokio::test]
async fn a_lost_write_is_told_to_its_agent_and_found_by_comparison() {
    let Some(redis) = server().await else {
        return;
    };
    // As eviction or a failover may do it: the data are the same, one record is missing, and no change tells it.
    let registry = builder(redis.url())
        .with_reconcile_interval(Duration::from_millis(200))
        .connect()
        .await
        .unwrap();
    let kept = registry.register(record("kept"), LONG).await.unwrap();
    let lost = registry.register(record("lost"), LONG).await.unwrap();
    let mut watch = watch(&registry).await;
    let name = format!("lost#{}", lost.incarnation());
    for (command, name_of_key) in [
        ("HDEL", "record"),
        ("HDEL", "lease"),
        ("ZREM", "due"),
        ("ZREM", "name"),
    ] {
        redis
            .cli(&[command, &key(name_of_key), &name])
            .await
            .unwrap();
    }
    let corrected = next(&mut watch).await.unwrap();
    let Change::Resync(records) = corrected.change else {
        panic!("no resync: {corrected:?}");
    };
    assert_eq!(sorted(records), [kept.instance]);
    let refused = renew(&registry, &lost).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LeaseLost);
}
