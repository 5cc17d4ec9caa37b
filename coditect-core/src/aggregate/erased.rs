//! Aggregators without their types, as the coordinator holds them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use coditect_dag::TaskId;
use futures::future::BoxFuture;

use super::{ResultAggregator, TaskOutcome, Verdict};
use crate::agent::encode_output;
use crate::failure::{Failure, FailureKind, panic_text};

/// What one more outcome led to.
#[derive(Debug)]
pub(crate) enum Absorbed {
    Continue,
    Enough,
    /// The task's output is not what the aggregator takes, or the aggregator panicked.
    Broken(Failure),
}

/// An aggregator that takes and makes JSON.
pub(crate) trait ErasedAggregator: Send {
    fn begin(&mut self, expected: usize);
    fn absorb(&mut self, task: TaskId, key: &Arc<str>, result: Result<&[u8], Failure>) -> Absorbed;
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Bytes, Failure>>;
}

impl<A: ResultAggregator> ErasedAggregator for A {
    fn begin(&mut self, expected: usize) {
        ResultAggregator::begin(self, expected);
    }

    fn absorb(&mut self, task: TaskId, key: &Arc<str>, result: Result<&[u8], Failure>) -> Absorbed {
        let result = match result {
            Ok(output) => match serde_json::from_slice(output) {
                Ok(value) => Ok(value),
                Err(error) => {
                    return Absorbed::Broken(
                        Failure::new(
                            FailureKind::InvalidInput,
                            format!("the aggregator does not take this output: {error}"),
                        )
                        .with_task(&**key),
                    );
                }
            },
            Err(failure) => Err(failure),
        };
        let outcome = TaskOutcome {
            task,
            key: Arc::clone(key),
            result,
        };
        // An aggregator that panicked is not asked again.
        let absorb = AssertUnwindSafe(|| ResultAggregator::absorb(self, outcome));
        match catch_unwind(absorb) {
            Ok(Verdict::Continue) => Absorbed::Continue,
            Ok(Verdict::Enough) => Absorbed::Enough,
            Err(panic) => Absorbed::Broken(aggregator_panic(&*panic)),
        }
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Bytes, Failure>> {
        Box::pin(async move {
            let output = ResultAggregator::finish(*self)
                .await
                .map_err(|error| error.to_failure())?;
            encode_output(&output)
        })
    }
}

/// What becomes of a run whose aggregator panicked.
pub(crate) fn aggregator_panic(panic: &(dyn Any + Send)) -> Failure {
    Failure::new(
        FailureKind::Panic,
        format!("the aggregator panicked: {}", panic_text(panic)),
    )
}
