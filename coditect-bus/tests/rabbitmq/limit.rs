//! A broker that takes less than the bus does.

use coditect_bus::{Envelope, ErrorKind, MessageBus};
use coditect_harness::{RabbitMq, required};
use futures::future::join_all;
use tokio::time::timeout;

use super::{PATIENCE, bus_at, queue, to_queue};

const LIMIT: usize = 100_000;

async fn broker() -> Option<RabbitMq> {
    required(RabbitMq::private(&["max_message_size = 100000"])).await
}

fn of(bytes: usize) -> Envelope {
    Envelope::new(vec![b'x'; bytes])
}

/// Publishes as everybody should: until it is taken, or will never be.
async fn publish(bus: &dyn MessageBus, envelope: Envelope) -> Result<(), ErrorKind> {
    let mut envelope = envelope;
    loop {
        let Err(refused) = bus.publish(&to_queue(), envelope).await else {
            return Ok(());
        };
        if !refused.error().is_retryable() {
            return Err(refused.kind());
        }
        envelope = refused.into_envelope().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_the_brokers_limit_is_too_large_and_harms_no_other() {
    const COUNT: usize = 200;
    let Some(broker) = broker().await else { return };
    let bus = bus_at(broker.url()).await;
    let fates = join_all((0..COUNT).map(|number| {
        let is_large = number % 20 == 0;
        let envelope = of(if is_large { LIMIT + 1 } else { LIMIT / 100 });
        let bus = &bus;
        async move { (is_large, publish(bus, envelope).await) }
    }));
    for (is_large, fate) in timeout(PATIENCE, fates).await.expect("all are decided") {
        let due = is_large.then_some(ErrorKind::TooLarge);
        assert_eq!(fate.err(), due);
    }
    assert!(bus.stats(&queue()).await.unwrap().ready() >= COUNT / 20 * 19);
    bus.close().await.unwrap();
}

#[tokio::test]
async fn the_brokers_limit_is_named_and_the_message_comes_back() {
    let Some(broker) = broker().await else { return };
    let bus = bus_at(broker.url()).await;
    publish(&bus, of(LIMIT)).await.expect("it is not over it");
    // The broker is asked once; afterwards the limit is known, and nothing else in flight is disturbed.
    for _ in 0..2 {
        let large = of(LIMIT + 1);
        let id = large.id();
        let refused = bus.publish(&to_queue(), large).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::TooLarge, "{refused}");
        assert!(!refused.error().outcome_unknown());
        assert!(refused.to_string().contains("100000"), "{refused}");
        assert_eq!(refused.into_envelope().unwrap().id(), id);
    }
    let batch = vec![of(10), of(LIMIT + 1), of(20)];
    let refused = bus.publish_batch(&to_queue(), batch).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
    let back = refused.into_envelopes();
    assert_eq!(back.len(), 1);
    assert_eq!(back[0].payload().len(), LIMIT + 1);
    bus.close().await.unwrap();
}

#[tokio::test]
async fn a_limit_that_was_raised_holds_after_a_restart() {
    let Some(broker) = broker().await else { return };
    let bus = bus_at(broker.url()).await;
    let refused = bus.publish(&to_queue(), of(LIMIT + 1)).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::TooLarge);
    let set = "application:set_env(rabbit, max_message_size, 200000), \
               persistent_term:put(max_message_size, 200000).";
    broker.eval(set).await.unwrap();
    broker.close_connections().await.unwrap();
    super::until("it is taken", async || {
        bus.publish(&to_queue(), of(LIMIT + 1)).await.is_ok()
    })
    .await;
    bus.close().await.unwrap();
}
