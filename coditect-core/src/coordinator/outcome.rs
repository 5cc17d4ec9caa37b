//! How an attempt ended becomes a record.

use std::time::Duration;

use coditect_bus::Delivery;
use coditect_dag::journal::RecordKind;
use coditect_dag::{Attempt, RunId, TaskId};
use coditect_resilience::{Classification, Tries, Verdict};

use super::active::Place;
use super::commit::Deferred;
use super::owner::Owner;
use super::record::encode_failure;
use super::route::went;
use crate::failure::{Failure, FailureKind};
use crate::wire::Outcome;
use crate::worker::Ended;

impl Owner {
    /// Takes in how an attempt ended. The first outcome of the current attempt counts, any other is
    /// dropped.
    pub(super) fn outcome(&mut self, outcome: Outcome, delivery: Option<Delivery>) {
        let Outcome {
            run,
            task,
            attempt,
            ended,
        } = outcome;
        let from_bus = delivery.is_some();
        let Some(active) = self.runs.get(&run) else {
            let given = delivery.map(|delivery| Deferred::AckIfSettled(run, delivery));
            return self.deferred.extend(given);
        };
        let scheduler = active.machine.scheduler();
        let known = task.index() < scheduler.len();
        if known && attempt > scheduler.attempt(task) {
            // Another owner dispatched it: whoever that is will judge it.
            return self.deferred.extend(delivery.map(Deferred::GiveBack));
        }
        self.deferred.extend(delivery.map(Deferred::Ack));
        if !known || !active.machine.is_current(task, attempt) {
            tracing::debug!(%run, %task, %attempt, "an outcome came late or twice and was dropped");
            return;
        }
        match self.land(run, task).map(|flight| flight.place) {
            // A copy of the attempt that a former owner had handed out was faster.
            Some(Place::Local(copy)) if from_bus => copy.cancel(),
            Some(mut place) => Self::tell_policy(&mut place, went(&ended)),
            None => {}
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
                failure,
                retry_after,
            } => self.fail(run, task, attempt, &failure, retry_after),
        }
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
            made: active.machine.scheduler().failures(task) + 1,
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
        let retry_at = match verdict {
            Verdict::Retry { delay, .. } => Some(self.now.saturating_add(delay)),
            Verdict::Return | Verdict::GiveUp(_) => None,
        };
        self.must(
            run,
            RecordKind::Failed {
                task,
                attempt,
                failure: encode_failure(failure),
                retry_at,
            },
        );
    }
}
