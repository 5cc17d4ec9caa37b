//! Getting in: credentials, databases, what is no Redis, and what is unsafe about one.

use std::time::Duration;

use coditect_harness::{Redis, required};
use coditect_registry::{Error, ErrorKind, Hazard, RedisRegistry, Registry, View};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::support::*;

/// Everything that an error says to whoever prints it.
fn all_of(error: &Error) -> String {
    let mut text = format!("{error}\n{error:?}");
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text += &format!("\n{inner}\n{inner:?}");
        source = inner.source();
    }
    text
}

async fn refused(url: String) -> Error {
    let connecting = builder(url).connect();
    let error = timeout(PATIENCE, connecting).await.unwrap().unwrap_err();
    assert!(!all_of(&error).contains("secret"), "{}", all_of(&error));
    error
}

#[tokio::test]
async fn wrong_credentials_are_refused_and_said_without_repeating_them() {
    let options =
        Redis::options()
            .with_password("right")
            .with_user("agent", "right", "~* &* +@all");
    let Some(redis) = required(options.start()).await else {
        return;
    };
    let place = redis.place();
    for login in [":secret@", "agent:secret@", "nobody:secret@", ""] {
        let error = refused(format!("redis://{login}{place}")).await;
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        assert!(error.to_string().contains("credentials"), "{error:?}");
        assert!(error.to_string().contains(place), "{error}");
    }
    for login in [":right@", "default:right@", "agent:right@"] {
        let registry = connect(format!("redis://{login}{place}")).await;
        registry.register(record("writer"), LONG).await.unwrap();
        assert!(!format!("{registry:?}").contains("right"), "{registry:?}");
    }
}

#[tokio::test]
async fn a_user_needs_no_more_than_these_rights() {
    let rules = "~{coditect:*}* +eval +evalsha +info +time +del +@hash +@sortedset +@stream";
    let options = Redis::options().with_user("agent", "secret", rules);
    let Some(redis) = required(options.start()).await else {
        return;
    };
    let registry = connect(redis.url()).await;
    let view = View::follow(registry.clone()).await.unwrap();
    let changed = view.changed();
    let registration = registry.register(record("writer"), LONG).await.unwrap();
    renew(&registry, &registration).await.unwrap();
    timeout(PATIENCE, changed).await.unwrap();
    assert_eq!(view.len(), 1);
    assert_eq!(registry.hazards(), []);

    let options = Redis::options().with_user("agent", "secret", "~other:* +@all");
    let redis = options.start().await.unwrap();
    let error = refused(redis.url()).await;
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
}

#[tokio::test]
async fn databases_are_apart_and_one_that_is_not_there_is_said() {
    let Some(redis) = server().await else {
        return;
    };
    let third = connect(format!("{}/3", redis.url())).await;
    third.register(record("writer"), LONG).await.unwrap();
    assert_eq!(instances(&third).await.len(), 1);
    assert!(instances(&*connect(redis.url()).await).await.is_empty());
    let error = refused(format!("{}/99", redis.url())).await;
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.to_string().contains("no such database"), "{error}");
}

#[tokio::test]
async fn namespaces_are_apart() {
    let Some(redis) = server().await else {
        return;
    };
    let one = connect(redis.url()).await;
    let other = builder(redis.url()).with_namespace("other").connect();
    let other = other.await.unwrap();
    one.register(record("writer"), LONG).await.unwrap();
    assert!(instances(&other).await.is_empty());
}

#[tokio::test]
async fn where_nobody_answers_is_unavailable_and_not_waited_for_long() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone_place = gone.local_addr().unwrap();
    drop(gone);
    for place in [silent.local_addr().unwrap(), gone_place] {
        let connecting = refused(format!("redis://me:secret@{place}"));
        let error = timeout(Duration::from_secs(10), connecting).await.unwrap();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.to_string().contains(&place.to_string()), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_redis_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1024];
            let _ = client.read(&mut asked).await;
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = refused(format!("redis://{place}")).await;
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.to_string().contains("no redis"), "{error}");
    serving.abort();
}

#[tokio::test]
async fn unsafe_settings_are_said() {
    let options = Redis::options().in_memory();
    let options = options.with_setting("maxmemory-policy allkeys-lru");
    let Some(redis) = required(options.start()).await else {
        return;
    };
    let policy = "allkeys-lru".to_owned();
    let registry = RedisRegistry::connect(redis.url()).await.unwrap();
    assert_eq!(
        registry.hazards(),
        [Hazard::Eviction { policy }, Hazard::NoPersistence]
    );
    assert!(registry.hazards()[0].to_string().contains("noeviction"));

    let options = Redis::options().in_memory().with_setting("save 60 1");
    let redis = options.start().await.unwrap();
    let registry = connect(redis.url()).await;
    assert_eq!(registry.hazards(), [Hazard::SnapshotsOnly]);

    let redis = Redis::private(&[]).await.unwrap();
    assert_eq!(connect(redis.url()).await.hazards(), []);
}
