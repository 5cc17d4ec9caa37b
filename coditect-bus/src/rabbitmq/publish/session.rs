//! One channel to publish on, and what became of each message that is in flight on it.
//!
//! A message that no queue takes is returned before it is confirmed. The driver gives a returned message to the confirm that it
//! processes next, which may be another's: the broker confirms in groups. So nobody's confirm is believed by itself. The broker
//! confirms a group in the order of its messages, so once a message is confirmed its return, if there was one, is with a confirm that
//! the driver has processed by then; and whoever is woken looks at all of those, and matches returns with messages. Only those are
//! decided whose group is known to be complete: within a group the driver goes in no order, so the first to show may hold the return
//! of another while its own is still to come.
//!
//! The broker closes the channel at a message that is larger than it takes, and does not say at which. Whatever is over the limit that
//! it names would not have been taken; of the rest nobody knows.

use std::future::{Future, poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures::FutureExt;
use futures::task::AtomicWaker;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use parking_lot::Mutex;

use super::{Failure, Refusal, Route};
use crate::rabbitmq::error;

/// A channel in confirm mode.
#[derive(Debug)]
pub(super) struct Session {
    channel: Channel,
    /// Held while a message is handed to the driver, which counts messages before it queues them: the two orders must agree.
    order: Mutex<()>,
    desk: Mutex<Desk>,
    /// Messages with news.
    woken: Mutex<Vec<Arc<Ticket>>>,
}

/// Where confirms and returns are matched.
#[derive(Debug, Default)]
struct Desk {
    returned: Vec<Label>,
    /// Messages whose confirms have come, and perhaps not yet the rest of their group.
    undecided: Vec<Confirmed>,
    /// Somebody did not wait for a confirm, which may have held the return of another's message.
    is_incomplete: bool,
}

/// What a returned message is known by. Of two that are the same it does not matter which is told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Label {
    exchange: ShortString,
    key: ShortString,
    id: Option<ShortString>,
}

type Confirmed = (Arc<Ticket>, Result<Confirmation, lapin::Error>);

type Confirming = Pin<Box<dyn Future<Output = Result<Confirmation, lapin::Error>> + Send>>;

/// A message that is on its way.
pub(super) struct Ticket {
    session: Arc<Session>,
    label: Label,
    bytes: usize,
    state: Mutex<State>,
    owner: AtomicWaker,
}

#[derive(Default)]
struct State {
    /// `None` once confirmed or given up.
    confirming: Option<Confirming>,
    outcome: Option<Result<(), Refusal>>,
    is_decided: bool,
}

impl Session {
    pub(super) fn new(channel: Channel) -> Arc<Self> {
        Arc::new(Self {
            channel,
            order: Mutex::default(),
            desk: Mutex::default(),
            woken: Mutex::default(),
        })
    }

    pub(super) fn is_usable(&self) -> bool {
        self.channel.status().connected() && !self.desk.lock().is_incomplete
    }

    /// Hands a message to the driver. Messages arrive in the order of these calls.
    pub(super) fn send(
        self: &Arc<Self>,
        route: Route,
        payload: Bytes,
        properties: BasicProperties,
    ) -> Arc<Ticket> {
        let label = Label {
            exchange: route.exchange.into(),
            key: route.key.into(),
            id: properties.message_id().clone(),
        };
        let bytes = payload.len();
        let (channel, exchange, key) = (
            self.channel.clone(),
            label.exchange.clone(),
            label.key.clone(),
        );
        let mut confirming: Confirming = Box::pin(async move {
            let options = BasicPublishOptions {
                mandatory: true,
                ..Default::default()
            };
            channel
                .basic_publish(exchange, key, options, &payload, properties)
                .await?
                .await
        });
        let ticket = Arc::new(Ticket {
            session: Arc::clone(self),
            label,
            bytes,
            state: Mutex::default(),
            owner: AtomicWaker::new(),
        });
        let waker = Waker::from(Arc::clone(&ticket));
        let mut state = ticket.state.lock();
        let order = self.order.lock();
        // The first poll is what queues the message.
        let first = confirming.as_mut().poll(&mut Context::from_waker(&waker));
        state.confirming = Some(match first {
            Poll::Pending => confirming,
            // The broker can be as quick as that, and this confirm may hold another's return like any other.
            Poll::Ready(result) => {
                self.woken.lock().push(Arc::clone(&ticket));
                Box::pin(ready(result))
            }
        });
        drop(order);
        drop(state);
        ticket
    }

    /// Looks at all confirms that have come, and decides what those mean of which nothing is still to come.
    fn harvest(&self) {
        let mut desk = self.desk.lock();
        let mut decided = std::mem::take(&mut desk.undecided);
        let shown = std::mem::take(&mut *self.woken.lock());
        if decided.is_empty() && shown.is_empty() {
            return;
        }
        // The driver holds a lock while it processes a group of confirms, and this takes the same lock: afterwards none of a group
        // that had begun to show is missing. There is nothing to wait for.
        let _ = pin!(self.channel.wait_for_confirms()).now_or_never();
        // Nor one that was confirmed before its sender had let go of it.
        drop(self.order.lock());
        let rest = std::mem::take(&mut *self.woken.lock());
        decided.extend(
            shown
                .into_iter()
                .filter_map(|ticket| desk.confirmed(ticket)),
        );
        // These may be the first of their group. Their owners were woken too, and will look again.
        let undecided: Vec<_> = rest
            .into_iter()
            .filter_map(|ticket| desk.confirmed(ticket))
            .collect();
        desk.undecided = undecided;
        for (ticket, result) in decided {
            let place = desk
                .returned
                .iter()
                .position(|label| *label == ticket.label);
            let outcome = match place {
                Some(place) => {
                    desk.returned.swap_remove(place);
                    Err(Refusal::NoRoute)
                }
                None => outcome(result, desk.is_incomplete, ticket.bytes),
            };
            let mut state = ticket.state.lock();
            state.outcome = Some(outcome);
            state.is_decided = true;
        }
    }
}

impl Desk {
    /// Takes the confirm of a message that was woken, if it is there, and the return that it may hold.
    fn confirmed(&mut self, ticket: Arc<Ticket>) -> Option<Confirmed> {
        let mut state = ticket.state.lock();
        let waker = Waker::from(Arc::clone(&ticket));
        let confirming = state.confirming.as_mut()?;
        let Poll::Ready(mut result) = confirming.as_mut().poll(&mut Context::from_waker(&waker))
        else {
            return None;
        };
        state.confirming = None;
        drop(state);
        if let Ok(Confirmation::Ack(returned) | Confirmation::Nack(returned)) = &mut result
            && let Some(message) = returned.take()
        {
            self.returned.push(Label {
                exchange: message.delivery.exchange.clone(),
                key: message.delivery.routing_key.clone(),
                id: message.delivery.properties.message_id().clone(),
            });
        }
        Some((ticket, result))
    }
}

/// Says what the broker's answer to a message means, if that was not returned.
fn outcome(
    result: Result<Confirmation, lapin::Error>,
    may_be_returned: bool,
    bytes: usize,
) -> Result<(), Refusal> {
    match result {
        Ok(Confirmation::Ack(_)) if !may_be_returned => Ok(()),
        Ok(Confirmation::Nack(_)) => Err(Refusal::Nacked),
        // The channel was put into confirm mode before anybody could publish on it.
        Ok(Confirmation::Ack(_) | Confirmation::NotRequested) => Err(Failure::Unconfirmed.into()),
        Err(error) => match error::size_limit(&error) {
            Some(limit) if bytes > limit => Err(Refusal::TooLarge { bytes, limit }),
            _ => Err(Failure::LostConfirm(error).into()),
        },
    }
}

impl Ticket {
    /// Waits until it is known what became of the message.
    ///
    /// Cancel safe: it can be waited for again.
    pub(super) async fn settled(&self) -> Result<(), Refusal> {
        poll_fn(|cx| {
            self.owner.register(cx.waker());
            self.session.harvest();
            match self.state.lock().outcome.take() {
                Some(outcome) => Poll::Ready(outcome),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Gives the message up. Later confirms of the session are not to be trusted, since this one may have held a return of theirs.
    pub(super) fn give_up(&self) {
        let mut desk = self.session.desk.lock();
        let mut state = self.state.lock();
        // Taking it away also breaks the circle in which the driver wakes what holds the driver's promise.
        if state.confirming.take().is_some() {
            desk.is_incomplete = true;
        }
    }

    pub(super) fn is_of(&self, session: &Arc<Session>) -> bool {
        Arc::ptr_eq(&self.session, session)
    }

    pub(super) fn is_open(&self) -> bool {
        !self.state.lock().is_decided
    }
}

impl Wake for Ticket {
    fn wake(self: Arc<Self>) {
        self.session.woken.lock().push(Arc::clone(&self));
        self.owner.wake();
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}
