//! Which queues have consumers: how a coordinator finds agents that no registry tells it of.
//!
//! With a bus that others share and a registry of its own, a runtime knows its own agents only. Those of other
//! processes show by the queues that they take tasks from: one whose name follows from a capability is asked for
//! its consumers, again and again, for as long as runs need it.

use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{ErrorKind, MessageBus, QueueName};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, watch};

/// How soon a queue without consumers is looked at again.
const WHILE_SILENT: Duration = Duration::from_millis(250);
/// After how many of those a queue that has consumers is.
const WHILE_SERVED: u32 = 8;
/// How many looks in a row must find no consumer before a queue counts as left: a broker that comes back has its
/// queues before it has their consumers.
const LOOKS: u32 = 3;

/// Follows the queues that runs of this process need.
pub(crate) struct Listeners {
    bus: Arc<dyn MessageBus>,
    queues: Mutex<FxHashMap<QueueName, Heard>>,
    /// Told whenever a queue was found or left.
    changed: watch::Sender<()>,
    /// Told whenever a queue is asked for that was not known.
    asked: Notify,
}

/// What was heard of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Heard {
    /// Whether it was looked at.
    looks: bool,
    served: bool,
    /// Looks in a row that found no consumer.
    silent: u32,
    /// Rounds until the next look.
    rest: u32,
}

impl Listeners {
    pub(crate) fn new(bus: Arc<dyn MessageBus>) -> Self {
        Self {
            bus,
            queues: Mutex::default(),
            changed: watch::Sender::new(()),
            asked: Notify::new(),
        }
    }

    /// Says whether somebody takes tasks from a queue, once that is known; it is followed from now on.
    pub(super) fn serve(&self, queue: &QueueName) -> Option<bool> {
        let mut queues = self.queues.lock();
        if let Some(heard) = queues.get(queue) {
            return heard.looks.then_some(heard.served);
        }
        queues.insert(queue.clone(), Heard::default());
        self.asked.notify_one();
        None
    }

    /// Follows whether queues are found or left.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Looks at the queues as long as anybody follows them.
    pub(super) async fn follow(&self) {
        loop {
            tokio::select! {
                biased;
                () = self.changed.closed() => return,
                () = self.asked.notified() => {}
                () = tokio::time::sleep(WHILE_SILENT), if !self.queues.lock().is_empty() => {}
            }
            let due: Vec<_> = {
                let mut queues = self.queues.lock();
                let due = queues.iter_mut().filter_map(|(queue, heard)| {
                    let due = heard.rest == 0;
                    heard.rest = heard.rest.saturating_sub(1);
                    due.then(|| queue.clone())
                });
                due.collect()
            };
            for queue in due {
                let consumers = match self.bus.stats(&queue).await {
                    Ok(stats) => stats.consumers,
                    Err(error) if error.kind() == ErrorKind::NoRoute => 0,
                    // Nothing was heard, of which nothing follows.
                    Err(_) => continue,
                };
                self.note(&queue, consumers);
            }
        }
    }

    fn note(&self, queue: &QueueName, consumers: usize) {
        let mut queues = self.queues.lock();
        let Some(heard) = queues.get_mut(queue) else {
            return;
        };
        let before = (heard.looks, heard.served);
        heard.note(consumers);
        let now = (heard.looks, heard.served);
        drop(queues);
        if before != now {
            tracing::debug!(%queue, served = now.1, "agents were found, or have gone");
            self.changed.send_replace(());
        }
    }
}

impl Heard {
    fn note(&mut self, consumers: usize) {
        self.looks = true;
        self.silent = match consumers {
            0 => self.silent.saturating_add(1),
            _ => 0,
        };
        self.served = self.silent == 0 || (self.served && self.silent < LOOKS);
        self.rest = if self.silent == 0 { WHILE_SERVED } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(looks: &[usize]) -> Heard {
        let mut heard = Heard::default();
        looks.iter().for_each(|consumers| heard.note(*consumers));
        heard
    }

    #[test]
    fn a_queue_is_served_from_its_first_consumer_until_a_few_looks_without_any() {
        assert!(!after(&[]).served && !after(&[0, 0]).served);
        assert!(after(&[0, 3]).served);
        assert!(after(&[1, 0, 0]).served && after(&[1, 0, 0, 2, 0, 0]).served);
        assert!(!after(&[1, 0, 0, 0]).served);
    }

    #[test]
    fn a_queue_without_consumers_is_looked_at_in_every_round() {
        assert_eq!(after(&[0]).rest, 0);
        assert_eq!(after(&[1]).rest, WHILE_SERVED);
        assert_eq!(after(&[1, 0]).rest, 0);
    }
}
