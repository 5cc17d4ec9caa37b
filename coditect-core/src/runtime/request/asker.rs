//! The reply queue of a runtime, and the telling of questions that nobody waits for any more.

use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{Destination, Envelope, Error, MessageBus, MessageId, Requester};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::wire::{self, Unwanted};

/// How many ids go into one message, and how many wait for it; what is beyond is worked on in vain.
const AT_ONCE: usize = 256;

/// Asks questions over the bus, and has those stopped that are given up.
#[derive(Debug)]
pub(in crate::runtime) struct Asker {
    requester: Requester,
    given_up: mpsc::Sender<MessageId>,
    _telling: AbortOnDropHandle<()>,
}

impl Asker {
    pub(in crate::runtime) async fn new(bus: &Arc<dyn MessageBus>) -> Result<Self, Error> {
        let requester = Requester::new(Arc::clone(bus)).await?;
        let (given_up, ids) = mpsc::channel(AT_ONCE);
        let telling = tokio::spawn(tell(Arc::clone(bus), ids));
        Ok(Self {
            requester,
            given_up,
            _telling: AbortOnDropHandle::new(telling),
        })
    }

    /// Asks, and waits for the answer. Dropped before, whoever works on it is told to stop.
    pub(super) async fn ask(
        &self,
        to: &Destination,
        envelope: Envelope,
        patience: Duration,
    ) -> Result<Envelope, Error> {
        let mut asking = Asking {
            id: envelope.id(),
            given_up: Some(&self.given_up),
        };
        let answer = self
            .requester
            .request_envelope(to, envelope, patience)
            .await;
        // Where it has none in time, its worker knows by its deadline.
        asking.given_up = None;
        answer
    }
}

/// A question that is being asked.
struct Asking<'a> {
    id: MessageId,
    /// None once nobody is to be told.
    given_up: Option<&'a mpsc::Sender<MessageId>>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(given_up) = self.given_up {
            // A courtesy: no question waits for it.
            let _ = given_up.try_send(self.id);
        }
    }
}

/// Tells all workers what is not to be worked on, as much at once as there is.
async fn tell(bus: Arc<dyn MessageBus>, mut ids: mpsc::Receiver<MessageId>) {
    let Ok(control) = wire::control_fanout() else {
        return;
    };
    let to = Destination::Fanout(control);
    let mut unwanted = Vec::new();
    while ids.recv_many(&mut unwanted, AT_ONCE).await > 0 {
        let notice = Unwanted {
            unwanted: std::mem::take(&mut unwanted),
        };
        let Ok(envelope) = notice.to_envelope() else {
            return;
        };
        if let Err(error) = bus.publish(&to, envelope).await {
            tracing::debug!(%error, "workers were not told of questions that nobody waits for");
        }
    }
}
