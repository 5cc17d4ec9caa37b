//! Asking an agent without a run.

mod asker;
mod hedge;
mod held;
mod question;

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use coditect_bus::Priority;
use coditect_registry::Requirement;
use coditect_resilience::HedgePolicy;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

pub(super) use self::asker::Asker;
pub(super) use self::hedge::Hedges;
use self::question::Question;
use super::Runtime;
use crate::agent::encode_output;
use crate::error::{Error, ErrorKind};
use crate::plan::Call;
use crate::worker::Ended;

/// How long a requester waits where it says nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than anybody waits, and no instant is out of reach.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3_600);

/// A question to an agent, asked when it is awaited.
///
/// The agent may be asked twice: when its process dies, or the question is [hedged](Self::hedge). Agents whose work must not be
/// done twice answer no requests.
///
/// # Cancel safety
///
/// Dropped before its answer, the agent that works on it is told to stop.
#[must_use = "a request is made when it is awaited"]
pub struct Request<O> {
    runtime: Runtime,
    requirement: Result<Requirement, Error>,
    /// Whom to ask next, where others cannot be asked.
    fallbacks: Vec<Result<Requirement, Error>>,
    input: Result<Bytes, Error>,
    patience: Duration,
    priority: Priority,
    hedge: Option<HedgePolicy>,
    output: PhantomData<fn() -> O>,
}

impl<O> Request<O> {
    pub(super) fn new<I: Serialize>(runtime: Runtime, call: &Call<I, O>, input: &I) -> Self {
        Self {
            runtime,
            requirement: requirement(call),
            fallbacks: Vec::new(),
            input: encode_output(input).map_err(Error::of_run),
            patience: PATIENCE,
            priority: Priority::default(),
            hedge: None,
            output: PhantomData,
        }
    }

    /// Sets how long to wait for the answer; 30 s.
    pub fn deadline(mut self, after: Duration) -> Self {
        self.patience = after;
        self
    }

    /// Sets the priority of the question where it has to queue.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Asks another instance as well where the answer takes longer than most do; the first answer counts, and whoever works on
    /// the other is told to stop.
    ///
    /// How long most take is learnt from the requests of this process that are hedged, by capability; nothing is hedged before
    /// that is known, nor while the registry knows one instance only. One in ten is hedged at most, so that agents
    /// which become slow all at once are not asked twice as much.
    ///
    /// # Examples
    ///
    /// ```
    /// # use coditect_core::prelude::*;
    /// use coditect_core::resilience::HedgePolicy;
    ///
    /// # async fn example(runtime: Runtime) -> Result<(), coditect_core::Error> {
    /// const RANK: Call<Vec<String>, Vec<u32>> = Call::new("rank");
    /// let ranks = runtime
    ///     .request(&RANK, vec!["a".to_owned()])
    ///     .hedge(HedgePolicy::default())
    ///     .await?;
    /// # let _ = ranks;
    /// # Ok(())
    /// # }
    /// ```
    pub fn hedge(mut self, policy: HedgePolicy) -> Self {
        self.hedge = Some(policy);
        self
    }

    /// Asks for another capability, or another version, with the same input where this one cannot be had: nobody offers it, its
    /// agent is left alone, or answers that it failed and might not the next time.
    ///
    /// Several are asked in their order, within the one deadline: an agent that hangs takes all of it, unless it has a
    /// [timeout](crate::AgentCard::with_timeout). What an agent says of the input itself is an answer.
    ///
    /// # Examples
    ///
    /// ```
    /// # use coditect_core::prelude::*;
    /// const LARGE: Call<String, String> = Call::new("summarize@^2");
    /// const SMALL: Call<String, String> = Call::new("summarize@^1");
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), coditect_core::Error> {
    /// # let small = agent("summarize@1.4.0", async |text: String| Ok::<_, AgentError>(text));
    /// let runtime = Runtime::builder().agent(small).start().await?;
    /// let summary = runtime.request(&LARGE, "short".to_owned()).fallback(&SMALL).await?;
    /// assert_eq!(summary, "short");
    /// # runtime.shutdown().await
    /// # }
    /// ```
    pub fn fallback<I>(mut self, call: &Call<I, O>) -> Self {
        self.fallbacks.push(requirement(call));
        self
    }
}

fn requirement<I, O>(call: &Call<I, O>) -> Result<Requirement, Error> {
    let name = call.requirement();
    name.parse().map_err(|error: coditect_registry::Error| {
        let text = format!("`{name}` is no requirement such as `count` or `count@^1.2`");
        Error::invalid(text).with_source(error)
    })
}

impl<O: DeserializeOwned> Request<O> {
    async fn ask(self) -> Result<O, Error> {
        self.runtime.check_open()?;
        let mut requirement = self.requirement?;
        let mut fallbacks = self.fallbacks.into_iter();
        let (input, deadline) = (self.input?, Instant::now() + self.patience.min(LONGEST));
        loop {
            let question = Question {
                runtime: &self.runtime,
                input: input.clone(),
                deadline,
                patience: self.patience,
                priority: self.priority,
                hedge: self.hedge,
                requirement: &requirement,
            };
            let answered = question.ask().await;
            let is_in_vain = match &answered {
                Ok(Ended::Failed { failure, .. }) => failure.kind.is_retryable(),
                Ok(_) => false,
                Err(error) => error.kind() == ErrorKind::Unavailable,
            };
            match fallbacks.next().filter(|_| is_in_vain) {
                Some(fallback) => requirement = fallback?,
                None => return answer(answered?, &requirement),
            }
        }
    }
}

fn answer<O: DeserializeOwned>(ended: Ended, requirement: &Requirement) -> Result<O, Error> {
    match ended {
        Ended::Output(output) => serde_json::from_slice(&output)
            .map_err(|error| Error::invalid("the answer is of another type").with_source(error)),
        Ended::Plan(_) => Err(Error::invalid(format!(
            "`{requirement}` is served by an orchestrator, whose plan needs a run: submit it"
        ))),
        Ended::Failed { failure, .. } => Err(Error::of_request(failure)),
    }
}

impl<O: DeserializeOwned + Send + 'static> IntoFuture for Request<O> {
    type Output = Result<O, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.ask())
    }
}

impl<O> fmt::Debug for Request<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("requirement", &self.requirement)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
