//! Leaving work to other consumers of the queue: those of another version, or those who have time.

use std::time::Duration;

use coditect_bus::{Delivery, Destination};

use super::Worker;
use super::consume::settle;
use crate::wire;

/// How long work stays away that comes back for the first time.
const FIRST: Duration = Duration::from_millis(50);
/// After how many rounds it stays away twice as long.
const DOUBLES: u32 = 4;
/// How long it stays away at most; by its id up to twice as long.
const LONGEST: Duration = Duration::from_secs(5);
/// After how many rounds somebody should look whether the version that is required still runs.
const SUSPICIOUS: u32 = 16;

/// Leaves a task or a request to a consumer of another version.
///
/// It is published anew, under its own id: every giving back counts as a delivery, and a task that only
/// busy agents can do would soon be set aside.
pub(super) async fn pass_on(worker: &Worker, delivery: Delivery) {
    let envelope = delivery.envelope();
    let rounds = envelope.header(wire::ROUNDS);
    let rounds: u32 = rounds.and_then(|text| text.parse().ok()).unwrap_or(0);
    if rounds == SUSPICIOUS {
        tracing::warn!(
            queue = %delivery.queue(),
            requirement = envelope.header(wire::REQUIREMENT),
            run = envelope.header(wire::RUN),
            task = envelope.header(wire::TASK),
            "no agent of the version that is required takes what waits here"
        );
    }
    let delay = delay(rounds, envelope.id().as_uuid().as_u128());
    let to = Destination::Queue(delivery.queue().clone());
    let again = envelope.clone().with_delay(delay);
    let again = again.with_header(wire::ROUNDS, rounds.saturating_add(1).to_string());
    match worker.services.ports.bus.publish(&to, again).await {
        Ok(()) => settle(delivery.ack()).await,
        Err(_) => settle(delivery.nack(delay)).await,
    }
}

/// Leaves work to a consumer that has a slot for it, since all of this agent's have been taken for long.
///
/// It goes to the end of the queue, as a giving back would count as a delivery here as well.
pub(super) async fn give_up_waiting(worker: &Worker, delivery: Delivery) {
    let to = Destination::Queue(delivery.queue().clone());
    let again = delivery.envelope().clone();
    match worker.services.ports.bus.publish(&to, again).await {
        Ok(()) => settle(delivery.ack()).await,
        Err(_) => settle(delivery.nack(FIRST)).await,
    }
}

/// How long something stays away after so many rounds.
///
/// Spread by their ids, tasks come back one by one and not all to the consumer that is first in line.
fn delay(rounds: u32, id: u128) -> Duration {
    let doubled = 2_u32.saturating_pow(rounds / DOUBLES);
    let delay = FIRST.saturating_mul(doubled).min(LONGEST);
    let spread = u64::try_from(id % delay.as_millis()).unwrap_or_default();
    delay + Duration::from_millis(spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_circles_comes_back_ever_more_rarely_up_to_a_limit() {
        let mut last = Duration::ZERO;
        for rounds in 0..100 {
            let now = delay(rounds, 0);
            assert!(last <= now && now <= LONGEST);
            last = now;
        }
        assert_eq!((delay(0, 0), delay(4, 0)), (FIRST, FIRST * 2));
        assert_eq!(delay(u32::MAX, 0), LONGEST);
        assert!(delay(0, u128::MAX) < FIRST * 2);
    }
}
