//! Aggregators without their types, as the coordinator holds them.

use std::sync::Arc;

use bytes::Bytes;
use coditect_dag::TaskId;
use futures::future::BoxFuture;

use super::{ResultAggregator, TaskOutcome, Verdict};
use crate::agent::encode_output;
use crate::failure::{Failure, FailureKind};

/// What one more outcome led to.
#[derive(Debug)]
pub(crate) enum Absorbed {
    Continue,
    Enough,
    /// The task's output is not what the aggregator takes.
    Mismatch(Failure),
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
                    return Absorbed::Mismatch(
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
        match ResultAggregator::absorb(self, outcome) {
            Verdict::Continue => Absorbed::Continue,
            Verdict::Enough => Absorbed::Enough,
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
