//! Leases end by the server's clock, soon enough, and for everybody.

use std::time::Duration;

use coditect_registry::{Change, ErrorKind, Incarnation, Registry, RemovalReason, View};
use tokio::time::{Instant, timeout};
use uuid::{Timestamp, Uuid};

use super::support::*;

const LEASE: Duration = Duration::from_millis(800);

#[tokio::test]
async fn a_dead_process_is_out_of_every_view_within_its_lease_and_a_second() {
    let Some(redis) = server().await else {
        return;
    };
    let dying = connect(redis.url()).await;
    let mut views = Vec::new();
    for _ in 0..3 {
        views.push(View::follow(connect(redis.url()).await).await.unwrap());
    }
    let watching = connect(redis.url()).await;
    let mut watch = watch(&watching).await;
    let registration = dying.register(record("mortal"), LEASE).await.unwrap();
    until_added(&mut watch, &registration.instance).await;
    renew(&dying, &registration).await.unwrap();
    let begun = Instant::now();
    drop(dying);

    loop {
        let event = next(&mut watch).await.unwrap();
        if let Change::Removed { instance, reason } = event.change {
            assert_eq!(instance, registration.instance);
            assert_eq!(reason, RemovalReason::Expired);
            break;
        }
    }
    for view in &views {
        loop {
            let changed = view.changed();
            if view.is_empty() {
                break;
            }
            timeout(PATIENCE, changed).await.unwrap();
        }
    }
    let taken = begun.elapsed();
    assert!(taken >= LEASE - Duration::from_millis(50), "{taken:?}");
    assert!(taken < LEASE + Duration::from_secs(1), "{taken:?}");
}

#[tokio::test]
async fn what_has_expired_is_cleared_away_though_nobody_watches() {
    let Some(redis) = server().await else {
        return;
    };
    let registry = connect(redis.url()).await;
    let lasting = registry.register(record("lasting"), LONG).await.unwrap();
    let mortal = registry
        .register(record("mortal"), Duration::from_millis(10))
        .await
        .unwrap();
    while renew(&registry, &mortal).await.is_ok() {}
    // The end of one lease is found by asking for it, that of the other by any renewal at all.
    registry
        .register(record("another"), Duration::from_millis(10))
        .await
        .unwrap();
    let begun = Instant::now();
    while redis.cli(&["ZCARD", &key("due")]).await.unwrap() != "1" {
        renew(&registry, &lasting).await.unwrap();
        assert!(begun.elapsed() < PATIENCE);
    }
    for (command, name) in [
        ("HLEN", "record"),
        ("HLEN", "lease"),
        ("ZCARD", "name"),
        ("ZCARD", "offer"),
    ] {
        assert_eq!(redis.cli(&[command, &key(name)]).await.unwrap(), "1");
    }
    registry.deregister(&lasting).await.unwrap();
    let left = redis.cli(&["KEYS", "*"]).await.unwrap();
    assert_eq!(left.lines().count(), 2, "meta and log: {left}");
}

#[tokio::test]
async fn a_client_whose_clock_is_an_hour_ahead_wins_nothing() {
    let Some(redis) = server().await else {
        return;
    };
    // No clock but that of the system could be wrong, and only incarnations are drawn by it.
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let ahead = Timestamp::from_unix(uuid::NoContext, since.as_secs() + 3600, 0);
    let behind = Timestamp::from_unix(uuid::NoContext, since.as_secs() - 3600, 0);
    let incarnations = [ahead, behind].map(|at| Incarnation::from_uuid(Uuid::new_v7(at)));
    let (first, second) = (connect(redis.url()).await, connect(redis.url()).await);
    let record = |incarnation| {
        let mut record = record("single").with_exclusive(true);
        record.instance.incarnation = incarnation;
        record
    };
    let older = first
        .register(record(incarnations[0]), LEASE)
        .await
        .unwrap();
    let newer = second
        .register(record(incarnations[1]), LEASE)
        .await
        .unwrap();
    assert!(newer.token > older.token);
    let refused = renew(&first, &older).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Superseded);
    renew(&second, &newer).await.unwrap();
    assert_eq!(instances(&first).await, [newer.instance]);
}

#[test]
fn no_clock_of_a_client_is_read_for_anything() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/redis");
    let mut folders = vec![std::path::PathBuf::from(folder)];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(!text.contains("SystemTime"), "{}", path.display());
                read += 1;
            }
        }
    }
    assert!(read > 10, "{read} files read");
}

#[tokio::test]
async fn two_processes_with_one_name_are_two_incarnations_until_one_is_exclusive() {
    let Some(redis) = server().await else {
        return;
    };
    let (one, other) = (connect(redis.url()).await, connect(redis.url()).await);
    let first = one.register(record("writer"), LONG).await.unwrap();
    let second = other.register(record("writer"), LONG).await.unwrap();
    assert_eq!(instances(&one).await.len(), 2);
    let only = other
        .register(record("writer").with_exclusive(true), LONG)
        .await
        .unwrap();
    for (registry, registration) in [(&one, &first), (&other, &second)] {
        let refused = renew(registry, registration).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Superseded);
    }
    assert_eq!(instances(&one).await, [only.instance]);
}

#[tokio::test]
async fn renewals_of_a_process_travel_together() {
    let Some(redis) = server().await else {
        return;
    };
    let registry = connect(redis.url()).await;
    let mut registrations = Vec::new();
    for number in 0..500 {
        let record = record(&format!("agent-{number}"));
        registrations.push(registry.register(record, LONG).await.unwrap());
    }
    redis.cli(&["CONFIG", "RESETSTAT"]).await.unwrap();
    let renewals = registrations.iter().map(|it| renew(&registry, it));
    for renewed in futures::future::join_all(renewals).await {
        renewed.unwrap();
    }
    let stats = redis.cli(&["INFO", "commandstats"]).await.unwrap();
    let calls = stats.split("cmdstat_evalsha:calls=").nth(1).unwrap();
    let calls: u32 = calls.split(',').next().unwrap().parse().unwrap();
    assert!((4..=8).contains(&calls), "{calls} calls for 500 renewals");
}
