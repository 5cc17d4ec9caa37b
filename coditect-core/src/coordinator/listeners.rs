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
use tokio::time::Instant;

/// How soon a queue without consumers is looked at again.
const WHILE_SILENT: Duration = Duration::from_millis(250);
/// After how many of those a queue that has consumers is.
const WHILE_SERVED: u32 = 8;
/// How many looks in a row must find no consumer before a queue counts as left: a broker that comes back has its
/// queues before it has their consumers.
const LOOKS: u32 = 3;

/// How long a queue is followed that nobody asks for any more: the next run may ask again.
const UNASKED: Duration = Duration::from_secs(60);

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
    /// How many ask for it.
    askers: usize,
    /// Since when nobody does.
    unasked: Option<Instant>,
}

/// Asks for a queue until it is dropped.
pub(crate) struct Following {
    listeners: Arc<Listeners>,
    queue: QueueName,
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

    /// Follows a queue until what is returned is dropped, and some time more.
    pub(super) fn ask(self: &Arc<Self>, queue: &QueueName) -> Following {
        let mut queues = self.queues.lock();
        if !queues.contains_key(queue) {
            self.asked.notify_one();
        }
        let heard = queues.entry(queue.clone()).or_default();
        heard.askers += 1;
        heard.unasked = None;
        Following {
            listeners: Arc::clone(self),
            queue: queue.clone(),
        }
    }

    fn forget_unasked(&self) {
        let long = |heard: &Heard| heard.unasked.is_some_and(|since| since.elapsed() > UNASKED);
        self.queues.lock().retain(|_, heard| !long(heard));
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
            self.forget_unasked();
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

impl Following {
    pub(super) fn queue(&self) -> &QueueName {
        &self.queue
    }

    /// Says whether somebody takes tasks from the queue, once that is known.
    pub(super) fn served(&self) -> Option<bool> {
        let queues = self.listeners.queues.lock();
        let heard = queues.get(&self.queue)?;
        heard.looks.then_some(heard.served)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        if let Some(heard) = self.listeners.queues.lock().get_mut(&self.queue) {
            heard.askers -= 1;
            heard.unasked = (heard.askers == 0).then(Instant::now);
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

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_nobody_asks_for_is_followed_a_while_and_forgotten() {
        let listeners = Arc::new(Listeners::new(Arc::new(coditect_bus::MemoryBus::new())));
        let _followed = listeners.subscribe();
        let follow = Arc::clone(&listeners);
        let following = tokio::spawn(async move { follow.follow().await });
        let queue: QueueName = "capability.work.v1".parse().unwrap();
        let (first, second) = (listeners.ask(&queue), listeners.ask(&queue));
        assert_eq!(first.served(), None);
        tokio::time::sleep(2 * UNASKED).await;
        assert_eq!(first.served(), Some(false));
        drop(first);
        tokio::time::sleep(2 * UNASKED).await;
        assert_eq!(second.served(), Some(false), "one still asks");
        drop(second);
        tokio::time::sleep(UNASKED / 2).await;
        let again = listeners.ask(&queue);
        assert_eq!(
            again.served(),
            Some(false),
            "what is known is not asked for anew"
        );
        drop(again);
        tokio::time::sleep(2 * UNASKED).await;
        assert!(listeners.queues.lock().is_empty());
        following.abort();
    }
}
