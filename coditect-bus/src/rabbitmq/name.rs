//! What exchanges and queues are called at the broker.
//!
//! Everything begins with the namespace and ends with the version of the layout, so that arguments never change in place.

use std::time::Duration;

use crate::{Priority, QueueName};

/// The version of the layout: who changes an argument of anything declared here raises it.
const VERSION: &str = "v1";

#[derive(Clone, Debug)]
pub(super) struct Names {
    namespace: String,
    pub(super) direct: String,
    pub(super) topic: [String; 3],
    pub(super) fanout: [String; 3],
    pub(super) dead: String,
}

impl Names {
    pub(super) fn new(namespace: &str) -> Self {
        let name = |what: &str| format!("{namespace}.{what}.{VERSION}");
        let per_priority = |what: &str| ["p0", "p1", "p2"].map(|p| name(&format!("{what}.{p}")));
        Self {
            namespace: namespace.to_owned(),
            direct: name("direct"),
            topic: per_priority("topic"),
            fanout: per_priority("fanout"),
            dead: name("dead"),
        }
    }

    /// The queue that holds one priority of a queue of the bus; also its routing key in the direct exchange.
    pub(super) fn work(&self, queue: &QueueName, priority: Priority) -> String {
        format!("{}.{queue}.p{}.{VERSION}", self.namespace, priority.index())
    }

    /// The queue of its dead letters.
    pub(super) fn dead_of(&self, queue: &QueueName) -> String {
        format!("{}.{queue}.dead.{VERSION}", self.namespace)
    }

    /// The queue in which messages of one priority spend a delay.
    pub(super) fn wait_of(&self, queue: &QueueName, priority: Priority, delay: Duration) -> String {
        let (p, millis) = (priority.index(), delay.as_millis());
        format!("{}.{queue}.p{p}.wait{millis}.{VERSION}", self.namespace)
    }

    /// The exchange, and the queue behind it, in which messages to a topic or fanout spend a delay.
    pub(super) fn wait_at(&self, exchange: &str, delay: Duration) -> String {
        format!("{exchange}.wait{}", delay.as_millis())
    }
}

/// Rounds a delay up to one of four steps per octave, so that few queues serve all delays; at most a quarter is added.
pub(super) fn tier(delay: Duration) -> Duration {
    const LONGEST: u64 = 1 << 31;
    let millis = delay.as_nanos().div_ceil(1_000_000);
    let millis = u64::try_from(millis).unwrap_or(LONGEST).clamp(1, LONGEST);
    let step = (millis.next_power_of_two() / 8).max(1);
    Duration::from_millis(millis.div_ceil(step) * step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_never_shorter_and_at_most_a_quarter_longer() {
        for millis in (1..5_000).chain([86_400_000, 2_000_000_000]) {
            let delay = Duration::from_millis(millis);
            let tier = tier(delay);
            assert!(tier >= delay, "{delay:?} became {tier:?}");
            assert!(
                tier.as_millis() * 4 <= delay.as_millis() * 5 + 4,
                "{delay:?} became {tier:?}"
            );
        }
        assert_eq!(tier(Duration::from_nanos(1)), Duration::from_millis(1));
        assert_eq!(tier(Duration::MAX), Duration::from_millis(1 << 31));
    }

    #[test]
    fn few_tiers_serve_all_delays() {
        let tiers: std::collections::HashSet<_> = (1..=60_000)
            .map(|millis| tier(Duration::from_millis(millis)))
            .collect();
        assert!(tiers.len() <= 64, "{}", tiers.len());
    }

    #[test]
    fn the_longest_names_fit() {
        let names = Names::new(&"n".repeat(24));
        let queue = QueueName::new("q".repeat(200)).unwrap();
        let longest = names.wait_of(&queue, Priority::P2, tier(Duration::MAX));
        assert!(longest.len() <= 255, "{}", longest.len());
    }
}
