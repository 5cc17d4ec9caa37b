//! Publishing: every message is confirmed, mandatory, bounded in number and in time, and comes back if it was not taken.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::hash::BuildHasher;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use parking_lot::Mutex;
use rustc_hash::FxBuildHasher;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::task::TaskTracker;

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
    /// The broker could not be asked, or did not answer.
    Failed(Failure),
}

#[derive(Debug)]
pub(super) struct Publisher {
    link: Arc<Link>,
    timeout: Duration,
    permits: Arc<Semaphore>,
    lanes: [Lane; LANES],
    /// Confirms whose publishers have given up waiting.
    orphans: TaskTracker,
}

/// The broker works through each channel by itself, so several are faster; what goes to one place takes one lane, which keeps its order.
const LANES: usize = 4;

#[derive(Debug, Default)]
struct Lane {
    /// The channel in use. Nobody opens another while somebody else does.
    channel: tokio::sync::Mutex<Option<Channel>>,
    /// Held while a message is handed to the driver, which counts messages before it queues them: the two orders must agree.
    order: Mutex<()>,
}

type Confirming = Pin<Box<dyn Future<Output = Result<Confirmation, lapin::Error>> + Send>>;

/// A message that is on its way.
pub(super) struct InFlight {
    /// `None` only once resolved.
    confirming: Option<Confirming>,
    permit: Option<OwnedSemaphorePermit>,
    early: Option<Result<Confirmation, lapin::Error>>,
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
        let lane_number = lane_of(&route);
        let lane = &self.lanes[lane_number];
        let channel = self
            .channel(lane, deadline)
            .await
            .map_err(Refusal::Failed)?;
        let mut confirming: Confirming = Box::pin(async move {
            let options = BasicPublishOptions {
                mandatory: true,
                ..Default::default()
            };
            let (exchange, key) = (route.exchange.into(), route.key.into());
            channel
                .basic_publish(exchange, key, options, &payload, properties)
                .await?
                .await
        });
        let early = poll_fn(|cx| {
            // The first poll is what queues the message; see `order`.
            let _order = lane.order.lock();
            Poll::Ready(confirming.as_mut().poll(cx))
        })
        .await;
        let (confirming, early) = match early {
            Poll::Ready(result) => (None, Some(result)),
            Poll::Pending => (Some(confirming), None),
        };
        Ok(InFlight {
            confirming,
            permit: Some(permit),
            early,
            deadline,
            lane: lane_number,
            orphans: self.orphans.clone(),
        })
    }

    /// Waits for the confirm.
    async fn finish(&self, mut in_flight: InFlight) -> Result<(), Refusal> {
        let deadline = in_flight.deadline;
        let result = match timeout_at(deadline, &mut in_flight).await {
            Ok(result) => result,
            Err(_) => {
                // What was not confirmed until now may never be: the confirms of this channel are not to be trusted any more.
                self.lanes[in_flight.lane].channel.lock().await.take();
                return Err(Refusal::Failed(match self.link.blocked() {
                    Some(reason) => Failure::UnconfirmedBlocked(reason),
                    None => Failure::Unconfirmed,
                }));
            }
        };
        match result {
            Ok(Confirmation::Ack(None)) => Ok(()),
            Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))) => Err(Refusal::NoRoute),
            Ok(Confirmation::Nack(None)) => Err(Refusal::Nacked),
            // The channel was put into confirm mode before anybody could publish on it.
            Ok(Confirmation::NotRequested) => Err(Refusal::Failed(Failure::Unconfirmed)),
            Err(error) => Err(Refusal::Failed(Failure::LostConfirm(error))),
        }
    }

    async fn channel(&self, lane: &Lane, deadline: Instant) -> Result<Channel, Failure> {
        let mut current = timeout_at(deadline, lane.channel.lock())
            .await
            .map_err(|_| Failure::Disconnected)?;
        if let Some(channel) = current
            .as_ref()
            .filter(|channel| channel.status().connected())
        {
            return Ok(channel.clone());
        }
        let channel = self.link.channel(deadline).await?;
        timeout_at(
            deadline,
            channel.confirm_select(ConfirmSelectOptions::default()),
        )
        .await
        .map_err(|_| Failure::Disconnected)??;
        *current = Some(channel.clone());
        Ok(channel)
    }

    fn too_late(&self) -> Refusal {
        Refusal::Failed(match self.link.blocked() {
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

impl Future for InFlight {
    type Output = Result<Confirmation, lapin::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(result) = self.early.take() {
            return Poll::Ready(result);
        }
        let Some(confirming) = &mut self.confirming else {
            return Poll::Pending;
        };
        let polled = confirming.as_mut().poll(cx);
        if polled.is_ready() {
            self.confirming = None;
        }
        polled
    }
}

/// The driver remembers a confirm that nobody waits for until its channel ends, so somebody has to wait.
impl Drop for InFlight {
    fn drop(&mut self) {
        let (Some(confirming), Some(permit)) = (self.confirming.take(), self.permit.take()) else {
            return;
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let deadline = self.deadline.max(Instant::now() + Duration::from_secs(1));
            self.orphans.spawn_on(
                async move {
                    tokio::select! {
                        _ = confirming => {}
                        () = sleep_until(deadline) => {}
                    }
                    drop(permit);
                },
                &runtime,
            );
        }
    }
}
