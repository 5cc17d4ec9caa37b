//! A private RabbitMQ server does what tests of faults need.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "rabbitmq/client.rs"]
mod client;

use coditect_harness::{RabbitMq, Relay, required};
use serde_json::{Value, json};
use tokio::time::Instant;

use client::{BLOCKED, CLOSE, Client, UNBLOCKED};

/// Says how long something took, for whoever runs this with `--nocapture`.
fn took(what: &str, since: Instant) {
    println!("{what}: {:.2} s", since.elapsed().as_secs_f64());
}

#[tokio::test]
async fn a_confirmed_message_survives_kill_and_restart() {
    let begun = Instant::now();
    let Some(broker) = required(RabbitMq::private(&[])).await else {
        return;
    };
    took("start", begun);
    let begun = Instant::now();
    let vhost = broker.vhost().await.unwrap();
    took("vhost", begun);
    let durable = json!({"x-queue-type": "quorum"});
    vhost.declare_queue("kept", durable).await.unwrap();
    let persistent = json!({"delivery_mode": 2});
    let payload = b"\xff\x00 no text";
    vhost.publish("kept", persistent, payload).await.unwrap();
    let begun = Instant::now();
    assert_eq!(vhost.depth("kept").await.unwrap(), 1);
    took("depth", begun);
    broker.settle().await.unwrap();

    let begun = Instant::now();
    broker.kill().await.unwrap();
    took("kill", begun);
    assert!(vhost.queues().await.is_err(), "the server is dead");
    let begun = Instant::now();
    broker.restart().await.unwrap();
    took("restart after kill", begun);

    let kept = vhost.take("kept", 10).await.unwrap();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0]["payload"], "/wAgbm8gdGV4dA==");
    assert_eq!(vhost.depth("kept").await.unwrap(), 0);

    let begun = Instant::now();
    broker.stop().await.unwrap();
    took("stop", begun);
    assert!(vhost.queues().await.is_err(), "the server is down");
    let folder = broker.folder().await.unwrap();
    assert!(folder.join("mnesia").is_dir(), "data stay for a restart");
    let begun = Instant::now();
    broker.restart().await.unwrap();
    took("restart after stop", begun);
    assert_eq!(vhost.queues().await.unwrap(), ["kept"]);
}

#[tokio::test]
async fn a_memory_alarm_blocks_publishers_until_it_is_lowered() {
    let Some(broker) = required(RabbitMq::private(&["consumer_timeout = 12345"])).await else {
        return;
    };
    let timeout = broker.eval("application:get_env(rabbit, consumer_timeout).");
    assert_eq!(timeout.await.unwrap().trim(), "{ok,12345}", "a setting");

    let vhost = broker.vhost().await.unwrap();
    let mut client = Client::connect(&broker.place(), vhost.name()).await;
    broker.set_memory_alarm(true).await.unwrap();
    client.publish("nowhere").await;
    client.expect(BLOCKED).await;
    broker.set_memory_alarm(false).await.unwrap();
    client.expect(UNBLOCKED).await;
}

#[tokio::test]
async fn connections_are_closed_in_one_vhost_and_in_all() {
    let Some(broker) = required(RabbitMq::private(&[])).await else {
        return;
    };
    let (one, other) = (broker.vhost().await.unwrap(), broker.vhost().await.unwrap());
    let relay = Relay::start(broker.place()).await.unwrap();
    let through = relay.addr().to_string();
    assert!(
        one.url_through(relay.addr())
            .contains(&format!("@{through}/"))
    );
    let mut first = Client::connect(&through, one.name()).await;
    let mut second = Client::connect(&broker.place(), other.name()).await;

    assert_eq!(one.close_connections().await.unwrap(), 1);
    first.expect(CLOSE).await;
    let _third = Client::connect(&through, one.name()).await;
    assert_eq!(relay.accepted(), 2);
    assert_eq!(other.close_connections().await.unwrap(), 1);
    second.expect(CLOSE).await;
    let _fourth = Client::connect(&broker.place(), other.name()).await;
    assert!(broker.close_connections().await.unwrap() >= 2);
}

#[tokio::test]
async fn a_vhost_is_a_place_of_its_own() {
    let Some(broker) = required(RabbitMq::shared()).await else {
        return;
    };
    let (one, other) = (broker.vhost().await.unwrap(), broker.vhost().await.unwrap());
    assert_ne!(one.url(), other.url());
    one.declare_queue("q/1", json!({"x-max-length": 5}))
        .await
        .unwrap();
    assert_eq!(one.queues().await.unwrap(), ["q/1"]);
    assert!(other.queues().await.unwrap().is_empty());

    let differently = one.declare_queue("q/1", json!({"x-max-length": 6})).await;
    let refused = differently.unwrap_err().to_string();
    assert!(refused.contains("inequivalent arg"), "{refused}");

    let headers = json!({"headers": {"n": 1}});
    one.publish("q/1", headers, b"text").await.unwrap();
    assert!(other.publish("q/1", json!({}), b"text").await.is_err());
    let taken = one.take("q/1", 5).await.unwrap();
    assert_eq!(taken[0]["payload"], "text");
    assert_eq!(taken[0]["properties"]["headers"]["n"], Value::from(1));

    one.delete_queue("q/1").await.unwrap();
    assert!(one.queues().await.unwrap().is_empty());
    other.delete().await.unwrap();
    assert!(other.queues().await.is_err());
}

#[tokio::test]
async fn all_tests_share_one_server() {
    let Some(broker) = required(RabbitMq::shared()).await else {
        return;
    };
    let again = RabbitMq::shared().await.unwrap();
    assert!(std::ptr::eq(broker, again));
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    let wrong = required(async { Ok(RabbitMq::private(&["no_such_key = 1"]).await) });
    let Some(Err(error)) = wrong.await else {
        return;
    };
    let text = error.to_string();
    assert!(text.contains("ended at its start"), "{text}");
    assert!(text.contains("no_such_key"), "{text}");
}
