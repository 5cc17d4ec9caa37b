//! Queues that were made anew: whoever had published to their predecessors hears of it, and does it again.
//!
//! An operator may delete a queue, and a broker may lose its data. What waited there is gone then, although the bus had
//! confirmed it, and nobody would ask for it again: an attempt that waits for a slot looks just the same to its owner.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{Destination, Envelope, ErrorKind, MessageBus, QueueName};
use coditect_dag::Timestamp;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use super::Worker;
use crate::wire::{self, Anew};

/// How many queues an owner may still have to look at; one that is further behind looks at all. A process with many
/// capabilities that are new tells as many at once.
const REMEMBERED: usize = 1024;
/// How long it takes until the bus is asked again to take a notice.
const RETRY: Duration = Duration::from_millis(200);
/// For how long it is asked before whoever tells looks at what else there is to do.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tells the owners of this process which queues were made anew.
#[derive(Debug)]
pub(super) struct Bell {
    sender: broadcast::Sender<Option<Anew>>,
    log: Mutex<Log>,
}

/// The last notices.
#[derive(Debug, Default)]
struct Log {
    count: u64,
    last: VecDeque<Option<Anew>>,
}

impl Default for Bell {
    fn default() -> Self {
        Self {
            sender: broadcast::Sender::new(REMEMBERED),
            log: Mutex::default(),
        }
    }
}

impl Log {
    fn push(&mut self, notice: Option<Anew>) {
        if self.last.len() == REMEMBERED {
            self.last.pop_front();
        }
        self.last.push_back(notice);
        self.count += 1;
    }

    /// What came after so many; of no queue in particular, where that is not known any more.
    fn since(&self, count: u64) -> Vec<Option<Anew>> {
        let missed = usize::try_from(self.count.saturating_sub(count)).unwrap_or(usize::MAX);
        match self.last.len().checked_sub(missed) {
            Some(before) => self.last.range(before..).cloned().collect(),
            None => vec![None],
        }
    }
}

impl Worker {
    /// Follows which queues were made anew; none where notices may have been missed, so that it may be any. With it comes
    /// what was told since so many notices had been heard.
    pub(crate) fn queues_made_anew(
        &self,
        since: Option<u64>,
    ) -> (broadcast::Receiver<Option<Anew>>, Vec<Option<Anew>>) {
        let log = self.anew.log.lock();
        let before = since.map_or_else(Vec::new, |since| log.since(since));
        (self.anew.sender.subscribe(), before)
    }

    /// Counts the notices that were heard.
    pub(crate) fn notices_heard(&self) -> u64 {
        self.anew.log.lock().count
    }

    pub(super) fn heard_of(&self, anew: Option<Anew>) {
        let mut log = self.anew.log.lock();
        log.push(anew.clone());
        // A process that coordinates nothing has published nothing.
        let _ = self.anew.sender.send(anew);
    }

    /// Tells all processes that a queue was made anew; beside what follows, if the bus does not take that soon.
    pub(super) async fn tell_anew(self: &Arc<Self>, queue: &QueueName, at: Option<Timestamp>) {
        if tell_anew(&*self.services.ports.bus, queue, at).await {
            return;
        }
        let (worker, queue) = (Arc::clone(self), queue.clone());
        self.tracker.spawn(async move {
            let bus = &*worker.services.ports.bus;
            let telling = async { while !tell_anew(bus, &queue, at).await {} };
            worker.stop.run_until_cancelled(telling).await;
        });
    }
}

/// Tells all processes that a queue was made anew, until the bus has taken it; says whether there was time enough.
///
/// `at` says when, where nobody can say whether there had been one before.
pub(crate) async fn tell_anew(
    bus: &dyn MessageBus,
    queue: &QueueName,
    at: Option<Timestamp>,
) -> bool {
    match at {
        // Most often it is the first of its name.
        Some(_) => tracing::debug!(%queue, "the queue was not there and was made"),
        None => {
            tracing::info!(%queue, "the queue was made anew, and what had waited in another before it is published again");
        }
    }
    let notice = Anew {
        anew: queue.clone(),
        at,
    };
    let (Ok(fanout), Ok(envelope)) = (wire::control_fanout(), notice.to_envelope()) else {
        return true;
    };
    let to = Destination::Fanout(fanout);
    let telling = tell(bus, queue, &to, &envelope);
    let told = tokio::time::timeout(PATIENCE, telling).await;
    if told.is_err() {
        tracing::error!(%queue, "the bus does not take the notice that the queue was made anew; trying again");
    }
    told.is_ok()
}

/// Publishes a notice until the bus has taken it, or says that it never will.
async fn tell(bus: &dyn MessageBus, queue: &QueueName, to: &Destination, notice: &Envelope) {
    let mut was_warned = false;
    while let Err(refused) = bus.publish(to, notice.clone()).await {
        // Where nobody listens there is nobody who has published anything.
        if matches!(refused.kind(), ErrorKind::NoRoute | ErrorKind::Closed) {
            return;
        }
        if !refused.error().is_retryable() {
            let error = refused.error() as &dyn std::error::Error;
            tracing::error!(%queue, error, "nobody can be told that the queue was made anew");
            return;
        }
        if !std::mem::replace(&mut was_warned, true) {
            let error = refused.error() as &dyn std::error::Error;
            tracing::warn!(%queue, error, "nobody is told yet that the queue was made anew; trying again");
        }
        tokio::time::sleep(RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(queue: &str) -> Option<Anew> {
        Some(Anew {
            anew: queue.parse().expect("a name"),
            at: None,
        })
    }

    #[test]
    fn what_came_since_is_told_and_all_where_that_is_forgotten() {
        let bell = Bell::default();
        let mut log = bell.log.lock();
        log.push(notice("a"));
        let count = log.count;
        assert!(log.since(count).is_empty());
        log.push(notice("b"));
        log.push(None);
        let since: Vec<_> = log
            .since(count)
            .into_iter()
            .map(|it| it.is_some())
            .collect();
        assert_eq!(since, [true, false]);
        for _ in 0..REMEMBERED - 2 {
            log.push(notice("c"));
        }
        assert_eq!(log.since(count).len(), REMEMBERED);
        log.push(notice("d"));
        assert!(matches!(log.since(count)[..], [None]));
        assert_eq!(log.since(count + 1).len(), REMEMBERED);
    }
}
