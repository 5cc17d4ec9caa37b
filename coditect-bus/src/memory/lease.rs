//! The leases of one consumer: how many deliveries it holds, and whether they still are its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::error;
use super::queue::Queue;
use crate::{DeadLetterReason, DeliveryParts, QueueName, Settle, Settlement, Settling};

/// Is shared by a consumer, its deliveries and its queue.
#[derive(Debug)]
pub(super) struct Leases {
    pub(super) queue: Arc<Queue>,
    prefetch: u32,
    /// The epoch in the upper half, the number of deliveries held in it in the lower: a delivery is settled in one step, or,
    /// when its epoch is over, is lost.
    word: AtomicU64,
    pub(super) waker: AtomicWaker,
    /// The consumer has an entry in the queue's waiting list. Written under the queue's lock.
    pub(super) listed: AtomicBool,
    /// That entry counts: a wake-up meant for it is not lost. Written under the queue's lock.
    pub(super) waiting: AtomicBool,
    pub(super) ended: AtomicBool,
    /// The token of the current epoch, once somebody has asked for it.
    lost: Mutex<Option<CancellationToken>>,
}

impl Leases {
    pub(super) fn new(queue: Arc<Queue>, prefetch: usize) -> Self {
        Self {
            queue,
            prefetch: u32::try_from(prefetch).unwrap_or(u32::MAX - 1),
            word: AtomicU64::new(0),
            waker: AtomicWaker::new(),
            listed: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            lost: Mutex::new(None),
        }
    }

    /// Says whether the consumer may hold no more.
    pub(super) fn is_exhausted(&self) -> bool {
        held(self.word.load(Ordering::Acquire)) >= self.prefetch
    }

    /// Counts one more delivery and returns its epoch. Only the consumer itself calls this, so the prefetch holds.
    pub(super) fn acquire(&self) -> u64 {
        epoch(self.word.fetch_add(1, Ordering::AcqRel))
    }

    /// Counts one delivery less; `false` if its epoch is over.
    fn release(&self, tag: u64) -> bool {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            if epoch(word) != tag {
                return false;
            }
            match self.word.compare_exchange_weak(
                word,
                word - 1,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        if held(word) == self.prefetch {
            self.waker.wake();
        }
        true
    }

    /// Takes all deliveries away from their holders.
    pub(super) fn revoke(&self) {
        let mut lost = self.lost.lock();
        let next = (epoch(self.word.load(Ordering::Acquire)) + 1) << 32;
        self.word.store(next, Ordering::Release);
        if let Some(token) = lost.take() {
            token.cancel();
        }
        drop(lost);
        self.waker.wake();
    }
}

impl Settle for Leases {
    fn queue(&self) -> &QueueName {
        self.queue.name()
    }

    fn settle(&self, parts: DeliveryParts, settlement: Settlement) -> Settling {
        let tag = parts.tag;
        if self.is_lost(tag) {
            return self.settle_lost(parts);
        }
        match settlement {
            Settlement::Ack => {
                // The lease is what decides: if it goes in this moment, the message must come again.
                if !self.release(tag) {
                    return self.settle_lost(parts);
                }
                self.queue.acked(&parts.envelope);
                return Settling::known(Ok(()));
            }
            Settlement::Nack(delay) => self.queue.requeue(parts, delay),
            Settlement::Dropped => self.queue.requeue(parts, Duration::ZERO),
            Settlement::Reject(reason) => {
                self.queue.reject(parts, DeadLetterReason::Rejected(reason))
            }
        }
        self.release(tag);
        Settling::known(Ok(()))
    }

    fn is_lost(&self, tag: u64) -> bool {
        epoch(self.word.load(Ordering::Acquire)) != tag
    }

    fn lost(&self, tag: u64) -> CancellationToken {
        let mut lost = self.lost.lock();
        // The epoch changes under this lock only, so the token belongs to the epoch seen here.
        if self.is_lost(tag) {
            let token = CancellationToken::new();
            token.cancel();
            return token;
        }
        lost.get_or_insert_default().clone()
    }
}

impl Leases {
    fn settle_lost(&self, parts: DeliveryParts) -> Settling {
        self.queue.lost(&parts.envelope);
        self.queue.requeue(parts, Duration::ZERO);
        Settling::known(Err(error::lease_lost(self.queue.name())))
    }
}

fn epoch(word: u64) -> u64 {
    word >> 32
}

fn held(word: u64) -> u32 {
    // The lower half.
    (word & u64::from(u32::MAX)) as u32
}
