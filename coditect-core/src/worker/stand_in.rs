//! Consumers that stand in for handlers which wait for others while the bus counts their deliveries.
//!
//! A handler that asks another agent gives up its slot, but its delivery stays unacknowledged. Without
//! more consumers, handlers that wait for agents of their own kind could use up the prefetch, and the
//! tasks that they wait for would never be delivered.

use std::num::NonZeroUsize;
use std::sync::Arc;

use coditect_bus::{ErrorKind, QueueName, Subscription};
use tokio_util::sync::DropGuard;

use super::Worker;
use super::consume::{RESUBSCRIBE, consume};
use super::hosted::Hosted;
use super::offer::Offer;

/// One delivery more than there are slots, so that the next task is at hand when a slot is free.
pub(super) fn subscription(queue: &QueueName, hosted: &Hosted) -> Subscription {
    let prefetch = NonZeroUsize::MIN.saturating_add(hosted.width());
    Subscription::queue(queue.clone()).with_prefetch(prefetch)
}

/// Keeps as many consumers beside the first as the handlers that are away make necessary.
pub(super) async fn stand_in(worker: Arc<Worker>, offer: Offer, queue: QueueName) {
    let hosted = &offer.hosted;
    let mut away = hosted.watch_away();
    let mut extra: Vec<DropGuard> = Vec::new();
    let mut was_warned = false;
    loop {
        let now = *away.borrow_and_update();
        let wanted = consumers(now, hosted.width());
        while extra.len() < wanted {
            let bus = &worker.services.ports.bus;
            let consumer = match bus.subscribe(subscription(&queue, hosted)).await {
                Ok(consumer) => consumer,
                Err(error) if error.kind() == ErrorKind::Closed => return,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    if !std::mem::replace(&mut was_warned, true) {
                        tracing::warn!(%queue, error, "no consumer can stand in for waiting handlers; trying again");
                    }
                    break;
                }
            };
            was_warned = false;
            let stop = hosted.standing.taking().child_token();
            extra.push(stop.clone().drop_guard());
            let (also, queue) = (Arc::clone(&worker), queue.clone());
            let consumes = consume(also, offer.clone(), queue, consumer, stop);
            worker.tracker.spawn(consumes);
        }
        // They stay until nobody is away, so that none comes and goes with every question.
        if now == 0 {
            extra.clear();
        }
        tokio::select! {
            biased;
            () = hosted.standing.taking().cancelled() => return,
            // The agent, which holds the sender, outlives this.
            _ = away.changed() => {}
            // Handlers that all wait for one that no consumer can take change nothing any more.
            () = tokio::time::sleep(RESUBSCRIBE), if extra.len() < wanted => {}
        }
    }
}

/// How many consumers of `slots + 1` deliveries are needed beside the first so that, with so many
/// handlers away, half of the slots at least can be used.
fn consumers(away: usize, slots: usize) -> usize {
    let needed = away.saturating_add((slots / 2).max(1));
    needed.div_ceil(slots.saturating_add(1)) - 1
}

#[cfg(test)]
mod tests {
    use super::consumers;

    #[test]
    fn handlers_that_are_away_always_leave_room_for_another_delivery() {
        for slots in 1..20 {
            assert_eq!(consumers(0, slots), 0, "nobody stands in for nobody");
            for away in 0..200 {
                let prefetch = (consumers(away, slots) + 1) * (slots + 1);
                assert!(prefetch > away, "{away} away from {slots} slots");
                assert!(prefetch <= away + 2 * (slots + 1), "and not much more");
            }
        }
    }
}
