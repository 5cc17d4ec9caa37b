//! Telling the owner of a partition how an attempt ended, and whoever asked what the answer is.

use std::time::Duration;

use coditect_bus::{CorrelationId, Destination, Envelope, ErrorKind, MessageBus, QueueName};
use coditect_dag::journal::Partition;

use super::attempt::Ended;
use crate::error::Error;
use crate::failure::{Failure, FailureKind};
use crate::wire::{self, Outcome, ReplyBody};

/// How often an outcome is published before the task is given back to its queue: for some 30 s, since
/// giving it back means doing the work again.
const TRIES: usize = 64;
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_millis(500);

/// Publishes an outcome to its partition's queue; says whether that was confirmed.
///
/// An answer that the bus refuses for what it is fails its task, since no other attempt would mend it.
pub(super) async fn publish_outcome(
    bus: &dyn MessageBus,
    partition: Partition,
    outcome: Outcome,
) -> bool {
    let (run, task) = (outcome.run, outcome.task);
    let error = match publish(bus, partition, &outcome).await {
        Ok(()) => return true,
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
        if publish(bus, partition, &Outcome { ended, ..outcome })
            .await
            .is_ok()
        {
            return true;
        }
    }
    tracing::warn!(
        %run,
        %task,
        error = &error as &dyn std::error::Error,
        "an outcome could not be published; the task will be delivered again"
    );
    false
}

/// Publishes until the bus has taken it, has refused it for good, or has had its time.
async fn publish(
    bus: &dyn MessageBus,
    partition: Partition,
    outcome: &Outcome,
) -> Result<(), coditect_bus::Error> {
    let unwritable = |error: Error| {
        coditect_bus::Error::new(ErrorKind::Invalid, "it cannot be written").with_source(error)
    };
    let to = Destination::Queue(wire::outcome_queue(partition).map_err(unwritable)?);
    let envelope: Envelope = outcome.to_envelope().map_err(unwritable)?;
    let mut delay = FIRST_RETRY;
    let mut left = TRIES;
    loop {
        let Err(refused) = bus.publish(&to, envelope.clone()).await else {
            return Ok(());
        };
        left -= 1;
        if left == 0 || !refused.error().is_retryable() {
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
