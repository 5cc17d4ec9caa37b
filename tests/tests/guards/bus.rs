//! The guard of a message bus: each queue by itself, and what was not published comes back.

use coditect_core::bus::{
    Destination, Envelope, ErrorKind, MemoryBus, MessageBus, QueueName, QueueSpec,
};
use coditect_core::guard::{GuardPolicy, GuardedBus};
use coditect_core::resilience::BreakerState;
use tokio::time::sleep;

use crate::OPEN;
use crate::shaky::{Mode, Shaky};

async fn with_queues() -> (Shaky<MemoryBus>, GuardedBus, [Destination; 2]) {
    let shaky = Shaky::new(MemoryBus::new());
    let bus = GuardedBus::new(shaky.handle(), GuardPolicy::bus());
    let queues = ["broken", "well"].map(|name| QueueName::new(name).unwrap());
    for queue in &queues {
        bus.declare(QueueSpec::new(queue.clone())).await.unwrap();
    }
    (shaky, bus, queues.map(Destination::Queue))
}

fn letter() -> Envelope {
    Envelope::new("letter")
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_fails_is_left_alone_and_others_do_not_feel_it() {
    let (shaky, bus, [broken, well]) = with_queues().await;
    shaky
        .line
        .set(Mode::Without(QueueName::new("broken").unwrap()));
    let before = shaky.line.calls();
    for _ in 0..100 {
        let error = bus.publish(&broken, letter()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.into_envelope().is_some());
        bus.publish(&well, letter()).await.unwrap();
    }
    assert_eq!(shaky.line.calls() - before, 5 + 100);
    let tripped = bus.tripped();
    assert_eq!(tripped.len(), 1);
    assert_eq!(tripped[0].name(), "broken");
    assert_eq!(bus.breaker().state(), BreakerState::Closed);
    shaky.line.set(Mode::Well);
    sleep(OPEN).await;
    bus.publish(&broken, letter()).await.unwrap();
    assert_eq!(bus.breaker_of(&broken).state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_refused_comes_back_in_its_order_and_says_why() {
    let (shaky, bus, [broken, _]) = with_queues().await;
    shaky.line.set(Mode::Gone);
    for _ in 0..5 {
        bus.publish(&broken, letter()).await.unwrap_err();
    }
    let batch = Vec::from_iter((0..3).map(|number| Envelope::new(number.to_string())));
    let ids = Vec::from_iter(batch.iter().map(Envelope::id));
    let error = bus.publish_batch(&broken, batch).await.unwrap_err();
    assert!(!error.error().outcome_unknown(), "it was not sent");
    let text = error.to_string();
    let begin = "3 messages were not published: queue broken on the message bus keeps failing and \
                 is left alone; it is tried again in ";
    assert!(text.starts_with(begin), "{text}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(
        source,
        "a call to queue broken on the message bus failed: the line is cut"
    );
    let back = Vec::from_iter(error.into_envelopes().iter().map(Envelope::id));
    assert_eq!(back, ids);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_not_there_or_full_is_an_answer() {
    let (_, bus, _) = with_queues().await;
    let nowhere = Destination::Queue(QueueName::new("nowhere").unwrap());
    for _ in 0..100 {
        let error = bus.publish(&nowhere, letter()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoRoute);
    }
    assert_eq!(bus.breaker_of(&nowhere).state(), BreakerState::Closed);
    bus.close().await.unwrap();
    let error = bus.publish(&nowhere, letter()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn handles_share_what_was_found_out() {
    let (shaky, bus, [broken, _]) = with_queues().await;
    shaky.line.set(Mode::Gone);
    let other = bus.handle();
    for _ in 0..5 {
        bus.publish(&broken, letter()).await.unwrap_err();
    }
    let before = shaky.line.calls();
    other.publish(&broken, letter()).await.unwrap_err();
    assert_eq!(shaky.line.calls(), before);
}
