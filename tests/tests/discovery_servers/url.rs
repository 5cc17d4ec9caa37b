//! What the URL of a registry does, and what is said of one that does not do.

use std::time::Duration;

use coditect_core::ErrorKind;
use coditect_core::prelude::*;
use coditect_harness::{RabbitMq, Redis, required};

/// How an error reads with all that led to it.
fn chain(error: &dyn std::error::Error) -> String {
    let below = error.source().map(chain).unwrap_or_default();
    format!("{error}: {below} {error:?} {error:#?}")
}

async fn refused(url: &str) -> (ErrorKind, String) {
    let builder = Runtime::builder().registry(url);
    assert!(!format!("{builder:?}").contains("s3cret"));
    let started = tokio::time::timeout(Duration::from_secs(30), builder.start()).await;
    let error = started.expect("it says so in time").expect_err("refused");
    (error.kind(), chain(&error))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_that_does_not_do_is_told_with_its_reason_and_without_its_password() {
    let options = Redis::options().with_password("right");
    let (Some(redis), Some(broker)) = (
        required(options.start()).await,
        required(RabbitMq::shared()).await,
    ) else {
        return;
    };
    let (place, stranger) = (redis.place(), broker.place());
    let cases = [
        (format!("redis://:s3cret@{place}"), "refuses", "credentials"),
        (format!("redis://{place}"), "refuses", "credentials"),
        (
            "redis://:s3cret@127.0.0.1:1".to_owned(),
            "127.0.0.1:1",
            "no connection",
        ),
        (format!("redis://:s3cret@{stranger}"), "127.0.0.1", "redis"),
        (
            format!("redis://:right@{place}?name=blue"),
            "parameter",
            "namespace",
        ),
        (
            format!("redis://:right@{place}?namespace=No"),
            "namespace",
            "lower-case",
        ),
        (
            "redis+cluster://:s3cret@".to_owned(),
            "url",
            "redis[s]+cluster",
        ),
        (
            "rediz://:s3cret@there".to_owned(),
            "rediz",
            "redis+sentinel:",
        ),
        (
            "redis+other://:s3cret@there".to_owned(),
            "redis+other",
            "redis+sentinel:",
        ),
    ];
    for (url, one, other) in cases {
        let (kind, text) = refused(&url).await;
        let away = other == "no connection";
        let known = kind == ErrorKind::Unavailable || kind == ErrorKind::Invalid;
        assert!(known && (!away || kind == ErrorKind::Unavailable), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
        assert!(text.contains(one) && text.contains(other), "{url}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_on_one_server_know_nothing_of_each_other() {
    let Some(redis) = required(Redis::shared()).await else {
        return;
    };
    let echo = || agent("echo", async |x: u64| Ok::<_, AgentError>(x));
    let mut runtimes = Vec::new();
    for name in [Redis::namespace(), Redis::namespace()] {
        let url = format!("{}?namespace={name}", redis.url());
        runtimes.push(
            Runtime::builder()
                .registry(url)
                .agent(echo())
                .start()
                .await
                .unwrap(),
        );
    }
    for runtime in &runtimes {
        assert_eq!(runtime.agents().len(), 1);
        runtime.shutdown().await.unwrap();
    }
}
