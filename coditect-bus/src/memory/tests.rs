//! What the conformance suite cannot see: accounts that must balance, wakes that must not be lost, bounds on memory.

use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::*;
use crate::{DeadLetterReason, ErrorKind, MessageId, OverflowPolicy, Priority};

fn name() -> QueueName {
    QueueName::new("q").unwrap()
}

/// The fates that an observer saw.
#[derive(Debug, Default)]
struct Fates {
    acked: Mutex<HashMap<MessageId, usize>>,
    dead: Mutex<HashMap<MessageId, usize>>,
    discarded: AtomicUsize,
    requeued: AtomicUsize,
}

impl Observer for Fates {
    fn acked(&self, _: &QueueName, envelope: &Envelope) {
        *self.acked.lock().entry(envelope.id()).or_default() += 1;
    }

    fn dead_lettered(&self, _: &QueueName, envelope: &Envelope, _: &DeadLetterReason) {
        *self.dead.lock().entry(envelope.id()).or_default() += 1;
    }

    fn dead_letter_discarded(&self, _: &QueueName, _: &Envelope) {
        self.discarded.fetch_add(1, Ordering::Relaxed);
    }

    fn requeued(&self, _: &QueueName, _: &Envelope, _: Duration) {
        self.requeued.fetch_add(1, Ordering::Relaxed);
    }
}

/// A generator of its own for each task, so that a seed names a run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

const PUBLISHERS: u64 = 4;
const CONSUMERS: u64 = 5;
const EACH: usize = 500;

async fn publish_some(bus: MemoryBus, mut random: Random) -> Vec<MessageId> {
    let mut accepted = Vec::new();
    while accepted.len() < EACH {
        let mut envelope =
            Envelope::new(vec![0; 16]).with_priority(Priority::ALL[random.below(3) as usize]);
        if random.below(20) == 0 {
            envelope = envelope.with_delay(Duration::from_millis(random.below(5)));
        }
        if random.below(20) == 0 {
            envelope = envelope
                .with_expires_at(SystemTime::now() + Duration::from_millis(random.below(8)));
        }
        let id = envelope.id();
        match bus.publish(&name().into(), envelope).await {
            Ok(()) => accepted.push(id),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Full);
                tokio::task::yield_now().await;
            }
        }
    }
    accepted
}

async fn consume_some(
    bus: MemoryBus,
    mut random: Random,
    done: tokio_util::sync::CancellationToken,
) {
    let prefetch = NonZeroUsize::new(1 + random.below(6) as usize).unwrap();
    let subscribe = || bus.subscribe(Subscription::queue(name()).with_prefetch(prefetch));
    let mut consumer = subscribe().await.unwrap();
    let mut held = Vec::new();
    loop {
        let patience = Duration::from_micros(random.below(300));
        let Some(received) = done
            .run_until_cancelled(timeout(patience, consumer.recv()))
            .await
        else {
            return;
        };
        if let Ok(delivery) = received {
            held.push(delivery.expect("the bus is open"));
        }
        if held.is_empty() || (held.len() < prefetch.get() && random.below(2) == 0) {
            continue;
        }
        let delivery = held.swap_remove(random.below(held.len() as u64) as usize);
        match random.below(10) {
            0 => drop(delivery),
            1 => drop(delivery.nack(Duration::from_millis(random.below(4))).await),
            2 => drop(delivery.reject("chance").await),
            3 => consumer = subscribe().await.unwrap(),
            4 if random.below(20) == 0 => bus.sever(),
            // A severed delivery is not acked, and comes again.
            _ => drop(delivery.ack().await),
        }
    }
}

fn every_message_has_one_fate(seed: u64) {
    println!("seed {seed}");
    let runtime = Builder::new_multi_thread()
        .worker_threads(3)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let fates = Arc::new(Fates::default());
        let bus = MemoryBus::builder()
            .with_observer(Arc::clone(&fates) as _)
            .build();
        let overflow = [
            OverflowPolicy::Reject,
            OverflowPolicy::DropOldest,
            OverflowPolicy::Wait(Duration::from_secs(30)),
        ];
        let spec = QueueSpec::new(name())
            .with_capacity(NonZeroUsize::new(64).unwrap())
            .with_overflow(overflow[seed as usize % 3])
            .with_max_deliveries(NonZeroU32::new(12).unwrap());
        bus.declare(spec).await.unwrap();
        let done = tokio_util::sync::CancellationToken::new();
        let random =
            |task: u64| Random((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (task + 1) << 32);
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|task| tokio::spawn(publish_some(bus.clone(), random(task))))
            .collect();
        let consumers: Vec<_> = (0..CONSUMERS)
            .map(|task| tokio::spawn(consume_some(bus.clone(), random(100 + task), done.clone())))
            .collect();
        let mut accepted = Vec::new();
        for publisher in publishers {
            accepted.extend(publisher.await.unwrap());
        }
        let settled = || fates.acked.lock().len() + fates.dead.lock().len();
        timeout(Duration::from_secs(60), async {
            while settled() < accepted.len() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{} of {} settled", settled(), accepted.len()));
        done.cancel();
        for consumer in consumers {
            consumer.await.unwrap();
        }

        let stats = bus.stats(&name()).await.unwrap();
        let (acked, dead) = (fates.acked.lock(), fates.dead.lock());
        for id in &accepted {
            let fate = acked.get(id).copied().unwrap_or(0) + dead.get(id).copied().unwrap_or(0);
            assert_eq!(fate, 1, "message {id}");
        }
        assert_eq!(
            acked.len() + dead.len(),
            accepted.len(),
            "a message came from nowhere"
        );
        assert!(
            !acked.is_empty() && !dead.is_empty() && fates.requeued.load(Ordering::Relaxed) > 0
        );
        assert_eq!(
            (stats.ready(), stats.delayed, stats.unacked, stats.consumers),
            (0, 0, 0, 0)
        );
        assert_eq!(stats.dead_letters, dead.len());
        assert_eq!(bus.0.queue(&name()).unwrap().waiting_consumers(), 0);
    });
}

#[test]
fn every_message_ends_once_as_acked_or_dead() {
    for seed in 0..9 {
        every_message_has_one_fate(seed);
    }
}

#[tokio::test]
async fn a_message_goes_on_to_the_next_consumer_when_a_woken_one_gives_up() {
    let bus = MemoryBus::new();
    bus.declare(QueueSpec::new(name())).await.unwrap();
    let mut first = bus.subscribe(Subscription::queue(name())).await.unwrap();
    let mut second = bus.subscribe(Subscription::queue(name())).await.unwrap();
    let mut given_up = Box::pin(first.recv());
    assert!(futures::poll!(&mut given_up).is_pending());
    let waiting = tokio::spawn(async move { second.recv().await.unwrap().ack().await });
    tokio::task::yield_now().await;
    bus.publish(&name().into(), Envelope::new("a"))
        .await
        .unwrap();
    drop(given_up);
    waiting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn expired_messages_become_dead_letters_without_any_consumer() {
    let fates = Arc::new(Fates::default());
    let bus = MemoryBus::builder()
        .with_observer(Arc::clone(&fates) as _)
        .build();
    bus.declare(QueueSpec::new(name())).await.unwrap();
    for millis in [200, 100, 100_000] {
        let envelope =
            Envelope::new("a").with_expires_at(SystemTime::now() + Duration::from_millis(millis));
        bus.publish(&name().into(), envelope).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(fates.dead.lock().len(), 2);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(fates.dead.lock().len(), 3);
}

#[tokio::test]
async fn dead_letters_are_bounded_and_the_oldest_is_discarded_aloud() {
    let fates = Arc::new(Fates::default());
    let bus = MemoryBus::builder()
        .with_observer(Arc::clone(&fates) as _)
        .with_max_dead_letters(NonZeroUsize::new(3).unwrap())
        .build();
    bus.declare(QueueSpec::new(name())).await.unwrap();
    let mut consumer = bus.subscribe(Subscription::queue(name())).await.unwrap();
    for number in 0..5_u8 {
        bus.publish(&name().into(), Envelope::new(vec![number]))
            .await
            .unwrap();
        consumer.recv().await.unwrap().reject("x").await.unwrap();
    }
    let page = bus
        .dead_letters(&name(), &DeadLetterFilter::all(), Page::default())
        .await
        .unwrap();
    let left: Vec<_> = page
        .letters
        .iter()
        .map(|letter| letter.envelope.payload()[0])
        .collect();
    assert_eq!(left, [2, 3, 4]);
    assert_eq!(fates.discarded.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_full_queue_drops_the_least_urgent_first() {
    let bus = MemoryBus::new();
    let spec = QueueSpec::new(name())
        .with_capacity(NonZeroUsize::new(2).unwrap())
        .with_overflow(OverflowPolicy::DropOldest);
    bus.declare(spec).await.unwrap();
    for (text, priority) in [
        ("a", Priority::P1),
        ("b", Priority::P0),
        ("c", Priority::P2),
        ("d", Priority::P0),
    ] {
        bus.publish(&name().into(), Envelope::new(text).with_priority(priority))
            .await
            .unwrap();
    }
    let page = bus
        .dead_letters(&name(), &DeadLetterFilter::all(), Page::default())
        .await
        .unwrap();
    let dropped: Vec<_> = page
        .letters
        .iter()
        .map(|letter| letter.envelope.payload().clone())
        .collect();
    assert_eq!(
        dropped,
        ["c", "a"],
        "the newcomer is the least urgent itself, then P1 goes before P0"
    );
}

#[tokio::test]
async fn oversized_headers_are_refused() {
    let bus = MemoryBus::builder().with_max_headers(10).build();
    bus.declare(QueueSpec::new(name())).await.unwrap();
    let envelope = Envelope::new("a").with_header("12345", "123456");
    let error = bus.publish(&name().into(), envelope).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("headers of 11 bytes"), "{error}");
}

#[tokio::test]
async fn the_last_handle_ends_the_bus() {
    let bus = MemoryBus::new();
    bus.declare(QueueSpec::new(name())).await.unwrap();
    let mut consumer = bus.subscribe(Subscription::queue(name())).await.unwrap();
    let queue = Arc::downgrade(&bus.0.queue(&name()).unwrap());
    let waits = tokio::spawn(async move { consumer.recv().await.is_none() });
    tokio::task::yield_now().await;
    drop(bus);
    assert!(waits.await.unwrap());
    assert!(queue.upgrade().is_none(), "nothing keeps the queue alive");
}

#[tokio::test]
async fn a_group_whose_pattern_is_no_name_still_has_one_queue() {
    let bus = MemoryBus::new();
    let group = crate::GroupName::new("g").unwrap();
    let long = format!("ü.{}", "x".repeat(200));
    let subscribe =
        || bus.subscribe(Subscription::topic(long.parse().unwrap()).with_group(group.clone()));
    let (first, second) = (subscribe().await.unwrap(), subscribe().await.unwrap());
    assert_eq!(first.queue(), second.queue());
    let other = Subscription::topic(long.parse().unwrap())
        .with_group(group)
        .with_capacity(NonZeroUsize::MIN);
    assert_eq!(
        bus.subscribe(other).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
}
