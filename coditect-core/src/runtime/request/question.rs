//! One question: where it goes, and what becomes of it there.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use coditect_bus::{Destination, ErrorKind as BusErrorKind, Priority, QueueName};
use coditect_registry::{Incarnation, Outcome as Went, Requirement, Standing};
use coditect_resilience::HedgePolicy;
use coditect_telemetry::TraceContext;
use tokio::time::{Instant, sleep, timeout_at};

use super::asker::Asker;
use crate::coordinator::{Routed, Routes, Way, went};
use crate::error::{Error, ErrorKind};
use crate::failure::FailureKind;
use crate::ports::Dispatch;
use crate::quarantine::Pattern;
use crate::runtime::Runtime;
use crate::wire::{self, ReplyBody};
use crate::worker::{Ended, Slot};

/// How many instances are drawn until one is another than the first.
const DRAWS: usize = 16;

/// What is asked, whoever answers.
pub(super) struct Question<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) requirement: &'a Requirement,
    pub(super) input: Bytes,
    /// How long the asker waits in all, and until when.
    pub(super) patience: Duration,
    pub(super) deadline: Instant,
    pub(super) priority: Priority,
    pub(super) hedge: Option<HedgePolicy>,
}

/// One time that it is asked.
#[derive(Default)]
pub(super) struct Asking {
    /// The process that is not to be asked, as it has been.
    not: Option<Incarnation>,
    /// The process that is asked, where that is known.
    chosen: OnceLock<Incarnation>,
}

impl Question<'_> {
    /// Asks, and where the answer takes longer than most do asks another one beside.
    pub(super) async fn ask(&self) -> Result<Ended, Error> {
        // What few requests need is boxed, as each of them is as large as the largest.
        match &self.hedge {
            None => self.once(&Asking::default()).await,
            Some(policy) => Box::pin(self.hedged(policy)).await,
        }
    }

    async fn hedged(&self, policy: &HedgePolicy) -> Result<Ended, Error> {
        let known = self.runtime.inner.hedges.of(&self.requirement.name);
        let begun = Instant::now();
        let asking = Asking::default();
        let mut first = std::pin::pin!(self.once(&asking));
        let delay = known.delay(policy).filter(|_| self.are_several());
        let answered = match delay {
            None => first.await,
            Some(delay) => tokio::select! {
                biased;
                answered = &mut first => answered,
                () = sleep(delay) => match known.may_ask_again() {
                    true => self.as_well(first, &asking).await,
                    false => first.await,
                },
            },
        };
        if is_answer(&answered) {
            known.answered(begun.elapsed());
        }
        answered
    }

    /// Asks another one as well, and takes the first answer; whoever is asked for the other is told to stop.
    async fn as_well(
        &self,
        mut first: impl Future<Output = Result<Ended, Error>> + Unpin,
        asking: &Asking,
    ) -> Result<Ended, Error> {
        let another = Asking {
            not: asking.chosen.get().copied(),
            ..Asking::default()
        };
        let mut second = std::pin::pin!(self.once(&another));
        tokio::select! {
            biased;
            answered = &mut first => match is_answer(&answered) {
                true => answered,
                false => Some(second.await).filter(is_answer).unwrap_or(answered),
            },
            answered = &mut second => match is_answer(&answered) {
                true => answered,
                false => first.await,
            },
        }
    }

    /// Says whether more than one instance offers what is required.
    fn are_several(&self) -> bool {
        let records = self.runtime.inner.view.records();
        let working = records
            .iter()
            .filter(|record| record.standing() <= Standing::Degraded);
        working
            .filter(|record| record.offers(self.requirement))
            .nth(1)
            .is_some()
    }

    /// Asks an agent that is not held.
    pub(super) async fn beside(&self, held: &[Pattern], asking: &Asking) -> Result<Ended, Error> {
        let inner = &self.runtime.inner;
        let routes = inner.routes.as_ref();
        // A route knows nothing of quarantines, and whoever takes from the queue reads whom the question is not for.
        let routes = routes.filter(|routes| held.is_empty() && routes.include(self.requirement));
        let here = self.here(held);
        let here = here.filter(|_| asking.not != Some(inner.worker.incarnation));
        let Some(offer) = here else {
            return match routes {
                Some(routes) => Box::pin(self.routed(routes, asking)).await,
                None => Box::pin(self.shared(held)).await,
            };
        };
        let dispatch = inner.submitter.ports().settings.dispatch;
        let slot = match (routes, dispatch) {
            // As a task: in this process if there is room, and to the chosen one otherwise.
            (Some(routes), Dispatch::LocalFirst) => match offer.try_slot() {
                Some(slot) => slot,
                None => return Box::pin(self.routed(routes, asking)).await,
            },
            (Some(routes), Dispatch::Bus) => return Box::pin(self.routed(routes, asking)).await,
            _ => match offer.try_slot() {
                Some(slot) => slot,
                None if offer.is_held_back() && self.is_elsewhere(held) => {
                    return Box::pin(self.shared(held)).await;
                }
                None if offer.is_held_back() => return Err(self.left_alone()),
                None => {
                    // Who waits here is asked here: another is to be asked elsewhere.
                    let _ = asking.chosen.set(inner.worker.incarnation);
                    let free = offer.hosted.work(offer.capability);
                    let free = timeout_at(self.deadline, free).await;
                    let slot = free.map_err(|_| self.late())?;
                    if !offer.wants_work() {
                        drop(slot);
                        return Box::pin(self.shared(held)).await;
                    }
                    slot
                }
            },
        };
        // Where it has waited, that is known.
        let _ = asking.chosen.set(inner.worker.incarnation);
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
    async fn routed(&self, routes: &Arc<Routes>, asking: &Asking) -> Result<Ended, Error> {
        loop {
            // Where all have as much as they may have, whoever is free first is as good as any.
            let Some(mut chosen) = self.choose(routes, asking) else {
                return self.shared(&[]).await;
            };
            // Known is the first: of one that was lost nothing is to be feared.
            let _ = asking.chosen.set(chosen.process());
            let queue = chosen.queue.clone();
            let answered = tokio::select! {
                biased;
                answered = self.send(queue, &[]) => Some(answered),
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
                    return self.shared(&[]).await;
                }
                Some(Err(error)) if error.kind() == BusErrorKind::NoRoute => {
                    chosen.done(failed);
                    return self.shared(&[]).await;
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

    /// Chooses an instance that is not one of the process that was asked already.
    fn choose(&self, routes: &Arc<Routes>, asking: &Asking) -> Option<Box<Routed>> {
        let mut same = Vec::new();
        while same.len() < DRAWS {
            let Way::Instance(chosen) = routes.choose(self.requirement) else {
                return None;
            };
            if asking.not != Some(chosen.process()) {
                return Some(chosen);
            }
            // Held until the end, so that it is less likely to be chosen again.
            same.push(chosen);
        }
        None
    }

    /// Asks whoever takes the question from the queue of the capability.
    async fn shared(&self, held: &[Pattern]) -> Result<Ended, Error> {
        let records = self.runtime.inner.view.records();
        let working = records
            .iter()
            .filter(|record| record.standing() <= Standing::Degraded);
        let offered = working.flat_map(|record| {
            let capabilities = record.capabilities.iter();
            capabilities.map(|capability| (record.agent(), capability))
        });
        let is_held = |agent, capability| {
            !held.is_empty() && held.contains(&Pattern::of_offer(agent, capability))
        };
        let highest = offered
            .filter(|(agent, capability)| {
                self.requirement.matches(capability) && !is_held(agent, capability)
            })
            .map(|(_, capability)| capability)
            .max_by(|a, b| a.version.cmp(&b.version));
        let queue = match highest {
            Some(capability) => wire::queue_of(capability)?,
            // The registry knows this process only; others show by the queue.
            None if self.runtime.inner.follows_queues => wire::expected_queue(self.requirement)?,
            None => return Err(self.unserved()),
        };
        match self.send(queue, held).await {
            Ok(Answer::Ended(ended)) => Ok(ended),
            Ok(Answer::Returned) => Err(self.unserved()),
            Err(error) => Err(self.unanswered(error)),
        }
    }

    async fn send(
        &self,
        queue: QueueName,
        held: &[Pattern],
    ) -> Result<Answer, coditect_bus::Error> {
        let asker = &self.runtime.inner.asker;
        let asker = asker
            .get_or_try_init(|| Asker::new(self.runtime.bus()))
            .await?;
        let trace = TraceContext::current();
        let input = self.input.clone();
        let envelope = wire::request(input, self.requirement, self.priority, trace.as_ref());
        let envelope = match held.is_empty() {
            true => envelope,
            false => envelope.with_header(wire::AVOID, Pattern::list(held)),
        };
        let left = self.deadline.saturating_duration_since(Instant::now());
        let to = Destination::Queue(queue);
        let reply = asker.ask(&to, envelope, left).await?;
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

/// Says whether this is what was asked for, or what any agent would say of it: not that somebody could not, or had no time.
fn is_answer(answered: &Result<Ended, Error>) -> bool {
    match answered {
        Ok(Ended::Output(_) | Ended::Plan(_)) => true,
        Ok(Ended::Failed { failure, .. }) => matches!(
            failure.kind,
            FailureKind::Permanent
                | FailureKind::InvalidInput
                | FailureKind::InvalidPlan
                | FailureKind::TooLarge
        ),
        Err(_) => false,
    }
}
