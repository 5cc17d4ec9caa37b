//! What scopes and runs come to, once their tasks have ended or their aggregator has enough.

use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use coditect_dag::journal::{RecordKind, Settlement};
use coditect_dag::{RunId, TaskId};
use futures::FutureExt;

use super::commit::Deferred;
use super::owner::{Finished, Owner};
use super::record::encode_failure;
use super::scope::Conclusion;
use crate::aggregate::aggregator_panic;
use crate::failure::{Failure, FailureKind};

impl Owner {
    /// Asks a scope what it has come to, and takes that in or waits for its aggregator.
    pub(super) fn conclude(&mut self, run: RunId, scope: Option<TaskId>) {
        let Some(active) = self.runs.get_mut(&run) else {
            return;
        };
        let limit = self.shared.ports.settings.max_payload;
        match active.machine.conclude(scope, limit) {
            Conclusion::Pending => {}
            Conclusion::Result(result) => self.concluded(run, scope, result),
            Conclusion::Finish(aggregator) => {
                let attempt = active.machine.attempt_of(scope);
                let opening = active.machine.openings();
                let finished = self.to_finished.clone();
                let make = async move {
                    let made = AssertUnwindSafe(aggregator.finish()).catch_unwind().await;
                    let result = made.unwrap_or_else(|panic| Err(aggregator_panic(&*panic)));
                    let made = Finished {
                        run,
                        scope,
                        attempt,
                        opening,
                        result,
                    };
                    // An owner that is gone has no use for it.
                    let _ = finished.send(made).await;
                };
                let ended = active.ended.clone();
                let make = async move { ended.run_until_cancelled(make).await };
                self.shared.tracker.spawn(make);
            }
        }
    }

    /// Takes in what an aggregator has made, unless its scope was opened anew meanwhile.
    pub(super) fn finished(&mut self, finished: Finished) {
        let Finished {
            run,
            scope,
            attempt,
            opening,
            result,
        } = finished;
        let current = self.runs.get(&run).is_some_and(|active| {
            let machine = &active.machine;
            machine.attempt_of(scope) == attempt && machine.openings() == opening
        });
        if current {
            self.concluded(run, scope, result);
        }
    }

    /// Takes in what a scope has come to.
    pub(super) fn concluded(
        &mut self,
        run: RunId,
        scope: Option<TaskId>,
        result: Result<Bytes, Failure>,
    ) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        let limit = self.shared.ports.settings.max_payload;
        let result = match result {
            Ok(output) if output.len() > limit => Err(Failure::new(
                FailureKind::TooLarge,
                format!("the result has {} bytes, {limit} are allowed", output.len()),
            )),
            other => other,
        };
        match (scope, result) {
            (Some(task), Ok(output)) => self.must(run, RecordKind::Resolved { task, output }),
            (Some(task), Err(failure)) => {
                let failure = encode_failure(&failure);
                self.must(run, RecordKind::ScopeFailed { task, failure });
            }
            (None, _) if active.machine.is_settled() => {}
            (None, Ok(result)) => self.settle(run, Settlement::Succeeded { result }),
            (None, Err(failure)) => {
                let failure = encode_failure(&failure);
                self.settle(run, Settlement::Failed { failure });
            }
        }
    }

    pub(super) fn settle(&mut self, run: RunId, settlement: Settlement) {
        tracing::debug!(%run, state = %settlement.state(), "the run has ended");
        if let Some(active) = self.runs.get(&run) {
            active.ended.cancel();
        }
        self.must(run, RecordKind::Settled(settlement));
        self.deferred.push(Deferred::Forget(run));
    }

    pub(super) fn run_settled(&mut self, run: RunId) {
        let Some(active) = self.runs.get(&run) else {
            return;
        };
        if active.machine.is_settled() {
            return;
        }
        match active.machine.cancel_reason().cloned() {
            Some(reason) => self.settle(run, Settlement::Cancelled { reason }),
            None => self.conclude(run, None),
        }
    }
}
