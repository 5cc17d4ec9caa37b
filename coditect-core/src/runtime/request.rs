//! Asking an agent without a run.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coditect_bus::{Destination, ErrorKind as BusErrorKind, Priority, QueueName, Requester};
use coditect_registry::{Outcome as Went, Requirement, Standing};
use coditect_telemetry::TraceContext;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::Runtime;
use crate::agent::encode_output;
use crate::coordinator::{Routes, Way, went};
use crate::error::{Error, ErrorKind};
use crate::plan::Call;
use crate::ports::Dispatch;
use crate::wire::{self, ReplyBody};
use crate::worker::{Ended, Slot};

/// How long a requester waits where it says nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than anybody waits, and no instant is out of reach.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3_600);

/// A question to an agent, asked when it is awaited.
#[must_use = "a request is made when it is awaited"]
pub struct Request<O> {
    runtime: Runtime,
    requirement: Result<Requirement, Error>,
    input: Result<Bytes, Error>,
    patience: Duration,
    priority: Priority,
    output: PhantomData<fn() -> O>,
}

impl<O> Request<O> {
    pub(super) fn new<I: Serialize>(runtime: Runtime, call: &Call<I, O>, input: &I) -> Self {
        let name = call.requirement();
        Self {
            runtime,
            requirement: name.parse().map_err(|error: coditect_registry::Error| {
                Error::invalid(format!(
                    "`{name}` is no requirement such as `count` or `count@^1.2`"
                ))
                .with_source(error)
            }),
            input: encode_output(input).map_err(Error::of_run),
            patience: PATIENCE,
            priority: Priority::default(),
            output: PhantomData,
        }
    }

    /// Sets how long to wait for the answer; 30 s.
    pub fn deadline(mut self, after: Duration) -> Self {
        self.patience = after;
        self
    }

    /// Sets the priority of the question where it has to queue.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }
}

impl<O: DeserializeOwned> Request<O> {
    async fn ask(self) -> Result<O, Error> {
        self.runtime.check_open()?;
        let requirement = self.requirement?;
        let question = Question {
            runtime: &self.runtime,
            input: self.input?,
            deadline: Instant::now() + self.patience.min(LONGEST),
            patience: self.patience,
            priority: self.priority,
            requirement: &requirement,
        };
        match question.ask().await? {
            Ended::Output(output) => serde_json::from_slice(&output).map_err(|error| {
                Error::invalid("the answer is of another type").with_source(error)
            }),
            Ended::Plan(_) => Err(Error::invalid(format!(
                "`{requirement}` is served by an orchestrator, whose plan needs a run: submit it"
            ))),
            Ended::Failed { failure, .. } => Err(Error::of_request(failure)),
        }
    }
}

/// What is asked, whoever answers.
struct Question<'a> {
    runtime: &'a Runtime,
    requirement: &'a Requirement,
    input: Bytes,
    /// How long the asker waits in all, and until when.
    patience: Duration,
    deadline: Instant,
    priority: Priority,
}

impl Question<'_> {
    async fn ask(self) -> Result<Ended, Error> {
        let inner = &self.runtime.inner;
        let routes = inner.routes.as_ref();
        let routes = routes.filter(|routes| routes.include(self.requirement));
        let Some(offer) = inner.worker.find(self.requirement) else {
            return match routes {
                Some(routes) => self.routed(routes).await,
                None => self.shared().await,
            };
        };
        let dispatch = inner.submitter.ports().settings.dispatch;
        let slot = match (routes, dispatch) {
            // As a task: in this process if there is room, and to the chosen one otherwise.
            (Some(routes), Dispatch::LocalFirst) => match offer.try_slot() {
                Some(slot) => slot,
                None => return self.routed(routes).await,
            },
            (Some(routes), Dispatch::Bus) => return self.routed(routes).await,
            _ => match offer.try_slot() {
                Some(slot) => slot,
                None if offer.is_held_back() && self.is_elsewhere() => return self.shared().await,
                None if offer.is_held_back() => return Err(self.left_alone()),
                None => {
                    let free = offer.hosted.work(offer.capability);
                    let free = timeout_at(self.deadline, free).await;
                    free.map_err(|_| self.late())?
                }
            },
        };
        self.local(slot).await
    }

    /// Asks an agent of this process.
    async fn local(&self, slot: Slot) -> Result<Ended, Error> {
        let worker = &self.runtime.inner.worker;
        let asked = worker.answer(slot, self.input.clone(), self.patience);
        let answer = timeout_at(self.deadline, asked.answer()).await;
        answer.map_err(|_| self.late())?.ok_or_else(Error::closed)
    }

    /// Asks the instance that the route chooses, and another one when it is lost meanwhile.
    async fn routed(&self, routes: &Arc<Routes>) -> Result<Ended, Error> {
        loop {
            // Where all have as much as they may have, whoever is free first is as good as any.
            let Way::Instance(mut chosen) = routes.choose(self.requirement) else {
                return self.shared().await;
            };
            let queue = chosen.queue.clone();
            let answered = tokio::select! {
                biased;
                answered = self.send(queue) => Some(answered),
                () = chosen.lost() => None,
            };
            let failed = Went::Failed;
            match answered {
                None => chosen.done(failed),
                Some(Ok(Answer::Ended(ended))) => {
                    chosen.done(went(&ended));
                    return Ok(ended);
                }
                Some(Ok(Answer::Returned)) => {
                    drop(chosen);
                    return self.shared().await;
                }
                Some(Err(error)) if error.kind() == BusErrorKind::NoRoute => {
                    chosen.done(failed);
                    return self.shared().await;
                }
                Some(Err(error)) => {
                    if error.kind() == BusErrorKind::Timeout {
                        chosen.done(failed);
                    }
                    return Err(self.unanswered(error));
                }
            }
        }
    }

    /// Asks whoever takes the question from the queue of the capability.
    async fn shared(&self) -> Result<Ended, Error> {
        let records = self.runtime.inner.view.records();
        let working = records
            .iter()
            .filter(|record| record.standing() <= Standing::Degraded);
        let offered = working.flat_map(|record| record.capabilities.iter());
        let highest = offered
            .filter(|capability| self.requirement.matches(capability))
            .max_by(|a, b| a.version.cmp(&b.version));
        let queue = match highest {
            Some(capability) => wire::queue_of(capability)?,
            // The registry knows this process only; others show by the queue.
            None if self.runtime.inner.follows_queues => wire::expected_queue(self.requirement)?,
            None => return Err(self.unserved()),
        };
        match self.send(queue).await {
            Ok(Answer::Ended(ended)) => Ok(ended),
            Ok(Answer::Returned) => Err(self.unserved()),
            Err(error) => Err(self.unanswered(error)),
        }
    }

    async fn send(&self, queue: QueueName) -> Result<Answer, coditect_bus::Error> {
        let requester = &self.runtime.inner.requester;
        let requester = requester
            .get_or_try_init(|| Requester::new(Arc::clone(self.runtime.bus())))
            .await?;
        let trace = TraceContext::current();
        let input = self.input.clone();
        let envelope = wire::request(input, self.requirement, self.priority, trace.as_ref());
        let left = self.deadline.saturating_duration_since(Instant::now());
        let to = Destination::Queue(queue);
        let reply = requester.request_envelope(&to, envelope, left).await?;
        if wire::is_returned(&reply) {
            return Ok(Answer::Returned);
        }
        let body: ReplyBody = reply.decode()?;
        Ok(Answer::Ended(body.into_ended()))
    }

    fn unanswered(&self, error: coditect_bus::Error) -> Error {
        match error.kind() {
            BusErrorKind::Timeout => self.late().with_source(error),
            BusErrorKind::NoRoute => self.unserved().with_source(error),
            _ => Error::from(error),
        }
    }

    /// Says whether an agent of another process offers what is required.
    fn is_elsewhere(&self) -> bool {
        let here = self.runtime.inner.worker.incarnation;
        self.runtime.inner.view.records().iter().any(|record| {
            let mut offered = record.capabilities.iter();
            record.incarnation() != here
                && record.standing() <= Standing::Degraded
                && offered.any(|capability| self.requirement.matches(capability))
        })
    }

    fn left_alone(&self) -> Error {
        let text = format!(
            "`{}` fails in this process, and is left alone for a moment",
            self.requirement
        );
        Error::new(ErrorKind::Unavailable, text)
    }

    fn unserved(&self) -> Error {
        let text = format!("no agent offers `{}` now", self.requirement);
        Error::new(ErrorKind::Unavailable, text)
    }

    fn late(&self) -> Error {
        let (requirement, patience) = (self.requirement, self.patience);
        Error::new(
            ErrorKind::DeadlineExceeded,
            format!("`{requirement}` did not answer within {patience:?}"),
        )
    }
}

/// What comes back of a question.
enum Answer {
    Ended(Ended),
    /// The instance has not begun with it, and never will.
    Returned,
}

impl<O: DeserializeOwned + Send + 'static> IntoFuture for Request<O> {
    type Output = Result<O, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.ask())
    }
}

impl<O> fmt::Debug for Request<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("requirement", &self.requirement)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
