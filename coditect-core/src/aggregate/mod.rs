//! Results of many tasks combined into one, as they come.
//!
//! A plan names an [`Aggregation`] and the tasks that it is over; every coordinator makes the
//! [`ResultAggregator`] of that name. The ready-made ones need no registration:
//!
//! | aggregation | answers with | has enough when | fails when |
//! |---|---|---|---|
//! | [`collect_all`] | all outputs, in the order of the plan | all have ended | one failed |
//! | [`collect_succeeded`] | the outputs there are | all have ended | never |
//! | [`first_success`] | the first output | one has succeeded | all failed |
//! | [`quorum`] | as many outputs as were asked for | so many have succeeded | so many cannot any more |
//! | [`majority_vote`] | the output that more than half agree on | one has its majority | none can any more |
//! | [`reduce`], registered under a name | what a function folds | all have ended | one failed |
//!
//! ```
//! use coditect_core::prelude::*;
//!
//! const GUESS: Call<u64, u64> = Call::new("guess");
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), coditect_core::Error> {
//! let runtime = Runtime::builder()
//!     .agent(agent("guess", async |x: u64| Ok::<_, AgentError>(x / 2)))
//!     .start()
//!     .await?;
//! let mut plan = Plan::builder();
//! let guesses: Vec<_> = (0..3).map(|x| plan.task(format!("guess-{x}"), &GUESS, 2 + x)).collect();
//! let plan = plan.aggregate(majority_vote(), guesses)?;
//! let run = runtime.submit_plan(plan).await?;
//! assert_eq!(run.result().await?, 1); // 2 and 3 say 1, 4 says 2
//! # runtime.shutdown().await
//! # }
//! ```

mod builtin;
mod catalogue;
mod erased;

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use coditect_dag::TaskId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

pub use self::builtin::{
    Reducer, collect_all, collect_succeeded, first_success, majority_vote, quorum, reduce,
};
pub(crate) use self::catalogue::AggregatorCatalogue;
pub(crate) use self::erased::{Absorbed, ErasedAggregator, aggregator_panic};

use crate::agent::AgentError;
use crate::failure::Failure;

/// Combines the outcomes of tasks into one result, one by one as the tasks settle.
///
/// An aggregator may have enough before the last task has settled: what is then no longer needed is
/// cancelled. It is told outcomes in the order in which they were committed, and again in that order
/// after a takeover, so it must decide by what it is told alone.
///
/// # Examples
///
/// ```
/// use coditect_core::prelude::*;
///
/// /// Takes the first bid below a limit, or the lowest of all.
/// struct Cheapest { limit: u64, best: Option<u64> }
///
/// impl ResultAggregator for Cheapest {
///     type Input = u64;
///     type Output = u64;
///
///     fn absorb(&mut self, outcome: TaskOutcome<u64>) -> Verdict {
///         if let Ok(bid) = outcome.result {
///             self.best = Some(self.best.map_or(bid, |best| best.min(bid)));
///         }
///         if self.best.is_some_and(|best| best <= self.limit) {
///             Verdict::Enough
///         } else {
///             Verdict::Continue
///         }
///     }
///
///     async fn finish(self) -> Result<u64, AgentError> {
///         self.best.ok_or_else(|| AgentError::permanent("nobody made a bid"))
///     }
/// }
/// # let _ = Runtime::builder().aggregator("cheapest", || Cheapest { limit: 10, best: None });
/// ```
pub trait ResultAggregator: Send + 'static {
    /// What the tasks answer with.
    type Input: DeserializeOwned + Send + 'static;
    /// What becomes of it.
    type Output: Serialize + Send + 'static;

    /// Is told once, before anything else, how many outcomes there will be at most.
    fn begin(&mut self, expected: usize) {
        let _ = expected;
    }

    /// Takes one more outcome in and says whether that is enough.
    fn absorb(&mut self, outcome: TaskOutcome<Self::Input>) -> Verdict;

    /// Makes the result. Runs beside the coordinator, never in its way.
    fn finish(self) -> impl Future<Output = Result<Self::Output, AgentError>> + Send;
}

/// Whether an aggregator has enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// More outcomes may change the result.
    Continue,
    /// The result is certain; what still runs for it is cancelled.
    Enough,
}

/// How one task ended, as an aggregator sees it.
#[derive(Clone, Debug)]
pub struct TaskOutcome<T> {
    /// The task's position in the run.
    pub task: TaskId,
    /// The task's key in its plan.
    pub key: Arc<str>,
    /// Its output, or why there is none.
    pub result: Result<T, Failure>,
}

/// Names an aggregator together with the types that it takes and makes.
pub struct Aggregation<I, O> {
    pub(crate) name: String,
    pub(crate) config: Option<Arc<RawValue>>,
    types: PhantomData<fn(I) -> O>,
}

impl<I, O> Aggregation<I, O> {
    /// Names an aggregator that the runtime was given under `name`.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            config: None,
            types: PhantomData,
        }
    }

    pub(crate) fn configured(name: &str, config: Arc<RawValue>) -> Self {
        Self {
            config: Some(config),
            ..Self::named(name)
        }
    }
}

impl<I, O> std::fmt::Debug for Aggregation<I, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aggregation")
            .field("name", &self.name)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
