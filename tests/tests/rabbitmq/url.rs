//! What a URL does, and what is said of one that does not do.

use std::time::Duration;

use coditect_core::ErrorKind;
use coditect_core::prelude::*;
use coditect_harness::{RabbitMq, required};

/// How an error reads with all that led to it.
fn chain(error: &dyn std::error::Error) -> String {
    let below = error.source().map(chain).unwrap_or_default();
    format!("{error}: {below} {error:?} {error:#?}")
}

async fn refused(url: &str) -> (ErrorKind, String) {
    let started = Runtime::builder().bus(url).start();
    let started = tokio::time::timeout(Duration::from_secs(30), started).await;
    let error = started.expect("it says so in time").expect_err("refused");
    (error.kind(), chain(&error))
}

#[tokio::test]
async fn a_url_that_does_not_do_is_told_with_its_reason_and_without_its_password() {
    let Some(broker) = required(RabbitMq::shared()).await else {
        return;
    };
    let vhost = broker.vhost().await.expect("a vhost");
    let place = broker.place();
    let cases = [
        (
            format!("amqp://guest:s3cret@{place}/"),
            "refuses",
            "credentials",
        ),
        (
            vhost.url().replace(vhost.name(), "nowhere"),
            "nowhere",
            "virtual host",
        ),
        (
            "amqp://guest:s3cret@127.0.0.1:1/".to_owned(),
            "127.0.0.1:1",
            "no connection",
        ),
        ("amqp://guest:s3cret@:99999/".to_owned(), "url", "form"),
        ("amqps://".to_owned(), "localhost:5671", "no connection"),
        ("ampq://guest:s3cret@there/".to_owned(), "ampq", "amqp:"),
    ];
    for (url, one, other) in cases {
        let (kind, text) = refused(&url).await;
        let away = other == "no connection";
        assert_eq!(kind == ErrorKind::Unavailable, away, "{text}");
        assert!(!text.contains("s3cret"), "{text}");
        assert!(text.contains(one) && text.contains(other), "{text}");
    }
}
