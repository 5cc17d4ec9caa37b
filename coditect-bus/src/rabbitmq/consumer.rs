//! A consumer: what it is asked for, and whom it hands messages to. Its task is in `feed`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use tokio::task::coop;
use tokio::time::{Sleep, sleep_until};

mod feed;

use feed::{attach, keep};

use super::core::Core;
use super::error;
use super::lease::{Holder, Leases, Look, Replacement};
use super::wire::Death;
use crate::{DeadLetterReason, Delivery, Error, QueueName, Receive};

pub(super) struct RabbitMqConsumer {
    leases: Arc<Leases>,
    holder: Arc<Holder>,
    /// Rings when a turn has been kept long enough for a message that did not come.
    grace: Option<Pin<Box<Sleep>>>,
}

impl RabbitMqConsumer {
    /// Subscribes, and sees to it that the subscription lasts.
    pub(super) async fn start(
        core: &Arc<Core>,
        queue: QueueName,
        prefetch: usize,
    ) -> Result<Self, Error> {
        let leases = Leases::new(queue, Arc::clone(core), prefetch.min(usize::from(u16::MAX)));
        let feed = attach(&leases)
            .await
            .map_err(|failure| error::of_queue(&leases.queue, failure))?;
        core.enlist(&leases);
        // Who closed the bus meanwhile did not see this consumer.
        core.check_open()?;
        let pump = Arc::clone(&leases);
        core.spawn(async move { keep(&pump, feed).await });
        Ok(Self {
            holder: Arc::new(Holder(Arc::clone(&leases))),
            leases,
            grace: None,
        })
    }

    /// Takes the next message that can be delivered; those that cannot become dead letters.
    fn take(&mut self) -> Result<Delivery, Look> {
        loop {
            let (tag, incoming) = match self.leases.look() {
                Look::Taken(tag, incoming) => (tag, *incoming),
                other => return Err(other),
            };
            let (parts, fault) = incoming.into_parts(tag);
            let now = SystemTime::now();
            let reason = match fault {
                Some(fault) => DeadLetterReason::Rejected(fault),
                None if parts.envelope.expires_at().is_some_and(|at| at <= now) => {
                    DeadLetterReason::Expired
                }
                None => {
                    if let Some(observer) = &self.leases.core.observer {
                        observer.delivered(&self.leases.queue, &parts.envelope, parts.redeliveries);
                    }
                    return Ok(Delivery::new(parts, Arc::clone(&self.holder) as _));
                }
            };
            let death = Death {
                reason,
                deliveries: parts.redeliveries,
                at: now,
            };
            drop(self.leases.replace(parts, Replacement::Dead(death)));
        }
    }
}

impl Receive for RabbitMqConsumer {
    fn queue(&self) -> &QueueName {
        &self.leases.queue
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        // A consumer that always finds something must not keep its thread to itself.
        let budget = ready!(coop::poll_proceed(cx));
        self.leases.waker.register(cx.waker());
        loop {
            match self.take() {
                Ok(delivery) => {
                    self.grace = None;
                    budget.made_progress();
                    return Poll::Ready(Some(delivery));
                }
                Err(Look::Ended) => {
                    budget.made_progress();
                    return Poll::Ready(None);
                }
                Err(Look::Until(at)) => {
                    let grace = self.grace.get_or_insert_with(|| Box::pin(sleep_until(at)));
                    if grace.deadline() != at {
                        grace.as_mut().reset(at);
                    }
                    ready!(grace.as_mut().poll(cx));
                    self.grace = None;
                }
                Err(_) => return Poll::Pending,
            }
        }
    }

    fn try_recv(&mut self) -> Option<Delivery> {
        self.take().ok()
    }

    fn gaps(&self) -> u64 {
        self.leases.gaps()
    }

    /// What was sent to this consumer stays with it: the broker has no way to offer a message without giving it.
    fn stop_waiting(&mut self) {}
}

impl Drop for RabbitMqConsumer {
    fn drop(&mut self) {
        self.leases.detach();
    }
}
