//! How an attempt ended becomes a record.

use std::time::Duration;

use coditect_bus::Delivery;
use coditect_dag::journal::RecordKind;
use coditect_dag::{Attempt, RunId, TaskId};
use coditect_resilience::{Classification, Tries, Verdict};

use super::active::Place;
use super::commit::Deferred;
use super::owner::Owner;
use super::park::leaves_open;
use super::record::encode_failure;
use super::route::went;
use crate::failure::{Failure, FailureKind};
use crate::wire::{Outcome, Unreadable};
use crate::worker::Ended;

/// What an outcome asks of the message that brought it, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// It was judged.
    Done,
    /// It is of a run that this owner does not know.
    OfUnknown(RunId),
    /// It is for another owner to judge.
    ForAnother,
}

impl Owner {
    /// Takes in what one message told, and settles the message once all of that is committed.
    pub(super) fn outcomes(
        &mut self,
        outcomes: Vec<Result<Outcome, Box<Unreadable>>>,
        delivery: Delivery,
    ) {
        let (mut unknown, mut for_another, mut wrong) = (Vec::new(), false, None);
        for outcome in outcomes {
            let outcome = outcome.or_else(|unreadable| {
                let error = &unreadable.error;
                tracing::warn!(%error, "an outcome cannot be read; its message is set aside");
                wrong = Some(error.with_causes());
                unreadable.outcome.ok_or(())
            });
            let Ok(outcome) = outcome else { continue };
            match self.outcome(outcome, true) {
                Fate::Done => {}
                Fate::OfUnknown(run) => unknown.push(run),
                Fate::ForAnother => for_another = true,
            }
        }
        // What was judged already is dropped as late when it comes again with the rest.
        self.deferred.push(match wrong {
            _ if for_another => Deferred::GiveBack(delivery),
            _ if !unknown.is_empty() => Deferred::AckIfSettled(unknown, delivery),
            Some(reason) => Deferred::Reject(delivery, reason),
            None => Deferred::Ack(delivery),
        });
    }

    /// Takes in how an attempt ended. The first outcome of the current attempt counts, any other is
    /// dropped.
    pub(super) fn outcome(&mut self, outcome: Outcome, from_bus: bool) -> Fate {
        let Outcome {
            run,
            task,
            attempt,
            by,
            ended,
        } = outcome;
        let Some(active) = self.runs.get(&run) else {
            return Fate::OfUnknown(run);
        };
        let scheduler = active.machine.scheduler();
        let known = task.index() < scheduler.len();
        if known && attempt > scheduler.attempt(task) {
            // Another owner dispatched it: whoever that is will judge it.
            return Fate::ForAnother;
        }
        if !known || !active.machine.is_current(task, attempt) {
            tracing::debug!(%run, %task, %attempt, "an outcome came late or twice and was dropped");
            return Fate::Done;
        }
        let granted = active.machine.is_granted(task, attempt);
        let here = matches!(
            active.flights.get(&task).map(|flight| &flight.place),
            Some(Place::Claimed(_))
        ) && !from_bus;
        if granted && here {
            // A copy was set aside; who holds the attempt is heard of.
            return Fate::Done;
        }
        let mut flight = self.land(run, task);
        let probe = flight.as_mut().and_then(|flight| flight.probe.take());
        self.told_quarantines(by.as_deref(), &ended, probe);
        match flight.map(|flight| flight.place) {
            // A copy of the attempt that a former owner had handed out was faster.
            Some(Place::Local(copy)) if from_bus => copy.cancel(),
            Some(mut place) => Self::tell_policy(&mut place, went(&ended)),
            None => {}
        }
        if let Some(active) = self.runs.get(&run)
            && matches!(ended, Ended::Output(_) | Ended::Plan(_))
        {
            let class = active.machine.class(task);
            self.pay_in(class);
        }
        match ended {
            Ended::Output(output) => self.must(
                run,
                RecordKind::Succeeded {
                    task,
                    attempt,
                    output,
                },
            ),
            Ended::Plan(plan) => {
                let expanded = RecordKind::Expanded {
                    task,
                    attempt,
                    plan,
                };
                match self.record(run, expanded) {
                    Ok(_) => self.set_deadlines(run, Some(task)),
                    Err(failure) => self.fail(run, task, attempt, &failure, None),
                }
            }
            Ended::Failed {
                failure,
                before_effect,
                ..
            } if granted && leaves_open(&failure, before_effect) => {
                self.park(run, task, attempt, failure.to_string().into());
            }
            Ended::Failed { failure, .. }
                if matches!(failure.kind, FailureKind::Cancelled | FailureKind::Lost) =>
            {
                // Nobody stopped it here, so its connection, its process or the bus did.
                let reason = failure.message.into();
                self.must(
                    run,
                    RecordKind::Lost {
                        task,
                        attempt,
                        reason,
                    },
                );
            }
            Ended::Failed {
                mut failure,
                retry_after,
                before_effect,
                ..
            } => {
                if granted && !before_effect && failure.kind == FailureKind::DeadlineExceeded {
                    // There is no time left for a ruling, and it may have done what it was to do all the same.
                    failure.kind = FailureKind::OutcomeUnknown;
                }
                failure.by = by;
                self.fail(run, task, attempt, &failure, retry_after);
            }
        }
        Fate::Done
    }

    fn fail(
        &mut self,
        run: RunId,
        task: TaskId,
        attempt: Attempt,
        failure: &Failure,
        retry_after: Option<Duration>,
    ) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        let class = match (failure.kind.is_retryable(), retry_after) {
            (false, _) => Classification::Fail,
            (true, Some(delay)) => Classification::RetryAfter(delay),
            (true, None) => Classification::Retry,
        };
        let tries = Tries {
            made: active.machine.failures(task) + 1,
            elapsed: self
                .now
                .saturating_since(active.machine.first_dispatched(task)),
            last_delay: None,
        };
        let random = self.shared.random();
        let verdict = active
            .machine
            .retry_policy(task)
            .decide(class, tries, random);
        let (delay, failure) = match verdict {
            Verdict::Retry { delay, .. } => (Some(delay), encode_failure(failure)),
            Verdict::Return | Verdict::GiveUp(_) => self.after_all(run, task, failure),
        };
        let retry_at = delay.map(|delay| self.now.saturating_add(delay));
        self.must(
            run,
            RecordKind::Failed {
                task,
                attempt,
                failure,
                retry_at,
            },
        );
    }
}
