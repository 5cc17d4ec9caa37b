//! The conformance suite: one test per rule of [`MessageBus`], for any backend.
//!
//! A backend implements [`Backend`] and instantiates the suite in an integration test:
//!
//! ```text
//! coditect_bus::conformance!(MyBackend::start());
//! ```
//!
//! Each rule runs as a `#[test]` of its own, on a bus of its own, and fails after a minute.
#![allow(
    clippy::unwrap_used,
    reason = "this is test code: a failure is a panic"
)]
#![allow(
    missing_docs,
    reason = "the name of a rule's test is its promise; the rule stands at the trait"
)]

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Consumer, DeadLetter, DeadLetterFilter, Delivery, Destination, Envelope, MessageBus, Page,
    Priority, QueueName, QueueSpec, Subscription, Topic, TopicPattern,
};

mod capability;
mod consume;
mod dead_letter;
mod publish;
mod publish_subscribe;
mod queue;
mod time;

pub use capability::*;
pub use consume::*;
pub use dead_letter::*;
pub use publish::*;
pub use publish_subscribe::*;
pub use queue::*;
pub use time::*;

/// Gives the suite a bus, and the accidents that may happen to it.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Is called before all else with the name of the rule, and may take its time, as a broker does to start. A rule is left out if
    /// this returns `false`; say why.
    async fn prepare(&self, _rule: &str) -> bool {
        true
    }

    /// Makes the runtime for one test; a backend without real time pauses its clock.
    fn runtime(&self) -> Runtime {
        Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime starts")
    }

    /// Opens the bus, in a namespace that is empty the first time.
    async fn open(&self) -> Arc<dyn MessageBus>;

    /// Waits until every consumer has something of every priority at hand, while all have a backlog. A bus whose consumers take from the
    /// backlog itself has nothing to wait for.
    async fn all_at_hand(&self) {}

    /// Cuts the connections that carry deliveries, and returns when the bus has noticed.
    async fn sever(&self);

    /// Restarts the broker, and opens the bus again in the same namespace.
    async fn restart(&self) -> Arc<dyn MessageBus>;
}

/// Runs one rule.
///
/// # Panics
///
/// If the rule is broken.
pub fn run<B: Backend>(name: &str, backend: B, rule: impl AsyncFnOnce(&dyn Backend)) {
    backend.runtime().block_on(async {
        if !backend.prepare(name).await {
            return;
        }
        timeout(Duration::from_secs(60), rule(&backend))
            .await
            .expect("the rule is decided within a minute");
    });
}

/// Instantiates one `#[test]` per rule; the argument is an expression that makes a [`Backend`](crate::conformance::Backend).
#[macro_export]
macro_rules! conformance {
    ($backend:expr) => {
        $crate::conformance! { @ $backend =>
            r1_confirmed_is_delivered_until_settled
            r2_unroutable_comes_back
            r3_payload_over_the_limit_comes_back
            r4_received_is_what_was_sent
            r5_batch_gives_back_exactly_what_was_not_taken
            r6_order_is_kept_within_a_priority
            r7_each_message_is_with_one_consumer
            r8_prefetch_bounds_what_a_consumer_holds
            r9_unacked_is_redelivered
            r10_acked_is_never_redelivered
            r11_nacked_comes_again_after_its_delay
            r12_rejected_becomes_a_dead_letter
            r13_recv_is_cancel_safe
            r14_deliveries_outlive_their_consumer
            r15_lost_delivery_cannot_be_settled_and_comes_again
            r16_priorities_hold_and_do_not_starve
            r17_expired_is_not_delivered
            r17_expired_under_a_delay_is_not_delivered
            r18_delayed_is_not_delivered_early
            r19_delivery_limit_sets_aside
            r20_declaring_again_is_harmless_and_otherwise_a_conflict
            r21_full_queue_rejects
            r22_full_queue_drops_the_oldest
            r23_full_queue_waits_for_room
            r23_full_queue_waits_no_longer_than_told
            r24_what_comes_back_is_taken_even_if_full
            r25_deleted_queue_ends_its_consumers
            r26_temporary_queue_vanishes_with_its_last_consumer
            r27_each_group_gets_a_copy_and_its_members_compete
            r28_fanout_reaches_every_group
            r29_slow_subscriber_holds_up_nobody
            r30_group_collects_while_away
            r31_dead_letters_are_listed_in_pages
            r32_redriven_is_as_new
            r32_redriving_stops_when_the_queue_is_full
            r33_purged_is_gone_and_others_stay
            r34_closed_bus_refuses_everything
            capability_persistent
            capability_requeue_at_front
            capability_exact_capacity
            capability_shared_capacity
        }
    };
    (@ $backend:expr => $($rule:ident)*) => {
        $(
            #[test]
            fn $rule() {
                $crate::conformance::run(stringify!($rule), $backend, async |backend: &dyn $crate::conformance::Backend| {
                    $crate::conformance::$rule(backend).await
                });
            }
        )*
    };
}

// What the rules are written with.

fn name(text: &str) -> QueueName {
    QueueName::new(text).unwrap()
}

fn to(text: &str) -> Destination {
    Destination::Queue(name(text))
}

fn topic(text: &str) -> Destination {
    Destination::Topic(Topic::new(text).unwrap())
}

fn pattern(text: &str) -> TopicPattern {
    TopicPattern::new(text).unwrap()
}

fn count(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn limit(limit: u32) -> NonZeroU32 {
    NonZeroU32::new(limit).unwrap()
}

/// Opens the bus with a queue `q`, made by `shape` of the usual specification.
async fn with_queue(
    backend: &dyn Backend,
    shape: impl FnOnce(QueueSpec) -> QueueSpec,
) -> Arc<dyn MessageBus> {
    let bus = backend.open().await;
    bus.declare(shape(QueueSpec::new(name("q")))).await.unwrap();
    bus
}

async fn consumer(bus: &dyn MessageBus) -> Consumer {
    consumer_of(bus, 16).await
}

async fn consumer_of(bus: &dyn MessageBus, prefetch: usize) -> Consumer {
    bus.subscribe(Subscription::queue(name("q")).with_prefetch(count(prefetch)))
        .await
        .unwrap()
}

async fn send(bus: &dyn MessageBus, text: &'static str) {
    bus.publish(&to("q"), Envelope::new(text)).await.unwrap();
}

fn text(delivery: &Delivery) -> &str {
    std::str::from_utf8(delivery.payload()).unwrap()
}

/// Receives what must come, and must come by itself: a consumer that nobody wakes finds its message when the timeout polls it.
async fn next(consumer: &mut Consumer) -> Delivery {
    const PATIENCE: Duration = Duration::from_secs(20);
    let start = Instant::now();
    let received = timeout(PATIENCE, consumer.recv()).await;
    let delivery = received
        .expect("a delivery comes")
        .expect("the subscription goes on");
    assert!(
        start.elapsed() < PATIENCE,
        "the consumer was not woken for {delivery:?}"
    );
    delivery
}

/// Receives what must come, acknowledges it, and returns its text.
async fn next_text(consumer: &mut Consumer) -> String {
    let delivery = next(consumer).await;
    let received = text(&delivery).to_owned();
    delivery.ack().await.unwrap();
    received
}

/// Checks that nothing comes for a while.
async fn quiet(consumer: &mut Consumer, span: Duration) {
    if let Ok(delivery) = timeout(span, consumer.recv()).await {
        panic!("nothing should come, but {delivery:?}");
    }
}

const A_WHILE: Duration = Duration::from_millis(300);

async fn dead(bus: &dyn MessageBus, queue: &QueueName) -> Vec<DeadLetter> {
    bus.dead_letters(queue, &DeadLetterFilter::all(), Page::default())
        .await
        .unwrap()
        .letters
}

/// Waits until a queue has this many dead letters, and returns them.
async fn dead_after(bus: &dyn MessageBus, queue: &QueueName, expected: usize) -> Vec<DeadLetter> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let letters = dead(bus, queue).await;
        if letters.len() >= expected || Instant::now() > deadline {
            assert_eq!(letters.len(), expected, "{letters:?}");
            return letters;
        }
        // A broker moves dead letters in its own time and tells nobody.
        sleep(Duration::from_millis(20)).await;
    }
}

fn envelope(text: &'static str, priority: Priority) -> Envelope {
    Envelope::new(text).with_priority(priority)
}
