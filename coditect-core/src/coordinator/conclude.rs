//! What scopes and runs come to, once their tasks have ended or their aggregator has enough.

use bytes::Bytes;
use coditect_dag::journal::{RecordKind, Settlement};
use coditect_dag::{RunId, TaskId};

use super::commit::Deferred;
use super::owner::{Finished, Owner};
use super::record::encode_failure;
use super::scope::Conclusion;
use crate::failure::{Failure, FailureKind};

impl Owner {
    /// Asks a scope what it has come to, and takes that in or waits for its aggregator.
    pub(super) fn conclude(&mut self, run: RunId, scope: Option<TaskId>) {
        let Some(active) = self.runs.get_mut(&run) else {
            return;
        };
        match active.machine.conclude(scope) {
            Conclusion::Pending => {}
            Conclusion::Result(result) => self.concluded(run, scope, result),
            Conclusion::Finish(aggregator) => {
                let finished = self.finished.clone();
                self.shared.tracker.spawn(async move {
                    let made = tokio::spawn(aggregator.finish()).await;
                    let result = made.unwrap_or_else(|panic| {
                        Err(Failure::new(
                            FailureKind::Panic,
                            format!("the aggregator panicked: {panic}"),
                        ))
                    });
                    // An owner that is gone has no use for it.
                    let _ = finished.send(Finished { run, scope, result }).await;
                });
            }
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
