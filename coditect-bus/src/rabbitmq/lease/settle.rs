//! Settling deliveries: what each verdict means to the broker, and what is published in place of a message.

use std::time::{Duration, SystemTime};

use futures::FutureExt;
use lapin::options::BasicAckOptions;

use super::*;
use crate::rabbitmq::wire::{Death, Story};
use crate::{DeadLetterReason, DeliveryParts, Settle, Settlement, Settling};

impl State {
    /// Returns the channel if nothing else goes on in this consumer, so that there is nothing that an acknowledgement could go with.
    fn lone_channel(&self) -> Option<Arc<Channel>> {
        let is_lone = self.held == 0
            && !self.detached
            && self.pending.is_empty()
            && self.ready.iter().all(VecDeque::is_empty);
        self.channel.clone().filter(|_| is_lone)
    }
}

impl Leases {
    /// Queues a verdict; `None` if the delivery is lost.
    fn push(&self, tag: u64, index: usize, verdict: Verdict) -> Option<Settling> {
        let mut state = self.state.lock();
        if state.epoch != tag >> TAG_BITS {
            return None;
        }
        let was_full = self.release(&mut state, index);
        let tag = tag & ((1 << TAG_BITS) - 1);
        if verdict == Verdict::Ack
            && let Some(channel) = state.lone_channel()
        {
            state.settled.advance([tag].into_iter(), &[tag]);
            drop(state);
            self.wake_if(was_full);
            return Some(self.ack_at_once(channel, tag));
        }
        let (done, result) = oneshot::channel();
        state.pending.push(Pending {
            tag,
            verdict,
            done: Some(done),
        });
        drop(state);
        self.bell.notify_one();
        self.wake_if(was_full);
        let queue = self.queue.clone();
        Some(Settling::pending(async move {
            result
                .await
                .unwrap_or_else(|_| Err(error::lease_lost(&queue)))
        }))
    }

    /// Acknowledges without the detour over the consumer's task, which would gather more.
    fn ack_at_once(&self, channel: Arc<Channel>, tag: u64) -> Settling {
        let queue = self.queue.clone();
        let mut telling = Box::pin(async move {
            let told = channel.basic_ack(tag, BasicAckOptions::default()).await;
            told.map_err(|_| error::lease_lost(&queue))
        });
        // The first poll hands it to the driver; the rest is waiting until it is written.
        match telling.as_mut().now_or_never() {
            Some(result) => Settling::known(result),
            None => Settling::pending(telling),
        }
    }

    fn wake_if(&self, was_full: bool) {
        if was_full {
            self.waker.wake();
        }
    }

    fn release(&self, state: &mut State, index: usize) -> bool {
        let was_full = state.held >= self.prefetch;
        state.held = state.held.saturating_sub(1);
        state.windows[index].settled(self.prefetch);
        was_full
    }

    fn lose(&self, parts: &DeliveryParts) -> Settling {
        if let Some(observer) = &self.core.observer {
            observer.lease_lost(&self.queue, &parts.envelope);
        }
        Settling::known(Err(error::lease_lost(&self.queue)))
    }

    /// Publishes what is left of a delivery, elsewhere or again, and only then acknowledges it; if that fails it goes back.
    pub(in crate::rabbitmq) fn replace(
        self: &Arc<Self>,
        parts: DeliveryParts,
        replacement: Replacement,
    ) -> Settling {
        let (done, result) = oneshot::channel();
        let leases = Arc::clone(self);
        self.core.spawn(async move {
            let index = parts.envelope.priority().index();
            let published = leases.core.put(&leases.queue, &parts, &replacement).await;
            let verdict = if published.is_ok() {
                Verdict::Ack
            } else {
                Verdict::Requeue
            };
            let outcome = match leases.push(parts.tag, index, verdict) {
                None => Err(error::lease_lost(&leases.queue)),
                Some(settling) => match settling.await {
                    Ok(()) => {
                        if published.is_ok() {
                            leases
                                .core
                                .tell_replaced(&leases.queue, &parts, &replacement);
                        }
                        published
                    }
                    Err(lost) => Err(lost),
                },
            };
            let _ = done.send(outcome);
        });
        let queue = self.queue.clone();
        Settling::pending(async move {
            result
                .await
                .unwrap_or_else(|_| Err(error::lease_lost(&queue)))
        })
    }
}

/// What takes the place of a delivery.
#[derive(Debug)]
pub(in crate::rabbitmq) enum Replacement {
    /// The same message, in its queue, after a delay.
    Again(Duration),
    /// The same message, in its queue: nobody has seen it.
    Unseen,
    Dead(Death),
}

/// Settles the deliveries of a consumer. It is a handle, so that a settlement can outlive the call.
#[derive(Debug)]
pub(in crate::rabbitmq) struct Holder(pub(in crate::rabbitmq) Arc<Leases>);

impl Settle for Holder {
    fn queue(&self) -> &QueueName {
        &self.0.queue
    }

    fn settle(&self, parts: DeliveryParts, settlement: Settlement) -> Settling {
        let leases = &self.0;
        if self.is_lost(parts.tag) {
            return leases.lose(&parts);
        }
        let index = parts.envelope.priority().index();
        let deliveries = parts.redeliveries.saturating_add(1);
        let now = SystemTime::now();
        let dead = |reason| {
            Replacement::Dead(Death {
                reason,
                deliveries,
                at: now,
            })
        };
        let delay = match settlement {
            Settlement::Ack => {
                let Some(settling) = leases.push(parts.tag, index, Verdict::Ack) else {
                    return leases.lose(&parts);
                };
                if let Some(observer) = &leases.core.observer {
                    observer.acked(&leases.queue, &parts.envelope);
                }
                return settling;
            }
            Settlement::Reject(reason) => {
                return leases.replace(parts, dead(DeadLetterReason::Rejected(reason)));
            }
            Settlement::Nack(delay) => delay,
            Settlement::Dropped => Duration::ZERO,
        };
        if parts.envelope.expires_at().is_some_and(|at| at <= now) {
            return leases.replace(parts, dead(DeadLetterReason::Expired));
        }
        let limit = leases.core.max_deliveries(&leases.queue);
        if limit.is_some_and(|limit| deliveries >= limit) {
            return leases.replace(parts, dead(DeadLetterReason::DeliveryLimit));
        }
        if !delay.is_zero() || !leases.core.topology.counts_deliveries(&leases.queue) {
            return leases.replace(parts, Replacement::Again(delay));
        }
        let Some(settling) = leases.push(parts.tag, index, Verdict::Requeue) else {
            return leases.lose(&parts);
        };
        if let Some(observer) = &leases.core.observer {
            observer.requeued(&leases.queue, &parts.envelope, delay);
        }
        settling
    }

    fn is_lost(&self, tag: u64) -> bool {
        self.0.state.lock().epoch != tag >> TAG_BITS
    }

    fn lost(&self, tag: u64) -> CancellationToken {
        let mut state = self.0.state.lock();
        // The epoch changes under this lock only, so the token belongs to the epoch seen here.
        if state.epoch != tag >> TAG_BITS {
            let token = CancellationToken::new();
            token.cancel();
            return token;
        }
        state.lost.get_or_insert_default().clone()
    }
}

/// What is kept of a delivery beside its envelope, for when it is published again.
pub(in crate::rabbitmq) fn story_of(parts: &DeliveryParts, redeliveries: u32) -> Story {
    Story {
        redeliveries,
        destination: parts.destination.clone(),
        first_failed_at: Some(parts.first_failed_at.unwrap_or_else(SystemTime::now)),
    }
}
