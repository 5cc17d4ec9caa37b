//! Telling the owner of a partition how an attempt ended, and whoever asked what the answer is.

use std::time::Duration;

use coditect_bus::{CorrelationId, Destination, Envelope, ErrorKind, MessageBus, QueueName};

use super::attempt::Ended;
use crate::error::Error;
use crate::failure::{Failure, FailureKind};
use crate::wire::{Outcome, ReplyBody};

/// How often an outcome is published before the task is given back to its queue: for some 30 s, since
/// giving it back means doing the work again.
const TRIES: usize = 64;
/// The same for a queue that is not there: for some 5 s, in which an owner that starts over declares it again.
const TRIES_WITHOUT_QUEUE: usize = 12;
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_millis(500);

/// What became of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The bus has taken it.
    Confirmed,
    /// The bus did not take it in time: the task has to be done again.
    NotNow,
    /// Its queue is gone, and with it whoever wanted to know.
    NobodyAsks,
    /// The bus is closed, or refuses it whatever it says.
    Never,
}

/// Publishes an outcome to the queue that its task named.
///
/// An answer that the bus refuses for what it is fails its task, since no other attempt would mend it.
pub(super) async fn publish_outcome(
    bus: &dyn MessageBus,
    queue: &QueueName,
    outcome: &Outcome,
) -> Told {
    let (run, task) = (outcome.run, outcome.task);
    let error = match publish(bus, queue, outcome).await {
        Ok(()) => return Told::Confirmed,
        Err(error) => error,
    };
    let refused = match error.kind() {
        ErrorKind::TooLarge => Some(FailureKind::TooLarge),
        ErrorKind::Invalid => Some(FailureKind::Permanent),
        _ => None,
    };
    if let Some(kind) = refused {
        let failure = Failure::new(kind, format!("the bus refused the answer: {error}"));
        let ended = Ended::failed(failure);
        let refused = Outcome {
            ended,
            ..outcome.clone()
        };
        if publish(bus, queue, &refused).await.is_ok() {
            return Told::Confirmed;
        }
    }
    if error.kind() == ErrorKind::NoRoute {
        tracing::warn!(%run, %task, %queue, "nobody takes the outcomes of the task's run any more");
        return Told::NobodyAsks;
    }
    tracing::warn!(
        %run,
        %task,
        error = &error as &dyn std::error::Error,
        "an outcome could not be published; the task will be delivered again"
    );
    match error.is_retryable() {
        true => Told::NotNow,
        false => Told::Never,
    }
}

async fn publish(
    bus: &dyn MessageBus,
    queue: &QueueName,
    outcome: &Outcome,
) -> Result<(), coditect_bus::Error> {
    let unwritable = |error: Error| {
        coditect_bus::Error::new(ErrorKind::Invalid, "it cannot be written").with_source(error)
    };
    publish_envelope(bus, queue, outcome.to_envelope().map_err(unwritable)?).await
}

/// Publishes until the bus has taken it, has refused it for good, or has had its time.
pub(super) async fn publish_envelope(
    bus: &dyn MessageBus,
    queue: &QueueName,
    envelope: Envelope,
) -> Result<(), coditect_bus::Error> {
    let to = Destination::Queue(queue.clone());
    let mut delay = FIRST_RETRY;
    let mut tries = 0;
    loop {
        let Err(refused) = bus.publish(&to, envelope.clone()).await else {
            return Ok(());
        };
        tries += 1;
        let limit = match refused.kind() {
            ErrorKind::NoRoute => TRIES_WITHOUT_QUEUE,
            _ if refused.error().is_retryable() => TRIES,
            _ => 0,
        };
        if tries >= limit {
            return Err(refused.into());
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(LAST_RETRY);
    }
}

/// Sends an answer, or why the bus did not take it; says whether one of the two was taken.
pub(super) async fn reply(
    bus: &dyn MessageBus,
    to: QueueName,
    correlation: Option<CorrelationId>,
    ended: Ended,
) -> bool {
    let to = Destination::Queue(to);
    let envelope = |ended: &Ended| -> Result<Envelope, Error> {
        let reply = ReplyBody::of(ended)?.to_envelope()?;
        Ok(match &correlation {
            Some(correlation) => reply.with_correlation_id(correlation.clone()),
            None => reply,
        })
    };
    let refused = match envelope(&ended) {
        Ok(reply) => match bus.publish(&to, reply).await {
            Ok(()) => return true,
            Err(refused) if refused.kind() == ErrorKind::TooLarge => Failure::new(
                FailureKind::TooLarge,
                format!("the bus refused the answer: {}", refused.error()),
            ),
            Err(_) => return false,
        },
        Err(error) => Failure::new(FailureKind::Permanent, error.to_string()),
    };
    match envelope(&Ended::failed(refused)) {
        Ok(reply) => bus.publish(&to, reply).await.is_ok(),
        Err(_) => false,
    }
}
