//! Queues that were made anew: whoever had published to their predecessors hears of it, and does it again.
//!
//! An operator may delete a queue, and a broker may lose its data. What waited there is gone then, although the bus had
//! confirmed it, and nobody would ask for it again: an attempt that waits for a slot looks just the same to its owner.

use std::time::Duration;

use coditect_bus::{Destination, ErrorKind, MessageBus, QueueName};
use coditect_dag::Timestamp;
use tokio::sync::broadcast;

use super::Worker;
use crate::wire::{self, Anew};

/// How many queues an owner may still have to look at; one that is further behind looks at all.
pub(super) const REMEMBERED: usize = 64;
/// How long it takes until the bus is asked again to take a notice.
const RETRY: Duration = Duration::from_millis(200);
/// How often it is asked: for some 30 s of an outage, or longer where a publish waits for its confirm.
const TRIES: usize = 150;

impl Worker {
    /// Follows which queues were made anew.
    pub(crate) fn queues_made_anew(&self) -> broadcast::Receiver<Anew> {
        self.anew.subscribe()
    }

    pub(super) fn heard_of(&self, anew: Anew) {
        // A process that coordinates nothing has published nothing.
        let _ = self.anew.send(anew);
    }
}

/// Tells all processes that a queue was made anew, until the bus has taken it.
///
/// `at` says when, where nobody can say whether there had been one before.
pub(crate) async fn tell_anew(bus: &dyn MessageBus, queue: &QueueName, at: Option<Timestamp>) {
    tracing::info!(%queue, "the queue was made anew, and what had waited in another before it is published again");
    let notice = Anew {
        anew: queue.clone(),
        at,
    };
    let (Ok(fanout), Ok(envelope)) = (wire::control_fanout(), notice.to_envelope()) else {
        return;
    };
    let to = Destination::Fanout(fanout);
    for _ in 0..TRIES {
        let Err(refused) = bus.publish(&to, envelope.clone()).await else {
            return;
        };
        match refused.kind() {
            // Where nobody listens there is nobody who has published anything.
            ErrorKind::NoRoute | ErrorKind::Closed => return,
            _ if refused.error().is_retryable() => tokio::time::sleep(RETRY).await,
            _ => break,
        }
    }
    tracing::error!(
        %queue,
        "nobody could be told that the queue was made anew; what had waited in another before it may stay away"
    );
}
