//! Queues that were made anew: whoever had published to their predecessors hears of it, and does it again.
//!
//! An operator may delete a queue, and a broker may lose its data. What waited there is gone then, although the bus had
//! confirmed it, and nobody would ask for it again: an attempt that waits for a slot looks just the same to its owner.

use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{Destination, Envelope, ErrorKind, MessageBus, QueueName};
use coditect_dag::Timestamp;
use tokio::sync::broadcast;

use super::Worker;
use crate::wire::{self, Anew};

/// How many queues an owner may still have to look at; one that is further behind looks at all. A process with many
/// capabilities that are new tells as many at once.
pub(super) const REMEMBERED: usize = 1024;
/// How long it takes until the bus is asked again to take a notice.
const RETRY: Duration = Duration::from_millis(200);
/// For how long it is asked before whoever tells looks at what else there is to do.
const PATIENCE: Duration = Duration::from_secs(10);

impl Worker {
    /// Follows which queues were made anew; none where notices may have been missed, so that it may be any.
    pub(crate) fn queues_made_anew(&self) -> broadcast::Receiver<Option<Anew>> {
        self.anew.subscribe()
    }

    pub(super) fn heard_of(&self, anew: Option<Anew>) {
        // A process that coordinates nothing has published nothing.
        let _ = self.anew.send(anew);
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
