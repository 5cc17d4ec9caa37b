//! A consumer of the memory bus.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use tokio::task::coop;

use super::Hub;
use super::lease::Leases;
use crate::{Delivery, QueueName, Receive};

pub(super) struct MemoryConsumer {
    leases: Arc<Leases>,
    hub: Weak<Hub>,
}

impl MemoryConsumer {
    pub(super) fn new(leases: Arc<Leases>, hub: Weak<Hub>) -> Self {
        Self { leases, hub }
    }

    fn has_ended(&self) -> bool {
        self.leases.ended.load(Ordering::Acquire)
    }
}

impl Receive for MemoryConsumer {
    fn queue(&self) -> &QueueName {
        self.leases.queue.name()
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        // A consumer that always finds something must not keep its thread to itself.
        let budget = ready!(coop::poll_proceed(cx));
        if self.leases.is_exhausted() {
            self.leases.waker.register(cx.waker());
            // A delivery may have been settled, or the queue ended, before the waker was there to be woken.
            if self.leases.is_exhausted() && !self.has_ended() {
                return Poll::Pending;
            }
        }
        if let Some(delivery) = self.leases.queue.take(&self.leases, Some(cx.waker())) {
            budget.made_progress();
            return Poll::Ready(Some(delivery));
        }
        if self.has_ended() || self.leases.queue.is_gone() {
            budget.made_progress();
            return Poll::Ready(None);
        }
        Poll::Pending
    }

    fn try_recv(&mut self) -> Option<Delivery> {
        if self.leases.is_exhausted() {
            return None;
        }
        self.leases.queue.take(&self.leases, None)
    }

    fn stop_waiting(&mut self) {
        self.leases.queue.stop_waiting(&self.leases);
    }
}

impl Drop for MemoryConsumer {
    fn drop(&mut self) {
        if self.leases.queue.detach(&self.leases)
            && let Some(hub) = self.hub.upgrade()
        {
            hub.unlink(&self.leases.queue);
        }
    }
}
