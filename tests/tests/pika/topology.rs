//! What `docs/wire.md` says of the broker's exchanges and queues is what the bus declares.

use std::time::SystemTime;

use coditect_core::bus::{Destination, Envelope, MessageBus, QueueName, QueueSpec, RabbitMqBus};
use serde_json::{Map, Value, json};

use super::*;

const PAGE: &str = include_str!("../../../docs/wire.md");
const QUEUE: &str = "capability.summarize.v1";

/// The example of the page with this name.
fn example(name: &str) -> Value {
    let fence = format!("\n```json {name}\n");
    let (_, rest) = PAGE.split_once(&fence).expect(name);
    serde_json::from_str(rest.split_once("\n```").unwrap().0).expect(name)
}

#[tokio::test]
async fn the_queues_of_the_page_are_those_that_the_bus_declares() {
    let Some(vhost) = vhost().await else { return };
    let bus = RabbitMqBus::connect(vhost.url()).await.unwrap();
    let name = QueueName::new(QUEUE).unwrap();
    bus.declare(QueueSpec::new(name.clone())).await.unwrap();
    let later = Envelope::new("x").with_delay(Duration::from_millis(500));
    bus.publish(&Destination::Queue(name), later).await.unwrap();

    let ask = async |path: String| vhost.broker().manage("GET", &path, None).await.unwrap();
    let listed = ask(format!("/api/exchanges/{}", vhost.name())).await;
    let listed = listed.as_array().unwrap().iter();
    let ours = listed.filter(|it| it["name"].as_str().unwrap().starts_with("coditect."));
    let mut exchanges = Map::new();
    for it in ours {
        assert_eq!(
            (&it["durable"], &it["arguments"]),
            (&json!(true), &json!({}))
        );
        exchanges.insert(it["name"].as_str().unwrap().to_owned(), it["type"].clone());
    }
    assert_eq!(Value::from(exchanges), example("rabbitmq-exchanges"));

    let work = [0, 1, 2].map(|p| format!("coditect.{QUEUE}.p{p}.v1"));
    let dead = format!("coditect.{QUEUE}.dead.v1");
    let wait = format!("coditect.{QUEUE}.p1.wait512.v1");
    let kinds = work.iter().map(|name| (name, "rabbitmq-work-queue"));
    let others = [
        (&dead, "rabbitmq-dead-queue"),
        (&wait, "rabbitmq-wait-queue"),
    ];
    for (name, wanted) in kinds.chain(others) {
        let path = format!("/api/queues/{}/{name}", vhost.name());
        let queue = ask(path.clone()).await;
        assert_eq!(queue["arguments"], example(wanted), "{name}");
        assert_eq!(queue["durable"], json!(true), "{name}");
        assert!(PAGE.contains(name), "{name}");

        let bindings = ask(format!("{path}/bindings")).await;
        let bindings = bindings.as_array().unwrap().iter();
        // Every queue is bound to the default exchange by its name.
        let bound = bindings.filter(|it| it["source"] != "");
        let bound: Vec<_> = bound
            .map(|it| (&it["source"], &it["routing_key"]))
            .collect();
        let direct = (&json!("coditect.direct.v1"), &json!(name));
        let obituary = &example("rabbitmq-work-queue")["x-dead-letter-routing-key"];
        let buried = (&json!("coditect.dead.v1"), obituary);
        let bindings = match wanted {
            "rabbitmq-work-queue" => vec![direct],
            "rabbitmq-dead-queue" => vec![buried],
            _ => Vec::new(),
        };
        assert_eq!(bound, bindings, "{name}");
    }
    let mut all = work.to_vec();
    all.extend([dead, wait]);
    all.sort();
    let mut queues = vhost.queues().await.unwrap();
    queues.retain(|name| !name.starts_with("amq.gen-"));
    assert_eq!(queues, all);
    bus.close().await.unwrap();
}

#[tokio::test]
async fn a_message_lies_at_the_broker_as_the_page_says() {
    let Some(vhost) = vhost().await else { return };
    let bus = RabbitMqBus::connect(vhost.url()).await.unwrap();
    let name = QueueName::new(QUEUE).unwrap();
    bus.declare(QueueSpec::new(name.clone())).await.unwrap();
    let expiry = SystemTime::now() + Duration::from_secs(3_600);
    let envelope = Envelope::json(&json!([1])).unwrap();
    let envelope = envelope
        .with_priority(Priority::P0)
        .with_correlation_id(coditect_core::bus::CorrelationId::parse("7"))
        .with_reply_to(QueueName::new("outcome.3").unwrap())
        .with_idempotency_key("key")
        .with_expires_at(expiry)
        .with_header("coditect-kind", "task")
        .with_header("x-of-ours", "escaped");
    let id = envelope.id().to_string();
    bus.publish(&Destination::Queue(name), envelope)
        .await
        .unwrap();

    let taken = vhost
        .take(&format!("coditect.{QUEUE}.p0.v1"), 1)
        .await
        .unwrap();
    let mut properties = taken[0]["properties"].clone();
    let expiration = properties["expiration"].take();
    let left: u64 = expiration.as_str().unwrap().parse().unwrap();
    assert!((3_500_000..=3_600_000).contains(&left), "{left}");
    let at = properties["headers"]["coditect-bus-expires-at"].take();
    let since = expiry.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(at.as_u64(), u64::try_from(since.as_micros()).ok());
    let headers = properties["headers"].as_object_mut().unwrap();
    // A quorum queue counts deliveries, also this one.
    headers.remove("x-delivery-count");
    assert_eq!(
        properties,
        json!({
            "content_type": "application/json",
            "delivery_mode": 2,
            "message_id": id,
            "correlation_id": "7",
            "reply_to": "outcome.3",
            "priority": 2,
            "expiration": null,
            "headers": {
                "coditect-kind": "task",
                "coditect-bus-h-x-of-ours": "escaped",
                "coditect-bus-idempotency-key": "key",
                "coditect-bus-expires-at": null,
            },
        })
    );
    assert_eq!(taken[0]["exchange"], "coditect.direct.v1");
    assert_eq!(taken[0]["payload"], "[1]");
    bus.close().await.unwrap();
}
