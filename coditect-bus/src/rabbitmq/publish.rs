//! Publishing: every message is confirmed, mandatory, bounded in number and in time, and comes back if it was not taken.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::options::ConfirmSelectOptions;
use rustc_hash::FxBuildHasher;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

mod session;

use session::{Session, Ticket};

use super::error::Failure;
use super::link::Link;
use super::topology::Route;

/// Says why a message was not taken.
#[derive(Debug)]
pub(super) enum Refusal {
    /// No queue receives from there.
    NoRoute,
    /// A queue refused it, which it does when it is full.
    Nacked,
    /// It is larger than the broker takes.
    TooLarge { bytes: usize, limit: usize },
    /// The broker could not be asked, or did not answer.
    Failed(Box<Failure>),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

#[derive(Debug)]
pub(super) struct Publisher {
    link: Arc<Link>,
    timeout: Duration,
    permits: Arc<Semaphore>,
    lanes: [Lane; LANES],
    /// What the broker takes at most, once it has refused something. To hear it costs all that is in flight on a lane, so it is
    /// remembered; but only for that connection, since an operator may change it.
    size_limit: SizeLimit,
    /// Confirms whose publishers have given up waiting.
    orphans: TaskTracker,
}

/// The broker works through each channel by itself, so several are faster; what goes to one place takes one lane, which keeps its order.
const LANES: usize = 4;

/// The session in use. Nobody opens another while somebody else does.
type Lane = Mutex<Option<Arc<Session>>>;

/// A limit, and the count of the connection that it was heard on.
type SizeLimit = parking_lot::Mutex<Option<(u64, usize)>>;

/// A message that is on its way.
struct InFlight {
    ticket: Arc<Ticket>,
    /// Which connection it was begun on, or an earlier one.
    connects: u64,
    /// `None` only once dropped.
    permit: Option<OwnedSemaphorePermit>,
    deadline: Instant,
    lane: usize,
    orphans: TaskTracker,
}

impl Publisher {
    pub(super) fn new(
        link: Arc<Link>,
        max_in_flight: usize,
        timeout: Duration,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            link,
            timeout,
            permits: Arc::new(Semaphore::new(max_in_flight.min(Semaphore::MAX_PERMITS))),
            lanes: Default::default(),
            size_limit: Default::default(),
            orphans: tasks,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Publishes one message and waits for its confirm.
    pub(super) async fn publish(
        &self,
        route: Route,
        payload: Bytes,
        properties: BasicProperties,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let permit = timeout_at(deadline, Arc::clone(&self.permits).acquire_owned());
        // The semaphore is never closed.
        let permit = permit
            .await
            .map_err(|_| self.too_late())?
            .map_err(|_| self.too_late())?;
        let in_flight = self
            .begin(permit, route, payload, properties, deadline)
            .await?;
        self.finish(in_flight).await
    }

    /// Publishes many messages, in their order, and waits for all confirms; the results are in the same order.
    pub(super) async fn publish_many(
        &self,
        messages: Vec<(Route, Bytes, BasicProperties)>,
    ) -> Vec<Result<(), Refusal>> {
        let mut results = Vec::with_capacity(messages.len());
        let mut in_flight = VecDeque::new();
        for (route, payload, properties) in messages {
            let deadline = self.deadline();
            let permit = loop {
                if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
                    break Some(permit);
                }
                // Whoever holds some may not wait for more: first come the own confirms.
                match in_flight.pop_front() {
                    Some(first) => results.push(self.conclude(first).await),
                    None => {
                        let permit = Arc::clone(&self.permits).acquire_owned();
                        break timeout_at(deadline, permit).await.ok().and_then(Result::ok);
                    }
                }
            };
            in_flight.push_back(match permit {
                Some(permit) => {
                    self.begin(permit, route, payload, properties, deadline)
                        .await
                }
                None => Err(self.too_late()),
            });
        }
        for one in in_flight {
            results.push(self.conclude(one).await);
        }
        results
    }

    async fn conclude(&self, begun: Result<InFlight, Refusal>) -> Result<(), Refusal> {
        self.finish(begun?).await
    }

    /// Hands a message to the driver.
    async fn begin(
        &self,
        permit: OwnedSemaphorePermit,
        route: Route,
        payload: Bytes,
        properties: BasicProperties,
        deadline: Instant,
    ) -> Result<InFlight, Refusal> {
        if self.link.blocked().is_some()
            && timeout_at(deadline, self.link.unblocked()).await.is_err()
        {
            return Err(self.too_late());
        }
        let (connects, bytes) = (self.link.connects(), payload.len());
        let known = *self.size_limit.lock();
        if let Some((_, limit)) = known.filter(|(heard_on, _)| *heard_on == connects)
            && bytes > limit
        {
            return Err(Refusal::TooLarge { bytes, limit });
        }
        let lane = lane_of(&route);
        let session = self.session(&self.lanes[lane], deadline).await?;
        Ok(InFlight {
            ticket: session.send(route, payload, properties),
            connects,
            permit: Some(permit),
            deadline,
            lane,
            orphans: self.orphans.clone(),
        })
    }

    /// Waits for the confirm.
    async fn finish(&self, in_flight: InFlight) -> Result<(), Refusal> {
        let settled = timeout_at(in_flight.deadline, in_flight.ticket.settled());
        if let Ok(outcome) = settled.await {
            if let Err(Refusal::TooLarge { limit, .. }) = outcome {
                *self.size_limit.lock() = Some((in_flight.connects, limit));
            }
            return outcome;
        }
        // What was not confirmed until now may never be: this session is of no use any more.
        let mut current = self.lanes[in_flight.lane].lock().await;
        current.take_if(|session| in_flight.ticket.is_of(session));
        drop(current);
        Err(Refusal::from(match self.link.blocked() {
            Some(reason) => Failure::UnconfirmedBlocked(reason),
            None => Failure::Unconfirmed,
        }))
    }

    async fn session(&self, lane: &Lane, deadline: Instant) -> Result<Arc<Session>, Failure> {
        let mut current = timeout_at(deadline, lane.lock())
            .await
            .map_err(|_| Failure::Disconnected)?;
        if let Some(session) = current.as_ref().filter(|session| session.is_usable()) {
            return Ok(Arc::clone(session));
        }
        let channel = self.link.channel(deadline).await?;
        timeout_at(
            deadline,
            channel.confirm_select(ConfirmSelectOptions::default()),
        )
        .await
        .map_err(|_| Failure::Disconnected)??;
        Ok(Arc::clone(current.insert(Session::new(channel))))
    }

    fn too_late(&self) -> Refusal {
        Refusal::from(match self.link.blocked() {
            Some(reason) => Failure::Blocked(reason),
            None => Failure::Disconnected,
        })
    }
}

fn lane_of(route: &Route) -> usize {
    let hash = FxBuildHasher.hash_one((&route.exchange, &route.key));
    // The upper bits are the better ones.
    usize::try_from(hash >> 32).unwrap_or(0) % LANES
}

/// Somebody has to wait for every confirm: it may hold another message's return, and the driver remembers it until its channel ends.
impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.ticket.is_open() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return self.ticket.give_up();
        };
        let (ticket, permit) = (Arc::clone(&self.ticket), self.permit.take());
        let deadline = self.deadline.max(Instant::now() + Duration::from_secs(1));
        self.orphans.spawn_on(
            async move {
                if timeout_at(deadline, ticket.settled()).await.is_err() {
                    ticket.give_up();
                }
                drop(permit);
            },
            &runtime,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_spread_over_the_lanes() {
        let mut count = [0; LANES];
        for number in 0..256 {
            count[lane_of(&Route {
                exchange: "coditect.direct.v1".to_owned(),
                key: format!("coditect.task.number{number}.p1.v1"),
            })] += 1;
        }
        assert!(count.iter().all(|count| *count > 20), "{count:?}");
    }
}
