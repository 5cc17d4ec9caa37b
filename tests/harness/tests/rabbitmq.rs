//! A private RabbitMQ server does what tests of faults need.

use coditect_harness::{RabbitMq, required};
use serde_json::json;
use tokio::time::Instant;

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

#[tokio::test]
async fn a_confirmed_message_survives_kill_and_restart() {
    let begun = Instant::now();
    let Some(broker) = required(RabbitMq::private(&[])).await else {
        return;
    };
    println!("start: {:.1} s", seconds(begun));
    let begun = Instant::now();
    let vhost = broker.vhost().await.unwrap();
    println!("vhost: {:.2} s", seconds(begun));
    vhost
        .declare_queue("kept", json!({"x-queue-type": "quorum"}))
        .await
        .unwrap();
    vhost
        .publish("kept", json!({"delivery_mode": 2}), b"\xff\x00 no text")
        .await
        .unwrap();
    assert_eq!(vhost.depth("kept").await.unwrap(), 1);

    broker.settle().await.unwrap();
    let begun = Instant::now();
    broker.kill().await.unwrap();
    println!("kill: {:.1} s", seconds(begun));
    assert!(vhost.depth("kept").await.is_err(), "the server is dead");
    let begun = Instant::now();
    broker.restart().await.unwrap();
    println!("restart: {:.1} s", seconds(begun));

    let kept = vhost.take("kept", 10).await.unwrap();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0]["payload"], "/wAgbm8gdGV4dA==");
    assert_eq!(vhost.depth("kept").await.unwrap(), 0);
    let begun = Instant::now();
    broker.stop().await.unwrap();
    println!("stop: {:.1} s", seconds(begun));
}
