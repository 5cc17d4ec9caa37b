//! What strangers leave among the keys: it is named and left out, and nothing else suffers.

use std::slice;

use coditect_registry::{Change, ErrorKind, Filter, Registry};

use super::support::*;

#[tokio::test]
async fn keys_of_another_kind_or_a_later_format_are_refused() {
    let Some(redis) = server().await else {
        return;
    };
    redis.cli(&["SET", &key("meta"), "mine"]).await.unwrap();
    let error = builder(redis.url()).connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.to_string().contains("other types"), "{error}");
    assert!(error.to_string().contains(NAMESPACE), "{error}");

    redis.cli(&["DEL", &key("meta")]).await.unwrap();
    redis.cli(&["HSET", &key("meta"), "v", "2"]).await.unwrap();
    let error = builder(redis.url()).connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.to_string().contains("format 2"), "{error}");

    redis.cli(&["DEL", &key("meta")]).await.unwrap();
    let registry = connect(redis.url()).await;
    redis.cli(&["SET", &key("name"), "mine"]).await.unwrap();
    let error = registry.list(&Filter::all()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
}

/// Writes a record as a later version might.
async fn put_foreign(redis: &coditect_harness::Redis, name: &str, stored: &str) {
    let ends = "99999999999999";
    for arguments in [
        ["HSET", &key("record"), name, stored],
        ["HSET", &key("lease"), name, "1 600000 1 r 0 1"],
        ["ZADD", &key("due"), ends, name],
        ["ZADD", &key("name"), "1", name],
        ["ZADD", &key("offer"), "0", &format!("work@1.0.0 {name}")],
    ] {
        redis.cli(&arguments).await.unwrap();
    }
}

#[tokio::test]
async fn records_that_cannot_be_read_are_left_out() {
    let Some(redis) = server().await else {
        return;
    };
    let registry = connect(redis.url()).await;
    let own = registry.register(record("own"), LONG).await.unwrap();
    let stranger = format!("later#{}", own.incarnation());
    put_foreign(&redis, &stranger, "2 work@1.0.0\n{\"later\":true}").await;
    put_foreign(&redis, "no instance at all", "junk").await;
    put_foreign(&redis, "half#", "1 \n{").await;
    put_foreign(&redis, "\u{1f980}", "").await;

    let mut seen = vec![registry.list(&Filter::all()).await.unwrap()];
    seen.push(registry.find(&"work".parse().unwrap()).await.unwrap());
    let mut watch = registry.watch().await.unwrap();
    match next(&mut watch).await.unwrap().change {
        Change::Resync(records) => seen.push(records),
        other => panic!("no resync: {other:?}"),
    }
    for records in seen {
        assert_eq!(sorted(records), slice::from_ref(&own.instance));
    }
    // What they report and how they leave is nobody's concern, and what others do is told as ever.
    redis
        .cli(&["ZADD", &key("due"), "1", &stranger])
        .await
        .unwrap();
    renew(&registry, &own).await.unwrap();
    registry.deregister(&own).await.unwrap();
    loop {
        let event = next(&mut watch).await.unwrap();
        assert!(event.change.everything().is_none(), "{event:?}");
        if let Change::Removed { instance, .. } = event.change {
            assert_eq!(instance, own.instance);
            break;
        }
    }
}

#[tokio::test]
async fn what_a_stranger_writes_to_the_log_costs_a_resync_at_most() {
    let Some(redis) = server().await else {
        return;
    };
    let registry = connect(redis.url()).await;
    let first = registry.register(record("first"), LONG).await.unwrap();
    let mut watch = watch(&registry).await;
    // One number ahead of all that follows.
    let far = format!("{}-0", u64::MAX / 2);
    redis
        .cli(&["XADD", &key("log"), &far, "hello", "world"])
        .await
        .unwrap();
    let second = registry.register(record("second"), LONG).await.unwrap();
    until_added(&mut watch, &second.instance).await;
    let third = registry.register(record("third"), LONG).await.unwrap();
    until_added(&mut watch, &third.instance).await;
    assert_eq!(instances(&registry).await.len(), 3);

    let next = redis
        .cli(&["HINCRBY", &key("meta"), "seq", "1"])
        .await
        .unwrap();
    let id = format!("{next}-0");
    redis
        .cli(&["XADD", &key("log"), &id, "n", "1", "k", "later"])
        .await
        .unwrap();
    registry.deregister(&first).await.unwrap();
    loop {
        let event = super::support::next(&mut watch).await.unwrap();
        if let Change::Removed { instance, .. } = &event.change {
            assert_eq!(*instance, first.instance);
            break;
        }
    }
}

#[tokio::test]
async fn large_records_are_told_though_they_do_not_stand_in_the_log() {
    let Some(redis) = server().await else {
        return;
    };
    let registry = connect(redis.url()).await;
    let mut watch = watch(&registry).await;
    let large = record("large").with_label("text", "x".repeat(100_000));
    let registration = registry.register(large.clone(), LONG).await.unwrap();
    let event = next(&mut watch).await.unwrap();
    assert_eq!(event.change, Change::Added(large.into()));
    let memory = redis.cli(&["MEMORY", "USAGE", &key("log")]).await.unwrap();
    assert!(memory.parse::<usize>().unwrap() < 10_000, "{memory}");
    registry.deregister(&registration).await.unwrap();
    assert!(matches!(
        next(&mut watch).await.unwrap().change,
        Change::Removed { .. }
    ));
}
