//! The memory bus as its users see it: what an observer is told, the consumer as a stream, time without waste.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coditect_bus::{
    DeadLetterReason, Destination, Envelope, Error, ErrorKind, MemoryBus, MessageBus, MessageId,
    Observer, OverflowPolicy, Priority, QueueName, QueueSpec, Subscription,
};
use futures::StreamExt;
use parking_lot::Mutex;

fn name() -> QueueName {
    QueueName::new("q").expect("a good name")
}

async fn with_queue(bus: MemoryBus) -> MemoryBus {
    bus.declare(QueueSpec::new(name()))
        .await
        .expect("a new queue");
    bus
}

/// Writes down what it is told.
#[derive(Debug, Default)]
struct Diary(Mutex<Vec<String>>);

impl Diary {
    fn note(&self, line: impl Into<String>) {
        self.0.lock().push(line.into());
    }
}

impl Observer for Diary {
    fn published(&self, to: &Destination, _: MessageId, payload_len: usize) {
        self.note(format!("published {payload_len} bytes to {to}"));
    }

    fn refused(&self, to: &Destination, error: &Error) {
        self.note(format!("refused {to}: {:?}", error.kind()));
    }

    fn delivered(&self, _: &QueueName, _: &Envelope, redeliveries: u32) {
        self.note(format!("delivered {redeliveries}"));
    }

    fn acked(&self, queue: &QueueName, _: &Envelope) {
        self.note(format!("acked {queue}"));
    }

    fn requeued(&self, _: &QueueName, _: &Envelope, delay: Duration) {
        self.note(format!("requeued {delay:?}"));
    }

    fn dead_lettered(&self, _: &QueueName, _: &Envelope, reason: &DeadLetterReason) {
        self.note(format!("dead {reason}"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_told_the_whole_life_of_a_message() {
    let diary = Arc::new(Diary::default());
    let bus = with_queue(
        MemoryBus::builder()
            .with_max_payload(5)
            .with_observer(Arc::clone(&diary) as _)
            .build(),
    )
    .await;
    let to = Destination::from(name());
    bus.publish(&to, Envelope::new("too long"))
        .await
        .expect_err("it is over the limit");
    bus.publish(&to, Envelope::new("abc"))
        .await
        .expect("a queue");
    let mut consumer = bus
        .subscribe(Subscription::queue(name()))
        .await
        .expect("a queue");
    drop(consumer.recv().await);
    consumer
        .recv()
        .await
        .expect("open")
        .nack(Duration::from_secs(1))
        .await
        .expect("a lease");
    consumer
        .recv()
        .await
        .expect("open")
        .ack()
        .await
        .expect("a lease");
    bus.publish_batch(&to, vec![Envelope::new("d")])
        .await
        .expect("a queue");
    consumer
        .recv()
        .await
        .expect("open")
        .reject("bad")
        .await
        .expect("a lease");
    let expected = [
        "refused queue q: TooLarge",
        "published 3 bytes to queue q",
        "delivered 0",
        "requeued 0ns",
        "delivered 1",
        "requeued 1s",
        "delivered 2",
        "acked q",
        "published 1 bytes to queue q",
        "delivered 0",
        "dead rejected: bad",
    ];
    assert_eq!(*diary.0.lock(), expected);
}

#[tokio::test]
async fn a_consumer_is_a_stream_that_ends_with_the_bus() {
    let bus = with_queue(MemoryBus::new()).await;
    for number in 0..3_u8 {
        bus.publish(&name().into(), Envelope::new(vec![number]))
            .await
            .expect("a queue");
    }
    let consumer = bus
        .subscribe(Subscription::queue(name()))
        .await
        .expect("a queue");
    let closing = bus.clone();
    let received: Vec<u8> = consumer
        .then(|delivery| {
            let bus = closing.clone();
            async move {
                let number = delivery.payload()[0];
                delivery.ack().await.expect("a lease");
                if number == 2 {
                    bus.close().await.expect("memory closes");
                }
                number
            }
        })
        .collect()
        .await;
    assert_eq!(received, [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_delayed_messages_come_in_the_order_of_their_delays() {
    const COUNT: u32 = 100_000;
    let bus = with_queue(MemoryBus::new()).await;
    let batch = (0..COUNT)
        .map(|number| {
            let delay = (u64::from(number) * 7_919) % u64::from(COUNT);
            Envelope::new(delay.to_be_bytes().to_vec()).with_delay(Duration::from_micros(1 + delay))
        })
        .collect();
    bus.publish_batch(&name().into(), batch)
        .await
        .expect("there is room");
    let metrics = tokio::runtime::Handle::current().metrics();
    assert!(
        metrics.num_alive_tasks() <= 2,
        "{} tasks",
        metrics.num_alive_tasks()
    );
    let mut consumer = bus
        .subscribe(Subscription::queue(name()))
        .await
        .expect("a queue");
    for expected in 0..u64::from(COUNT) {
        let delivery = consumer.recv().await.expect("open");
        assert_eq!(delivery.payload().as_ref(), expected.to_be_bytes());
        delivery.ack().await.expect("a lease");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_makes_room_for_publishers_by_expiry_too() {
    let bus = MemoryBus::new();
    let spec = QueueSpec::new(name())
        .with_capacity(NonZeroUsize::MIN)
        .with_overflow(OverflowPolicy::Wait(Duration::from_secs(60)));
    bus.declare(spec).await.expect("a new queue");
    let expiring = Envelope::new("old").with_expires_at(SystemTime::now() + Duration::from_secs(2));
    bus.publish(&name().into(), expiring)
        .await
        .expect("there is room");
    let start = tokio::time::Instant::now();
    bus.publish(&name().into(), Envelope::new("new"))
        .await
        .expect("room comes");
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "waited {:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn what_expires_between_two_sweeps_is_not_delivered() {
    let bus = with_queue(MemoryBus::new()).await;
    let now = SystemTime::now();
    for (text, millis) in [("swept", 1_000), ("between", 1_010), ("fresh", 60_000)] {
        let envelope = Envelope::new(text).with_expires_at(now + Duration::from_millis(millis));
        bus.publish(&name().into(), envelope)
            .await
            .expect("a queue");
    }
    tokio::time::sleep(Duration::from_millis(1_001)).await;
    assert_eq!(bus.stats(&name()).await.expect("a queue").dead_letters, 1);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut consumer = bus
        .subscribe(Subscription::queue(name()))
        .await
        .expect("a queue");
    let delivery = consumer.recv().await.expect("open");
    assert_eq!(delivery.payload().as_ref(), "fresh".as_bytes());
    delivery.ack().await.expect("a lease");
    assert_eq!(bus.stats(&name()).await.expect("a queue").dead_letters, 2);
}

#[tokio::test(start_paused = true)]
async fn closing_the_bus_or_deleting_the_queue_frees_a_waiting_publisher() {
    for closes in [true, false] {
        let bus = MemoryBus::new();
        let spec = QueueSpec::new(name())
            .with_capacity(NonZeroUsize::MIN)
            .with_overflow(OverflowPolicy::Wait(Duration::from_secs(3_600)));
        bus.declare(spec).await.expect("a new queue");
        bus.publish(&name().into(), Envelope::new("a"))
            .await
            .expect("there is room");
        let publisher = bus.clone();
        let waits =
            tokio::spawn(
                async move { publisher.publish(&name().into(), Envelope::new("b")).await },
            );
        tokio::task::yield_now().await;
        let start = tokio::time::Instant::now();
        let expected = if closes {
            bus.close().await.expect("memory closes");
            ErrorKind::Closed
        } else {
            assert!(bus.delete(&name()).await.expect("open"));
            ErrorKind::NoRoute
        };
        let error = waits
            .await
            .expect("no panic")
            .expect_err("nothing to publish to");
        assert_eq!(error.kind(), expected);
        assert!(error.into_envelope().is_some());
        assert!(start.elapsed() < Duration::from_secs(1));
    }
}

#[tokio::test]
async fn statistics_count_by_priority_and_state() {
    let bus = with_queue(MemoryBus::new()).await;
    for priority in [Priority::P0, Priority::P2, Priority::P2] {
        bus.publish(&name().into(), Envelope::new("a").with_priority(priority))
            .await
            .expect("a queue");
    }
    let later = Envelope::new("a").with_delay(Duration::from_secs(3_600));
    bus.publish(&name().into(), later).await.expect("a queue");
    let mut consumer = bus
        .subscribe(Subscription::queue(name()))
        .await
        .expect("a queue");
    let held = consumer.try_recv().expect("a message");
    let stats = bus.stats(&name()).await.expect("a queue");
    assert_eq!(
        (stats.ready(), stats.ready_of(Priority::P2), stats.delayed),
        (2, 2, 1)
    );
    assert_eq!(
        (stats.unacked, stats.consumers, stats.dead_letters),
        (1, 1, 0)
    );
    held.ack().await.expect("a lease");
    assert_eq!(bus.stats(&name()).await.expect("a queue").unacked, 0);
}
