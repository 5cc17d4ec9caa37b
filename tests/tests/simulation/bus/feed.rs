//! What one consumer of one node receives and holds.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use coditect_core::bus::{
    Consumer, Delivery, DeliveryParts, Error, ErrorKind, QueueName, Receive, Settle, Settlement,
    Settling,
};
use futures::{FutureExt, Stream};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::life::Life;

/// A subscription of a node, and the deliveries that it holds.
pub(crate) struct Feed {
    life: Arc<Life>,
    queue: QueueName,
    state: Mutex<State>,
}

struct State {
    /// None when the node is dead.
    source: Option<Consumer>,
    held: BTreeMap<u64, (Delivery, CancellationToken)>,
    serial: u64,
    /// Who waits while the node is paused.
    waker: Option<Waker>,
}

/// The end that the node has.
struct End(Arc<Feed>);

/// Settles for a feed.
struct Settler(Arc<Feed>);

impl Feed {
    pub(crate) fn begin(life: &Arc<Life>, source: Consumer) -> Consumer {
        let feed = Arc::new(Self {
            life: Arc::clone(life),
            queue: source.queue().clone(),
            state: Mutex::new(State {
                source: Some(source),
                held: BTreeMap::new(),
                serial: 0,
                waker: None,
            }),
        });
        life.add(&feed);
        Consumer::new(End(feed))
    }

    /// The node is dead: what it held goes back.
    pub(crate) fn end(&self) {
        let (source, held) = {
            let mut state = self.state.lock();
            (state.source.take(), std::mem::take(&mut state.held))
        };
        drop((source, held));
    }

    pub(crate) fn wake(&self) {
        let waker = self.state.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What is held goes back to the queue, and who holds it is told.
    pub(crate) fn sever(&self) {
        let held = std::mem::take(&mut self.state.lock().held);
        if held.is_empty() {
            return;
        }
        self.life.note("severed", [held.len() as u64, 0]);
        for (delivery, lost) in held.into_values() {
            drop(delivery);
            lost.cancel();
        }
    }

    fn hold(self: &Arc<Self>, delivery: Delivery) -> Delivery {
        let mut state = self.state.lock();
        state.serial += 1;
        let tag = state.serial;
        let mut parts = DeliveryParts::new(delivery.envelope().clone(), tag);
        parts.redeliveries = delivery.redeliveries();
        parts.destination = Some(delivery.destination());
        self.life
            .note("deliver", [u64::from(parts.redeliveries), tag]);
        state.held.insert(tag, (delivery, CancellationToken::new()));
        Delivery::new(parts, Arc::new(Settler(Arc::clone(self))))
    }
}

impl Receive for End {
    fn queue(&self) -> &QueueName {
        &self.0.queue
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let world = &self.0.life.world;
        let polled = {
            let mut state = self.0.state.lock();
            let paused = !self.0.life.is_alive();
            match &mut state.source {
                Some(source) if !paused => Pin::new(source).poll_next(cx),
                _ => {
                    state.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        };
        if let Poll::Ready(Some(delivery)) = polled {
            if world.hits(world.faults.severed) {
                self.0.sever();
            }
            return Poll::Ready(Some(self.0.hold(delivery)));
        }
        polled
    }

    fn try_recv(&mut self) -> Option<Delivery> {
        if !self.0.life.is_alive() {
            return None;
        }
        let taken = self.0.state.lock().source.as_mut()?.try_recv();
        taken.map(|delivery| self.0.hold(delivery))
    }

    fn stop_waiting(&mut self) {
        // Waiting once more, and no longer, is how a consumer is told.
        let taken = {
            let mut state = self.0.state.lock();
            let source = state.source.as_mut();
            source.and_then(|source| source.recv().now_or_never())
        };
        drop(taken);
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // What it has delivered can still be settled.
        let source = self.0.state.lock().source.take();
        drop(source);
    }
}

impl Settle for Settler {
    fn queue(&self) -> &QueueName {
        &self.0.queue
    }

    fn settle(&self, parts: DeliveryParts, settlement: Settlement) -> Settling {
        let life = &self.0.life;
        if life.is_dead() {
            return Settling::pending(std::future::pending());
        }
        let held = self.0.state.lock().held.remove(&parts.tag);
        let Some((delivery, _)) = held else {
            return Settling::known(Err(lost()));
        };
        match settlement {
            Settlement::Ack if life.world.hits(life.world.faults.ack_lost) => {
                life.note("ack lost", [parts.tag, 0]);
                drop(delivery);
                // Who acknowledges may hear of it or not.
                Settling::known(match life.world.below(2) {
                    0 => Ok(()),
                    _ => Err(lost()),
                })
            }
            Settlement::Ack => {
                life.note("ack", [parts.tag, 0]);
                delivery.ack()
            }
            Settlement::Nack(delay) => delivery.nack(delay),
            Settlement::Reject(reason) => {
                life.note("reject", [parts.tag, 0]);
                delivery.reject(reason)
            }
            Settlement::Dropped => {
                drop(delivery);
                Settling::known(Ok(()))
            }
        }
    }

    fn is_lost(&self, tag: u64) -> bool {
        !self.0.state.lock().held.contains_key(&tag)
    }

    fn lost(&self, tag: u64) -> CancellationToken {
        match self.0.state.lock().held.get(&tag) {
            Some((_, lost)) => lost.clone(),
            None => {
                let lost = CancellationToken::new();
                lost.cancel();
                lost
            }
        }
    }
}

fn lost() -> Error {
    Error::new(
        ErrorKind::LeaseLost,
        "the delivery went with its connection",
    )
}
