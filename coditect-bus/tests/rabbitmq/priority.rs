//! Priorities under backlog, for small and large prefetch.

use coditect_bus::{Envelope, MessageBus, Priority, PriorityTurns};

use super::{bus_at, consumer, next, to_queue, vhost};

#[tokio::test]
async fn shares_hold_whatever_the_prefetch() {
    const ROUNDS: usize = 8;
    let Some(vhost) = vhost().await else { return };
    let bus = bus_at(vhost.url()).await;
    for prefetch in [1, 4, 16, 64] {
        for priority in Priority::ALL {
            let count = ROUNDS * PriorityTurns::ROUND;
            let backlog = (0..count).map(|_| Envelope::new("x").with_priority(priority));
            bus.publish_batch(&to_queue(), backlog.collect())
                .await
                .unwrap();
        }
        let mut consumer = consumer(&bus, prefetch).await;
        let mut worst = 0;
        for _ in 0..ROUNDS {
            let mut served = [0_usize; 3];
            for _ in 0..PriorityTurns::ROUND {
                // A busy broker may be late with what a share is made of; that is another matter.
                bus.all_at_hand().await;
                let delivery = next(&mut consumer).await;
                served[delivery.envelope().priority().index()] += 1;
                delivery.ack().await.unwrap();
            }
            for (got, due) in served.into_iter().zip([12, 3, 1]) {
                worst = worst.max(got.abs_diff(due));
            }
        }
        println!("prefetch {prefetch}: a share is off by {worst} of 16 at most");
        assert!(worst <= prefetch, "prefetch {prefetch}: off by {worst}");
        // The least urgent are not starved, and the rest of them comes, too.
        let mut left = 3 * ROUNDS * PriorityTurns::ROUND - ROUNDS * PriorityTurns::ROUND;
        while left > 0 {
            next(&mut consumer).await.ack().await.unwrap();
            left -= 1;
        }
    }
    bus.close().await.unwrap();
}
