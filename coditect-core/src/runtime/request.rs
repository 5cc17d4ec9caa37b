//! Asking an agent without a run.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coditect_bus::{Destination, Priority, Requester};
use coditect_registry::{Requirement, Standing};
use coditect_telemetry::TraceContext;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::Runtime;
use crate::agent::encode_output;
use crate::error::{Error, ErrorKind};
use crate::plan::Call;
use crate::wire::{self, ReplyBody};
use crate::worker::{Ended, Offer};

/// How long a requester waits where it says nothing.
const PATIENCE: Duration = Duration::from_secs(30);

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
        let input = self.input?;
        let runtime = self.runtime;
        let ended = match runtime.inner.worker.find(&requirement) {
            Some(offer) if offer.is_held_back() && !is_elsewhere(&runtime, &requirement) => {
                let text = format!(
                    "`{requirement}` fails in this process, and is left alone for a moment"
                );
                Err(Error::new(ErrorKind::Unavailable, text))
            }
            Some(offer) if !offer.is_held_back() => {
                let asked = local(&runtime, &offer, input, self.patience);
                timeout(self.patience, asked)
                    .await
                    .map_err(|_| late(&requirement, self.patience))?
            }
            _ => remote(&runtime, &requirement, input, self.patience, self.priority).await,
        };
        match ended? {
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

/// Asks an agent of this process.
async fn local(
    runtime: &Runtime,
    offer: &Offer,
    input: Bytes,
    patience: Duration,
) -> Result<Ended, Error> {
    let slot = match offer.try_slot() {
        Some(slot) => slot,
        None => offer.hosted.work(offer.capability).await,
    };
    let asked = runtime.inner.worker.answer(slot, input, patience);
    asked.answer().await.ok_or_else(Error::closed)
}

/// Says whether an agent of another process offers what is required.
fn is_elsewhere(runtime: &Runtime, requirement: &Requirement) -> bool {
    let here = runtime.inner.worker.incarnation;
    runtime.inner.view.records().iter().any(|record| {
        let mut offered = record.capabilities.iter();
        record.incarnation() != here
            && record.standing() <= Standing::Degraded
            && offered.any(|capability| requirement.matches(capability))
    })
}

/// Asks whoever takes the question from the bus.
async fn remote(
    runtime: &Runtime,
    requirement: &Requirement,
    input: Bytes,
    patience: Duration,
    priority: Priority,
) -> Result<Ended, Error> {
    let records = runtime.inner.view.records();
    let working = records
        .iter()
        .filter(|record| record.standing() <= Standing::Degraded);
    let offered = working.flat_map(|record| record.capabilities.iter());
    let highest = offered
        .filter(|capability| requirement.matches(capability))
        .max_by(|a, b| a.version.cmp(&b.version));
    let nobody = || {
        let text = format!("no agent offers `{requirement}` now");
        Error::new(ErrorKind::Unavailable, text)
    };
    let queue = match highest {
        Some(capability) => wire::queue_of(capability)?,
        // The registry knows this process only; others show by the queue.
        None if runtime.inner.follows_queues => wire::expected_queue(requirement)?,
        None => return Err(nobody()),
    };
    let to = Destination::Queue(queue);
    let bus = Arc::clone(runtime.bus());
    let requester = runtime
        .inner
        .requester
        .get_or_try_init(|| Requester::new(bus))
        .await?;
    let trace = TraceContext::current();
    let envelope = wire::request(input, requirement, priority, trace.as_ref());
    let reply = requester.request_envelope(&to, envelope, patience).await;
    let reply = reply.map_err(|error| match error.kind() {
        coditect_bus::ErrorKind::Timeout => late(requirement, patience).with_source(error),
        coditect_bus::ErrorKind::NoRoute => nobody().with_source(error),
        _ => Error::from(error),
    })?;
    let body: ReplyBody = reply.decode()?;
    Ok(body.into_ended())
}

fn late(requirement: &Requirement, patience: Duration) -> Error {
    Error::new(
        ErrorKind::DeadlineExceeded,
        format!("`{requirement}` did not answer within {patience:?}"),
    )
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
