//! Claims: attempts that a worker holds without their deliveries, and the heartbeats by which they live.
//!
//! A broker takes back what is held for long. So an attempt that takes long is claimed: the worker tells the
//! partition's owner that it holds the attempt, acknowledges the delivery, and is heard of from then on until
//! the attempt has ended.

use std::sync::Arc;
use std::time::Duration;

use coditect_bus::{Delivery, Destination, Envelope, ErrorKind, MessageBus, QueueName};
use futures::future::join_all;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::running::AttemptName;
use crate::wire::{AttemptId, Holding, Said};

/// How many attempts one heartbeat names, so that none is too large for a message however many are held.
pub(super) const AT_ONCE: usize = 1000;
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// What a worker has in its hands while an attempt runs.
#[derive(Debug)]
pub(super) enum Hold {
    /// The delivery, which is settled once the outcome is confirmed.
    Delivery(Box<Delivery>),
    /// A claim: the owner waits for nobody else.
    Claim(Claim),
    /// Nothing: the bus delivers the task again.
    Lost,
}

/// The attempts that this process has claimed.
#[derive(Debug, Default)]
pub(super) struct Claims {
    held: Mutex<Held>,
    /// Told when the first claim is there.
    some: Notify,
}

#[derive(Debug, Default)]
struct Held {
    serial: u64,
    attempts: FxHashMap<u64, AttemptName>,
}

/// A claim on an attempt, of which heartbeats are sent until this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    claims: Arc<Claims>,
    serial: u64,
}

impl Claims {
    pub(super) fn hold(self: &Arc<Self>, name: AttemptName) -> Claim {
        let mut held = self.held.lock();
        held.serial += 1;
        let serial = held.serial;
        held.attempts.insert(serial, name);
        drop(held);
        self.some.notify_one();
        Claim {
            claims: Arc::clone(self),
            serial,
        }
    }

    fn by_owner(&self) -> FxHashMap<QueueName, Vec<AttemptId>> {
        let mut owners: FxHashMap<QueueName, Vec<AttemptId>> = FxHashMap::default();
        for name in self.held.lock().attempts.values() {
            let attempts = owners.entry(name.owner.clone()).or_default();
            attempts.push(name.attempt);
        }
        owners
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.held.lock().attempts.remove(&self.serial);
    }
}

impl Worker {
    pub(super) fn holding(&self, attempts: Vec<AttemptId>) -> Holding {
        Holding {
            incarnation: self.name.clone(),
            lease_ms: self.claim_lease_ms(),
            attempts,
            claim: None,
        }
    }

    /// Claims an attempt and lets its delivery go; `ended` fires when the handler has ended, and nothing needs
    /// to be claimed any more.
    pub(super) async fn claim(
        &self,
        name: &AttemptName,
        delivery: Delivery,
        ended: &CancellationToken,
    ) -> Hold {
        let bus = &*self.services.ports.bus;
        let holding = self.holding(vec![name.attempt]);
        let Ok(envelope) = holding.to_envelope(Said::Claim) else {
            return Hold::Delivery(Box::new(delivery));
        };
        let to = Destination::Queue(name.owner.clone());
        // An owner that hears of a claim which never was waits for its lease and hands the attempt out again.
        if !publish(bus, &to, &envelope, &delivery.lost(), ended).await {
            return Hold::Delivery(Box::new(delivery));
        }
        let claim = self.claims.hold(name.clone());
        if delivery.ack().await.is_ok() {
            return Hold::Claim(claim);
        }
        if let Ok(release) = holding.to_envelope(Said::Release) {
            // Unheard, the claim ends by its lease.
            let _ = bus.publish(&to, release).await;
        }
        Hold::Lost
    }

    /// Is heard of, as long as attempts run, by the owners of those that were claimed.
    pub(super) async fn heartbeats(self: Arc<Self>) {
        let lease = self.services.ports.settings.agent_lease;
        let beats = async {
            loop {
                let owners = self.claims.by_owner();
                if owners.is_empty() {
                    self.claims.some.notified().await;
                }
                let next = Instant::now() + lease / 3;
                // All at once: none may wait until the queue of another's owner has answered. Nor is one waited for
                // beyond its time, as the next says the same.
                let beats = owners.into_iter().flat_map(|(owner, attempts)| {
                    let parts: Vec<_> = attempts.chunks(AT_ONCE).map(<[_]>::to_vec).collect();
                    parts.into_iter().map(move |part| (owner.clone(), part))
                });
                let beats = join_all(beats.map(|(owner, part)| self.beat(owner, part)));
                let _ = tokio::time::timeout_at(next, beats).await;
                tokio::time::sleep_until(next).await;
            }
        };
        tokio::select! {
            biased;
            () = self.attempts_ended() => {}
            () = beats => {}
        }
    }
}

impl Worker {
    async fn beat(&self, owner: QueueName, attempts: Vec<AttemptId>) {
        let to = Destination::Queue(owner);
        let Ok(beat) = self.holding(attempts).to_envelope(Said::Heartbeat) else {
            return;
        };
        if let Err(refused) = self.services.ports.bus.publish(&to, beat).await {
            tracing::debug!(%to, error = %refused.error(), "a heartbeat was not taken");
        }
    }
}

/// Publishes until it is confirmed; says whether it was, before the delivery was lost or the attempt ended.
pub(super) async fn publish(
    bus: &dyn MessageBus,
    to: &Destination,
    envelope: &Envelope,
    lost: &CancellationToken,
    ended: &CancellationToken,
) -> bool {
    let mut delay = FIRST_RETRY;
    loop {
        let Err(refused) = bus.publish(to, envelope.clone()).await else {
            return true;
        };
        if refused.kind() == ErrorKind::Closed {
            return false;
        }
        tracing::warn!(%to, error = %refused.error(), "a claim was not taken; trying again");
        tokio::select! {
            biased;
            () = lost.cancelled() => return false,
            () = ended.cancelled() => return false,
            () = tokio::time::sleep(delay) => {}
        }
        delay = (delay * 2).min(LAST_RETRY);
    }
}
