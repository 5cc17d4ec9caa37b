//! What is said of an address at which nothing is, something else, or something that lets nobody in.
//!
//! One line tells what is the matter and what to do about it, and none tells a password.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use coditect_core::ErrorKind;
use coditect_core::prelude::*;
use coditect_harness::{RabbitMq, Redis, required};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A server of web pages, which answers whatever it is sent; ends with the test.
async fn http() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
            let _ = stream.write_all(answer).await;
        }
    });
    at
}

/// What an error says, with all that led to it.
fn chain(error: &dyn std::error::Error) -> String {
    let below = error.source().map(chain).unwrap_or_default();
    format!("{error}: {below}")
}

async fn refused(port: &str, url: &str) -> (ErrorKind, String) {
    let builder = Runtime::builder();
    let builder = match port {
        "bus" => builder.bus(url),
        "registry" => builder.registry(url),
        _ => builder.state(url),
    };
    let started = tokio::time::timeout(Duration::from_secs(30), builder.start());
    let error = started.await.expect("it says so in time").unwrap_err();
    let text = chain(&error);
    assert!(!format!("{text} {error:?}").contains("s3cret"), "{text}");
    assert!(!text.contains('\n'), "in one line: {text}");
    (error.kind(), text)
}

async fn check(cases: &[(&str, String, ErrorKind, &[&str])]) {
    for (port, url, kind, words) in cases {
        let (said, text) = refused(port, url).await;
        assert_eq!(said, *kind, "{port} {url}: {text}");
        for word in *words {
            assert!(text.contains(word), "{port} {url}: {word:?} in {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_is_or_no_server_of_ours_that_is_said() {
    use ErrorKind::{Invalid, Unavailable};
    let (web, none) = (http().await, "127.0.0.1:1");
    let nothing: &[&str] = &[
        "is not available",
        "no connection",
        none,
        "see that it runs",
    ];
    let no_amqp: &[&str] = &["refused", &web, "does not speak AMQP", "name the port"];
    let no_redis: &[&str] = &["refused", &web, "is no redis", "correct host and port"];
    check(&[
        (
            "bus",
            format!("amqp://me:s3cret@{none}"),
            Unavailable,
            nothing,
        ),
        (
            "registry",
            format!("redis://:s3cret@{none}"),
            Unavailable,
            nothing,
        ),
        (
            "registry",
            format!("redis+cluster://:s3cret@{none}"),
            Unavailable,
            nothing,
        ),
        (
            "state",
            format!("redis://:s3cret@{none}"),
            Unavailable,
            nothing,
        ),
        ("bus", format!("amqp://me:s3cret@{web}"), Invalid, no_amqp),
        (
            "registry",
            format!("redis://:s3cret@{web}"),
            Invalid,
            no_redis,
        ),
        (
            "registry",
            format!("redis+cluster://:s3cret@{web}"),
            Invalid,
            no_redis,
        ),
        ("state", format!("redis://:s3cret@{web}"), Invalid, no_redis),
        (
            "bus",
            format!("amqps://me:s3cret@{web}"),
            Unavailable,
            &["does not speak TLS", "amqp://"],
        ),
        (
            "registry",
            format!("rediss://:s3cret@{web}"),
            Unavailable,
            &["does not speak TLS"],
        ),
        (
            "state",
            format!("rediss://:s3cret@{web}"),
            Unavailable,
            &["does not speak TLS"],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_and_a_broker_are_told_from_each_other() {
    use ErrorKind::{Invalid, Unavailable};
    let (Some(redis), Some(broker)) = (
        required(Redis::shared()).await,
        required(RabbitMq::shared()).await,
    ) else {
        return;
    };
    let (redis, broker) = (redis.place(), broker.place());
    let no_redis: &[&str] = &[&broker, "is no redis", "correct host and port"];
    check(&[
        (
            "registry",
            format!("redis://:s3cret@{broker}"),
            Invalid,
            no_redis,
        ),
        (
            "state",
            format!("redis://:s3cret@{broker}"),
            Invalid,
            no_redis,
        ),
        // A Redis waits for the end of the line, which the greeting of AMQP does not have.
        (
            "bus",
            format!("amqp://me:s3cret@{redis}?connection_timeout=300"),
            Unavailable,
            &[redis, "answers as a broker", "see that it is one"],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lets_nobody_in_says_whether_it_is_the_login_or_a_permission() {
    use ErrorKind::Invalid;
    let options = Redis::options().with_password("right");
    let options = options.with_user("poor", "poor", "+ping +info +time");
    let (Some(redis), Some(broker)) = (
        required(options.start()).await,
        required(RabbitMq::shared()).await,
    ) else {
        return;
    };
    let vhost = broker.vhost().await.unwrap();
    let (poor, name) = (format!("poor-{}", vhost.name()), vhost.name());
    broker.ctl(&["add_user", &poor, "poor"]).await.unwrap();
    let nothing = ["set_permissions", "-p", name, &poor, "^$", "^$", "^$"];
    broker.ctl(&nothing).await.unwrap();
    let (redis, broker) = (redis.place(), broker.place());
    let login: &[&str] = &["refused", "refuses the credentials", "correct the url"];
    let denied: &[&str] = &["refused", "denies its user", "docs/operations.md"];
    let database: &[&str] = &["refused", "no such database", "correct the url"];
    check(&[
        (
            "bus",
            format!("amqp://guest:s3cret@{broker}"),
            Invalid,
            login,
        ),
        (
            "bus",
            format!("amqp://{poor}:poor@{broker}/{name}"),
            Invalid,
            denied,
        ),
        (
            "bus",
            vhost.url().replace(name, "nowhere"),
            Invalid,
            &["virtual host", "nowhere"],
        ),
        (
            "registry",
            format!("redis://:s3cret@{redis}"),
            Invalid,
            login,
        ),
        ("registry", format!("redis://{redis}"), Invalid, login),
        (
            "registry",
            format!("redis+cluster://:s3cret@{redis}"),
            Invalid,
            login,
        ),
        (
            "registry",
            format!("redis://poor:poor@{redis}"),
            Invalid,
            denied,
        ),
        (
            "registry",
            format!("redis://:right@{redis}/99"),
            Invalid,
            database,
        ),
        ("state", format!("redis://:s3cret@{redis}"), Invalid, login),
        ("state", format!("redis://{redis}"), Invalid, login),
        (
            "state",
            format!("redis://poor:poor@{redis}"),
            Invalid,
            denied,
        ),
        (
            "state",
            format!("redis://:right@{redis}/99"),
            Invalid,
            database,
        ),
        (
            "state",
            format!("redis://:right@{redis}?namespace=Blue"),
            Invalid,
            &["namespace must have 1 to 24 lower-case letters"],
        ),
    ])
    .await;
}
