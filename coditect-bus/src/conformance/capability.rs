//! What [`Capabilities`](crate::Capabilities) claims, both ways.

use super::*;
use crate::ErrorKind;

pub async fn capability_persistent(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    let persistent = bus.capabilities().persistent;
    send(&*bus, "kept").await;
    let bus = backend.restart().await;
    let stats = bus.stats(&name("q")).await;
    if persistent {
        assert_eq!(next_text(&mut consumer(&*bus).await).await, "kept");
    } else {
        assert_eq!(stats.unwrap_err().kind(), ErrorKind::NoRoute);
    }
}

pub async fn capability_requeue_at_front(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec).await;
    for text in ["a", "b", "c"] {
        send(&*bus, text).await;
    }
    let mut consumer = consumer_of(&*bus, 1).await;
    let first = next(&mut consumer).await;
    assert_eq!(text(&first), "a");
    first.nack(Duration::ZERO).await.unwrap();
    let mut order = Vec::new();
    for _ in 0..3 {
        order.push(next_text(&mut consumer).await);
    }
    assert_eq!(
        order == ["a", "b", "c"],
        bus.capabilities().requeue_at_front,
        "{order:?}"
    );
    order.sort();
    assert_eq!(order, ["a", "b", "c"]);
}

/// Publishes until the queue refuses, and says how many it took.
async fn filled(bus: &dyn MessageBus, priority: Priority) -> usize {
    for taken in 0..200 {
        if bus
            .publish(&to("q"), envelope("x", priority))
            .await
            .is_err()
        {
            return taken;
        }
    }
    panic!("the queue is never full");
}

pub async fn capability_exact_capacity(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec.with_capacity(count(3))).await;
    let taken = filled(&*bus, Priority::P1).await;
    assert_eq!(
        taken == 3,
        bus.capabilities().exact_capacity,
        "took {taken} of 3"
    );
}

pub async fn capability_shared_capacity(backend: &dyn Backend) {
    let bus = with_queue(backend, |spec| spec.with_capacity(count(3))).await;
    filled(&*bus, Priority::P1).await;
    let more = filled(&*bus, Priority::P0).await;
    assert_eq!(
        more == 0,
        bus.capabilities().shared_capacity,
        "took {more} more of another priority"
    );
}
