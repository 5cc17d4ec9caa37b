//! Handlers that wait for others do not count for limits: their owner is told that they wait, and asked before they go on.
//!
//! What is told may be lost, or told to an owner that is soon followed by another. So it is told again as long as it is true.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coditect_bus::{Destination, QueueName};
use futures::future::join_all;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::claim::AT_ONCE;
use super::consume::RESUBSCRIBE;
use super::report::publish_envelope;
use crate::agent::Performer;
use crate::wire::{Absence, AttemptId, Handler, Word};

/// Whose handler it is that may count for limits.
#[derive(Clone)]
pub(crate) struct Counted {
    pub(crate) worker: Arc<Worker>,
    /// The queue of its owner.
    pub(crate) owner: QueueName,
    pub(crate) attempt: AttemptId,
    pub(crate) by: Option<Arc<Performer>>,
    pub(crate) tenant: Arc<str>,
    /// Its number, once something was told of it.
    pub(crate) number: Option<u64>,
}

/// The handlers of this process that wait for others.
#[derive(Debug, Default)]
pub(super) struct Absences {
    last: AtomicU64,
    waiting: Mutex<FxHashMap<u64, Waiting>>,
    /// Told when the first is there.
    some: Notify,
}

#[derive(Debug)]
struct Waiting {
    owner: QueueName,
    handler: Handler,
    by: Option<Arc<Performer>>,
    tenant: Arc<str>,
}

impl Worker {
    /// Says whether the tasks of a capability and tenant are limited.
    fn is_limited(&self, by: Option<&Performer>, tenant: &str) -> bool {
        let limits = &self.services.ports.limits;
        by.is_some_and(|by| limits.include(by.capability.as_str(), tenant))
    }

    fn absence(&self, handlers: Vec<Handler>) -> Absence {
        Absence {
            incarnation: self.name.clone(),
            lease_ms: self.claim_lease_ms(),
            handlers,
            claim: None,
        }
    }

    /// Tells owners again and again which handlers wait.
    pub(super) async fn tell_absences(&self) {
        let period = self.services.ports.settings.agent_lease / 3;
        loop {
            if self.absences.waiting.lock().is_empty() {
                self.absences.some.notified().await;
            }
            let next = Instant::now() + period;
            let mut owners: FxHashMap<QueueName, Vec<Handler>> = FxHashMap::default();
            for one in self.absences.waiting.lock().values() {
                if self.is_limited(one.by.as_deref(), &one.tenant) {
                    owners
                        .entry(one.owner.clone())
                        .or_default()
                        .push(one.handler);
                }
            }
            let tells = owners.into_iter().flat_map(|(owner, handlers)| {
                let parts: Vec<_> = handlers.chunks(AT_ONCE).map(<[_]>::to_vec).collect();
                parts.into_iter().map(move |part| (owner.clone(), part))
            });
            let tells = join_all(tells.map(|(owner, part)| self.tell_waiting(owner, part)));
            // The next says the same.
            let _ = tokio::time::timeout_at(next, tells).await;
            tokio::time::sleep_until(next).await;
        }
    }

    async fn tell_waiting(&self, owner: QueueName, handlers: Vec<Handler>) {
        let to = Destination::Queue(owner);
        let Ok(envelope) = self.absence(handlers).to_envelope(Word::Waits) else {
            return;
        };
        if let Err(refused) = self.services.ports.bus.publish(&to, envelope).await {
            tracing::debug!(%to, error = %refused.error(), "that handlers wait was not taken; telling it again");
        }
    }
}

impl Counted {
    /// A number for a handler.
    pub(crate) fn number(&self) -> u64 {
        self.worker.absences.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn is_limited(&self) -> bool {
        self.worker.is_limited(self.by.as_deref(), &self.tenant)
    }

    fn handler(&self, handler: u64, step: u64) -> Handler {
        Handler {
            attempt: self.attempt,
            handler,
            step,
        }
    }

    /// The handler waits for others from now on.
    pub(crate) fn leave(&self, number: u64, step: u64) {
        let handler = self.handler(number, step);
        let waiting = Waiting {
            owner: self.owner.clone(),
            handler,
            by: self.by.clone(),
            tenant: Arc::clone(&self.tenant),
        };
        let absences = &self.worker.absences;
        absences.waiting.lock().insert(number, waiting);
        if !self.is_limited() {
            return absences.some.notify_one();
        }
        let (worker, owner) = (Arc::clone(&self.worker), self.owner.clone());
        self.worker.attempts.spawn(async move {
            worker.tell_waiting(owner, vec![handler]).await;
            worker.absences.some.notify_one();
        });
    }

    /// The handler waits no longer.
    pub(crate) fn come_back(&self, number: u64) {
        self.worker.absences.waiting.lock().remove(&number);
    }

    /// Tells the owner that the handler begins, in the place of another.
    pub(crate) fn tell_that_it_begins(&mut self) {
        let number = self.number();
        self.number = Some(number);
        self.tell_that_it_works(number, 0);
    }

    /// Tells the owner that a handler works, if that matters.
    pub(crate) fn tell_that_it_works(&self, number: u64, step: u64) {
        if !self.is_limited() {
            return;
        }
        let absence = self.worker.absence(vec![self.handler(number, step)]);
        let (worker, owner) = (Arc::clone(&self.worker), self.owner.clone());
        self.worker.attempts.spawn(async move {
            if let Ok(envelope) = absence.to_envelope(Word::Works) {
                // Unheard, it counts again when it has been silent for long.
                let _ = publish_envelope(&*worker.services.ports.bus, &owner, envelope).await;
            }
        });
    }

    /// Waits until the handler may go on, or is to stop.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it goes on without leave, and its owner is told so with the next step.
    pub(crate) async fn may_go_on(&self, number: u64, step: u64, token: &CancellationToken) {
        if !self.is_limited() {
            return;
        }
        let (claim, answered) = self.worker.grants.ask();
        let mut asking = Asking {
            counted: self,
            claim,
            number,
            step,
            is_answered: false,
        };
        let asks = self.ask_until_lifted(claim, self.handler(number, step));
        asking.is_answered = tokio::select! {
            biased;
            answer = answered => answer.is_ok(),
            () = token.cancelled() => false,
            () = asks => false,
        };
    }

    async fn ask_until_lifted(&self, claim: u64, handler: Handler) {
        let worker = &self.worker;
        let reply_to = loop {
            match worker.listen_for_grants().await {
                Ok(queue) => break queue,
                Err(error) => {
                    {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(
                            error,
                            "cannot listen for whether a handler may go on; trying again"
                        );
                    }
                    tokio::time::sleep(RESUBSCRIBE).await;
                }
            }
        };
        let absence = Absence {
            claim: Some(claim),
            ..worker.absence(vec![handler])
        };
        let to = Destination::Queue(self.owner.clone());
        let period = worker.services.ports.settings.agent_lease / 3;
        while self.is_limited() {
            if let Ok(envelope) = absence.to_envelope(Word::Returns) {
                let envelope = envelope.with_reply_to(reply_to.clone());
                if let Err(refused) = worker.services.ports.bus.publish(&to, envelope).await {
                    tracing::debug!(%to, error = %refused.error(), "a handler that would go on was not heard; asking again");
                }
            }
            tokio::time::sleep(period).await;
        }
    }
}

/// A handler that waits for leave to go on.
struct Asking<'a> {
    counted: &'a Counted,
    claim: u64,
    number: u64,
    step: u64,
    is_answered: bool,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.counted.worker.grants.forget(self.claim);
            self.counted.tell_that_it_works(self.number, self.step + 1);
        }
    }
}
