//! What is wrong with an address, a login or a queue is said clearly.

use std::error::Error as _;

use coditect_bus::{ErrorKind, MessageBus, QueueSpec, RabbitMqBus};
use serde_json::json;

use super::{queue, vhost};

/// Connects, which must fail, and returns the kind and all that is said, causes and `Debug` included.
async fn refusal(url: &str) -> (ErrorKind, String) {
    let error = RabbitMqBus::connect(url).await.unwrap_err();
    let mut text = format!("{error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    assert!(!format!("{text} {error:?}").contains("hunter2"), "{text}");
    (error.kind(), text)
}

#[tokio::test]
async fn a_wrong_password_is_refused_by_name() {
    let Some(vhost) = vhost().await else { return };
    let place = vhost.broker().place();
    let (kind, text) = refusal(&format!("amqp://guest:hunter2@{place}")).await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(
        text.contains("refuses the credentials of user \"guest\""),
        "{text}"
    );
}

#[tokio::test]
async fn an_unknown_virtual_host_is_named() {
    let Some(vhost) = vhost().await else { return };
    let place = vhost.broker().place();
    let (kind, text) = refusal(&format!("amqp://guest:guest@{place}/nowhere")).await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(text.contains("virtual host \"nowhere\""), "{text}");
}

#[tokio::test]
async fn a_missing_server_is_unavailable_at_its_place() {
    // Bound and not listened to, so that nobody else takes the port meanwhile.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let place = socket.local_addr().unwrap();
    let (kind, text) = refusal(&format!("amqp://guest:hunter2@{place}")).await;
    assert_eq!(kind, ErrorKind::Unavailable);
    assert!(text.contains(&place.to_string()), "{text}");
}

#[tokio::test]
async fn a_queue_that_somebody_declared_otherwise_is_a_conflict() {
    let Some(vhost) = vhost().await else { return };
    vhost
        .declare_queue(super::WORK, json!({ "x-queue-type": "classic" }))
        .await
        .unwrap();
    let bus = RabbitMqBus::connect(vhost.url()).await.unwrap();
    let error = bus.declare(QueueSpec::new(queue())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("queue q"), "{error}");
    bus.close().await.unwrap();
}

#[tokio::test]
async fn two_namespaces_on_one_virtual_host_do_not_meet() {
    let Some(vhost) = vhost().await else { return };
    let mut depths = Vec::new();
    for namespace in ["one", "two"] {
        let builder = RabbitMqBus::builder(vhost.url()).with_namespace(namespace);
        let bus = builder.connect().await.unwrap();
        bus.declare(QueueSpec::new(queue())).await.unwrap();
        super::send(&bus, "a").await;
        depths.push(bus.stats(&queue()).await.unwrap().ready());
        bus.close().await.unwrap();
    }
    assert_eq!(depths, [1, 1]);
}
