//! R27–R30: topics and fanouts.

use super::*;
use crate::{DeadLetterReason, FanoutName, GroupName, OverflowPolicy};

async fn listen(bus: &dyn MessageBus, to: &str, group: Option<&str>) -> Consumer {
    let mut subscription = Subscription::topic(pattern(to));
    if let Some(group) = group {
        subscription = subscription.with_group(GroupName::new(group).unwrap());
    }
    bus.subscribe(subscription).await.unwrap()
}

async fn tell(bus: &dyn MessageBus, to: &str, text: &'static str) {
    bus.publish(&topic(to), Envelope::new(text)).await.unwrap();
}

pub async fn r27_each_group_gets_a_copy_and_its_members_compete(backend: &dyn Backend) {
    let bus = backend.open().await;
    let mut anna = listen(&*bus, "run.*.done", Some("billing")).await;
    let mut bert = listen(&*bus, "run.*.done", Some("billing")).await;
    let mut audit = listen(&*bus, "run.#", Some("audit")).await;
    let mut exact = listen(&*bus, "run.1.done", None).await;
    let mut other = listen(&*bus, "walk.#", None).await;
    for _ in 0..2 {
        tell(&*bus, "run.1.done", "1").await;
    }
    tell(&*bus, "run.2.done", "2").await;
    tell(&*bus, "run.3.failed", "3").await;

    // Unsettled, so that each member can have at most what the other has not.
    let mut billing = Vec::new();
    for consumer in [&mut anna, &mut bert] {
        while let Ok(Some(delivery)) = timeout(A_WHILE, consumer.recv()).await {
            assert!(matches!(delivery.destination(), Destination::Topic(_)));
            billing.push(delivery);
        }
    }
    let mut texts: Vec<_> = billing.iter().map(text).collect();
    texts.sort_unstable();
    assert_eq!(texts, ["1", "1", "2"]);
    for expected in ["1", "1", "2", "3"] {
        assert_eq!(next_text(&mut audit).await, expected);
    }
    for expected in ["1", "1"] {
        assert_eq!(next_text(&mut exact).await, expected);
    }
    for consumer in [&mut audit, &mut exact, &mut other] {
        quiet(consumer, A_WHILE).await;
    }
}

pub async fn r28_fanout_reaches_every_group(backend: &dyn Backend) {
    let bus = backend.open().await;
    let fanout = FanoutName::new("news").unwrap();
    let group =
        |text| Subscription::fanout(fanout.clone()).with_group(GroupName::new(text).unwrap());
    let mut first = bus.subscribe(group("a")).await.unwrap();
    let mut second = bus.subscribe(group("b")).await.unwrap();
    let mut alone = bus
        .subscribe(Subscription::fanout(fanout.clone()))
        .await
        .unwrap();
    let mut other = bus
        .subscribe(Subscription::fanout(FanoutName::new("olds").unwrap()))
        .await
        .unwrap();
    bus.publish(&Destination::Fanout(fanout), Envelope::new("x"))
        .await
        .unwrap();
    for consumer in [&mut first, &mut second, &mut alone] {
        assert_eq!(next_text(consumer).await, "x");
        quiet(consumer, A_WHILE).await;
    }
    quiet(&mut other, A_WHILE).await;
}

pub async fn r29_slow_subscriber_holds_up_nobody(backend: &dyn Backend) {
    const PREFETCH: usize = 1;
    for policy in [
        OverflowPolicy::DropOldest,
        OverflowPolicy::Reject,
        OverflowPolicy::Wait(Duration::from_secs(3_600)),
    ] {
        let bus = with_queue(backend, |spec| spec).await;
        let subscription = Subscription::topic(pattern("news"))
            .with_capacity(count(3))
            .with_prefetch(count(PREFETCH))
            .with_overflow(policy);
        let mut slow = bus.subscribe(subscription).await.unwrap();
        let mut swift = listen(&*bus, "news", None).await;
        send(&*bus, "work").await;
        let start = Instant::now();
        for _ in 0..20 {
            tell(&*bus, "news", "x").await;
        }
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "publishers were held up"
        );
        for _ in 0..20 {
            assert_eq!(next_text(&mut swift).await, "x");
        }
        assert_eq!(next_text(&mut consumer(&*bus).await).await, "work");
        // A backend that takes ahead has done so up to the prefetch.
        let mut received = 0;
        while let Ok(Some(delivery)) = timeout(A_WHILE, slow.recv()).await {
            delivery.ack().await.unwrap();
            received += 1;
        }
        assert!((3..=3 + PREFETCH).contains(&received), "{received} waited");
        let letters = dead_after(&*bus, slow.queue(), 20 - received).await;
        assert!(
            letters
                .iter()
                .all(|letter| letter.reason == DeadLetterReason::Overflow)
        );
        assert_eq!(letters[0].destination, topic("news"));
    }
}

pub async fn r30_group_collects_while_away(backend: &dyn Backend) {
    let bus = backend.open().await;
    drop(listen(&*bus, "news", Some("g")).await);
    let alone = listen(&*bus, "news", None).await;
    tell(&*bus, "news", "missed").await;
    drop(alone);
    assert_eq!(
        next_text(&mut listen(&*bus, "news", Some("g")).await).await,
        "missed"
    );
    quiet(&mut listen(&*bus, "news", None).await, A_WHILE).await;
    quiet(&mut listen(&*bus, "#", Some("g")).await, A_WHILE).await;
}
