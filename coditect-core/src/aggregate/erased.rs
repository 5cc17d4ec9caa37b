//! Aggregators without their types, as the coordinator holds them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use coditect_dag::TaskId;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;

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
    fn begin(&mut self, expected: usize) -> Result<(), Failure>;
    fn absorb(&mut self, task: TaskId, key: &Arc<str>, result: Result<&[u8], Failure>) -> Absorbed;
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Bytes, Failure>>;
}

impl<A: ResultAggregator> ErasedAggregator for A {
    fn begin(&mut self, expected: usize) -> Result<(), Failure> {
        let begin = AssertUnwindSafe(|| ResultAggregator::begin(self, expected));
        catch_unwind(begin).map_err(|panic| aggregator_panic(&*panic))
    }

    fn absorb(&mut self, task: TaskId, key: &Arc<str>, result: Result<&[u8], Failure>) -> Absorbed {
        // An aggregator that panicked is not asked again; how its input is read is its own code too.
        let absorb = AssertUnwindSafe(|| {
            let result = match result {
                Ok(output) => Ok(read(output, key)?),
                Err(failure) => Err(failure),
            };
            let key = Arc::clone(key);
            Ok(ResultAggregator::absorb(
                self,
                TaskOutcome { task, key, result },
            ))
        });
        match catch_unwind(absorb) {
            Ok(Ok(Verdict::Continue)) => Absorbed::Continue,
            Ok(Ok(Verdict::Enough)) => Absorbed::Enough,
            Ok(Err(failure)) => Absorbed::Broken(failure),
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

fn read<I: DeserializeOwned>(output: &[u8], key: &str) -> Result<I, Failure> {
    serde_json::from_slice(output).map_err(|error| {
        Failure::new(
            FailureKind::InvalidInput,
            format!("the aggregator does not take this output: {error}"),
        )
        .with_task(key)
    })
}

/// What becomes of a run whose aggregator panicked.
pub(crate) fn aggregator_panic(panic: &(dyn Any + Send)) -> Failure {
    Failure::new(
        FailureKind::Panic,
        format!("the aggregator panicked: {}", panic_text(panic)),
    )
}
