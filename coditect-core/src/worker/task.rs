//! One task that came over the bus: from its delivery to its outcome.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use coditect_bus::Delivery;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::Worker;
use super::absence::Counted;
use super::attempt::{Attempted, Bounds, Ended, attempt};
use super::claim::Hold;
use super::consume::{RESUBSCRIBE, settle};
use super::grant::Begin;
use super::hosted::{Hosted, Slot};
use super::local::attempt_span;
use super::pass_on::pass_on;
use super::report::Told;
use super::running::AttemptName;
use crate::agent::Performer;
use crate::context::{ContextParts, RunScope, ScopeFields, TaskContext};
use crate::failure::{Failure, FailureKind};
use crate::wire::{AttemptId, Outcome, TaskMessage};

/// Carries a task out, unless it is not for this agent or not wanted any more.
pub(super) async fn task(worker: Arc<Worker>, delivery: Delivery, mut slot: Slot) {
    let message = match TaskMessage::read(delivery.envelope()) {
        Ok(message) => message,
        Err(error) => {
            tracing::warn!(queue = %delivery.queue(), %error, "an unreadable task was set aside");
            return settle(delivery.reject(error.with_causes())).await;
        }
    };
    let name = AttemptName {
        owner: message.outcomes.clone(),
        attempt: AttemptId {
            run: message.run,
            task: message.task,
            attempt: message.attempt,
        },
    };
    if worker.running.is_stopped(&name) {
        return settle(delivery.ack()).await;
    }
    if worker.tellers.is_gone(&name.owner) {
        return settle(delivery.reject(nobody_asks(&name))).await;
    }
    let by = slot.hosted().performer(&message.requirement);
    let wrong = match &by {
        Some(by) => message.avoids(by),
        None => true,
    };
    if wrong {
        return pass_on(&worker, delivery).await;
    }
    let clock = &worker.services.ports.clock;
    if message
        .deadline
        .is_some_and(|deadline| deadline <= clock.now())
    {
        // The owner's own timer has ended the task, or is about to.
        return settle(delivery.ack()).await;
    }
    let hosted = Arc::clone(slot.hosted());
    let effect = hosted.card.effect().with_plan(message.effect);
    let token = match effect.is_irreversible() {
        // It goes on without its delivery, as nobody else may begin it.
        true => CancellationToken::new(),
        // A child fires with the loss of the delivery, and alone when somebody stops the attempt.
        false => delivery.lost().child_token(),
    };
    let Some(enrolled) = worker.running.attempt(name.clone(), token) else {
        return settle(delivery.ack()).await;
    };
    let deadline = message.deadline.map(|at| clock.instant(at));
    let mut counted = Counted {
        worker: Arc::clone(&worker),
        owner: name.owner.clone(),
        attempt: name.attempt,
        by: by.clone(),
        tenant: Arc::clone(&message.tenant),
        number: None,
    };
    if delivery.redeliveries() > 0 {
        // Whoever had it before may have said that it waits.
        counted.tell_that_it_begins();
    }
    let hold = match effect.is_irreversible() {
        true => {
            let token = &enrolled.token;
            let begin = worker.ask_to_begin(&name, &delivery, token, deadline);
            match begin.await {
                Begin::Granted(claim) => {
                    // Delivered again, it is refused.
                    settle(delivery.ack()).await;
                    Hold::Claim(claim)
                }
                Begin::Refused => return settle(delivery.ack()).await,
                Begin::NotNow { is_told } => {
                    return worker.leave_alone(&hosted, &name, delivery, is_told).await;
                }
            }
        }
        false => Hold::Delivery(Box::new(delivery)),
    };
    let span = attempt_span(&hosted.id, message.run, &message.key, message.attempt);
    if let (false, Some(trace)) = (span.is_disabled(), &message.trace) {
        trace.attach(&span);
    }
    let bounds = Bounds {
        timeout: message.timeout.or(hosted.card.timeout()),
        deadline,
        ..worker.bounds()
    };
    let (leave, meter) = slot.begin();
    let context = TaskContext::new(ContextParts {
        scope: RunScope::new(ScopeFields {
            run: Some(message.run),
            tenant: message.tenant,
            trace: message.trace,
            depth: message.depth,
            occasion: message.occasion,
        }),
        task: message.task,
        attempt: message.attempt,
        times_opened: message.times_opened,
        key: message.key,
        deadline: message.deadline,
        token: enrolled.token.clone(),
        services: Arc::clone(&worker.services),
        siblings: None,
        slot,
        counted: Some(counted),
        meter,
    });
    let (attempted, hold) = {
        let work = attempt(&hosted, &context, message.input, bounds, leave);
        worker.hold(&name, hold, pin!(work.instrument(span))).await
    };
    drop(context.release_slot());
    worker.end(&hosted, &name, by, attempted, hold).await;
}

fn nobody_asks(name: &AttemptName) -> String {
    let queue = &name.owner;
    format!("nobody takes its outcome: the queue `{queue}` is gone")
}

impl Worker {
    /// Runs a handler, and claims its attempt when the delivery was held for long.
    async fn hold(
        &self,
        name: &AttemptName,
        hold: Hold,
        mut work: Pin<&mut impl Future<Output = Attempted>>,
    ) -> (Attempted, Hold) {
        let (delivery, after) = match (hold, self.services.ports.claim_after) {
            (Hold::Delivery(delivery), Some(after)) => (delivery, after),
            (hold, _) => return (work.await, hold),
        };
        tokio::select! {
            biased;
            attempted = &mut work => return (attempted, Hold::Delivery(delivery)),
            () = tokio::time::sleep(after) => {}
        }
        let ended = CancellationToken::new();
        let work = async {
            let attempted = work.await;
            ended.cancel();
            attempted
        };
        // It is rare, and large.
        tokio::join!(work, Box::pin(self.claim(name, *delivery, &ended)))
    }

    /// Lets a delivery go whose attempt was not begun.
    async fn leave_alone(
        &self,
        hosted: &Hosted,
        name: &AttemptName,
        delivery: Delivery,
        is_told: bool,
    ) {
        let running = &self.running;
        let is_own = hosted.own_queue() == Some(delivery.queue());
        match running.is_stopped(name) || (is_own && is_told) {
            // Its owner wants no more of it, or hands it to others.
            true => settle(delivery.ack()).await,
            false => settle(delivery.nack(RESUBSCRIBE)).await,
        }
    }

    /// Tells how an attempt ended, and settles its delivery if there still is one.
    async fn end(
        self: &Arc<Self>,
        hosted: &Hosted,
        name: &AttemptName,
        by: Option<Arc<Performer>>,
        attempted: Attempted,
        hold: Hold,
    ) {
        let running = &self.running;
        // The end of this process or agent is no failure of the task, which goes on elsewhere.
        let ends = running.is_halted() || hosted.standing.is_superseded();
        let abandoned = attempted.was_given_up() && ends && !running.is_stopped(name);
        let is_own = |delivery: &Delivery| {
            hosted
                .own_queue()
                .is_some_and(|own| delivery.queue() == own)
        };
        let outcome = |ended| Outcome {
            by,
            run: name.attempt.run,
            task: name.attempt.task,
            attempt: name.attempt.attempt,
            ended,
        };
        match hold {
            Hold::Lost => {}
            // Nobody else would get it from a queue that may be gone.
            Hold::Delivery(delivery) if is_own(&delivery) && (delivery.is_lost() || abandoned) => {
                if !running.is_stopped(name) {
                    self.release(&name.owner, name.attempt).await;
                }
                settle(delivery.ack()).await;
            }
            // The task is being delivered again; what a handler says that was told to stop is no outcome.
            Hold::Delivery(delivery) if delivery.is_lost() => {}
            Hold::Delivery(delivery) if abandoned => settle(delivery.nack(Duration::ZERO)).await,
            Hold::Delivery(delivery) => {
                match self.tell(&name.owner, &outcome(attempted.ended)).await {
                    Told::Confirmed => settle(delivery.ack()).await,
                    Told::NotNow | Told::Never => settle(delivery.nack(RESUBSCRIBE)).await,
                    Told::NobodyAsks => {
                        settle(delivery.reject(nobody_asks(name))).await;
                    }
                }
            }
            Hold::Claim(claim) => {
                let ended = match abandoned {
                    true => Ended::failed(Failure::new(
                        FailureKind::Lost,
                        "the process that had claimed it has ended",
                    )),
                    false => attempted.ended,
                };
                self.tell_of_claim(name, &outcome(ended)).await;
                drop(claim);
            }
        }
    }
}
