//! What is read from URLs, and what is refused.

use super::*;

fn address(url: &str) -> Result<Address, Error> {
    RabbitMqBusBuilder::new(url.to_owned()).validated()
}

#[test]
fn a_url_is_read_in_all_its_parts() {
    let uri = address("amqp://anna:s%20cret@example.org:1234/staging?heartbeat=7")
        .unwrap()
        .uri;
    assert_eq!(
        (uri.authority.host.as_str(), uri.authority.port),
        ("example.org", 1234)
    );
    assert_eq!(uri.authority.userinfo.password, "s cret");
    assert_eq!(
        (uri.vhost.as_str(), uri.query.heartbeat),
        ("staging", Some(7))
    );
    for url in [
        "amqp://localhost",
        "amqp://localhost/",
        "amqp://localhost/%2f",
    ] {
        assert_eq!(address(url).unwrap().uri.vhost, "/", "{url}");
    }
    assert_eq!(
        address("amqp://[::1]:5672/x").unwrap().uri.authority.host,
        "::1"
    );
    assert_eq!(address("amqps://host").unwrap().uri.authority.port, 5671);
}

#[test]
fn a_bad_url_is_refused_without_being_repeated() {
    for url in [
        "",
        "localhost",
        "http://anna:hunter2@host",
        "amqp://anna:hunter2@host:port",
    ] {
        let error = address(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn credentials_are_not_printed() {
    let builder = RabbitMqBusBuilder::new("amqp://anna:hunter2@host".to_owned());
    let text = format!(
        "{builder:?} {:?} {}",
        builder.validated(),
        builder.validated().unwrap()
    );
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_delivery_may_be_held_for_less_than_the_broker_allows() {
    let builder = RabbitMqBusBuilder::new("amqp://host".to_owned());
    assert_eq!(builder.max_hold(), Some(Duration::from_secs(25 * 60)));
    assert_eq!(builder.with_consumer_timeout(None).max_hold(), None);
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let builder = || RabbitMqBusBuilder::new("amqp://host".to_owned());
    for bad in [
        builder().with_namespace(""),
        builder().with_namespace("Two Words"),
        builder().with_namespace("x".repeat(25)),
        builder().with_heartbeat(Duration::ZERO),
        builder().with_consumer_timeout(Duration::ZERO),
        builder().with_ca_pem("-----BEGIN CERTIFICATE-----"),
    ] {
        assert_eq!(bad.validated().unwrap_err().kind(), ErrorKind::Invalid);
    }
}
