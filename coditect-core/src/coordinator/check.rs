//! Who checks that agents answer, and how: by a probe over the bus, to the queue of each instance.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coditect_bus::{Destination, ErrorKind, MessageBus, Requester};
use coditect_registry::{AgentRecord, Answer, CheckPolicy, Checker, Probe};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::Shared;
use crate::wire;

/// Stands for election to the one coordinator that checks the agents of the registry, whatever journals there are.
pub(super) fn start(shared: &Shared) -> Option<Checker> {
    let policy = shared.check?;
    let ports = &shared.ports;
    let probe = BusProbe {
        bus: Arc::clone(&ports.bus),
        requester: OnceCell::new(),
        patience: policy.timeout(),
    };
    let (view, registry) = (shared.view.clone(), Arc::clone(&ports.registry));
    let candidate = shared.worker.incarnation;
    Some(Checker::stand(
        view,
        registry,
        Arc::new(probe),
        policy,
        candidate,
    ))
}

/// The policy that is kept to where nothing is said: twice as patient as the registry's own.
pub(crate) fn usual_policy() -> CheckPolicy {
    CheckPolicy::default()
        .with_timeout(Duration::from_secs(4))
        .with_thresholds(2, 4, 2)
}

/// Sends a probe to an instance's own queue.
struct BusProbe {
    bus: Arc<dyn MessageBus>,
    requester: OnceCell<Requester>,
    /// How long the checker waits for all of it.
    patience: Duration,
}

#[async_trait]
impl Probe for BusProbe {
    async fn probe(&self, record: &AgentRecord) -> Answer {
        let Some(queue) = wire::own_queue_of(record) else {
            return Answer::Unasked("it has no queue of its own".into());
        };
        // What is left of the time is for finding out whether it is the bus that does not answer.
        let patience = self.patience.mul_f64(0.75);
        let requester = self
            .requester
            .get_or_try_init(|| Requester::new(Arc::clone(&self.bus)));
        let requester = match timeout(patience, requester).await {
            Ok(Ok(requester)) => requester,
            Ok(Err(error)) => return Answer::Unasked(error.to_string().into()),
            Err(_) => return Answer::Unasked("the bus does not answer".into()),
        };
        let to = Destination::Queue(queue);
        let answered = requester.request_envelope(&to, wire::probe(), patience);
        let Err(error) = answered.await else {
            return Answer::Alive;
        };
        match error.kind() {
            ErrorKind::NoRoute => Answer::Missed("its queue is gone".into()),
            ErrorKind::Timeout => self.silent(requester, patience).await,
            _ => Answer::Unasked(error.to_string().into()),
        }
    }
}

impl BusProbe {
    /// Tells an instance that is silent from a bus that is.
    async fn silent(&self, requester: &Requester, patience: Duration) -> Answer {
        let asked = self.bus.stats(requester.reply_queue());
        match timeout(self.patience / 8, asked).await {
            Ok(Ok(_)) => Answer::Missed(format!("silent for {patience:?}").into()),
            _ => Answer::Unasked("the bus does not answer".into()),
        }
    }
}
