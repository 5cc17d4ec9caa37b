//! What a handler knows of its task, and what it can do beside answering.

mod belonging;
mod charge;
mod child;
mod health;
mod occasion;
mod progress;
mod sibling;
mod slot;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coditect_dag::{Attempt, RunId, TaskId, Timestamp};
use coditect_state::{Blackboard, Steps};
use coditect_telemetry::TraceContext;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(crate) use self::belonging::belongings;
pub use self::child::ChildRequest;
pub(crate) use self::child::LEFT;
pub use self::progress::Progress;
pub(crate) use self::progress::{ProgressOutlet, ProgressPublisher};

pub(crate) use self::sibling::Siblings;
use self::sibling::sibling;
use self::slot::HeldSlot;
use crate::agent::AgentError;
use crate::failure::FailureKind;
use crate::plan::Call;
use crate::ports::Ports;
use crate::run::{Occasion, Submitter};
use crate::worker::{Counted, Hosted, RateGate, Slot};

/// One attempt of a task, as its handler sees it: deadline, cancellation, and ways to reach others.
///
/// Cloning is cheap, and clones may be sent to tasks that the handler spawns.
///
/// # Examples
///
/// ```
/// use coditect_core::prelude::*;
///
/// const TRANSLATE: Call<String, String> = Call::new("translate");
///
/// async fn chapter(context: TaskContext, paragraphs: Vec<String>) -> Result<String, AgentError> {
///     let count = paragraphs.len();
///     let mut text = String::new();
///     for (number, paragraph) in paragraphs.into_iter().enumerate() {
///         if context.is_cancelled() {
///             return Err(AgentError::retryable("stopped half way"));
///         }
///         context.progress(number as f64 / count as f64, format!("paragraph {number}"));
///         // A later attempt of this task meets the answers that this one has had.
///         text += &context.request(&format!("paragraph-{number}"), &TRANSLATE, paragraph).await?;
///     }
///     Ok(text)
/// }
/// # let _ = Runtime::builder().agent(agent("chapter", chapter));
/// ```
#[derive(Clone)]
pub struct TaskContext {
    inner: Arc<Inner>,
}

struct Inner {
    scope: RunScope,
    task: TaskId,
    attempt: Attempt,
    times_opened: u32,
    key: Arc<str>,
    deadline: Option<Timestamp>,
    token: CancellationToken,
    services: Arc<Services>,
    siblings: Option<Siblings>,
    hosted: Arc<Hosted>,
    slot: HeldSlot,
    meter: Option<Arc<RateGate>>,
}

/// What the tasks of a run have in common; a request outside of runs has a scope of its own.
#[derive(Clone)]
pub(crate) struct RunScope(Arc<ScopeFields>);

pub(crate) struct ScopeFields {
    /// None for a request that belongs to no run.
    pub(crate) run: Option<RunId>,
    pub(crate) tenant: Arc<str>,
    pub(crate) trace: Option<TraceContext>,
    pub(crate) depth: u32,
    /// The occurrence of a schedule that the run is for.
    pub(crate) occasion: Option<Occasion>,
}

impl RunScope {
    pub(crate) fn new(fields: ScopeFields) -> Self {
        Self(Arc::new(fields))
    }

    pub(crate) fn fields(&self) -> &ScopeFields {
        &self.0
    }
}

/// What contexts need of their runtime.
pub(crate) struct Services {
    pub(crate) ports: Arc<Ports>,
    pub(crate) submitter: Submitter,
    pub(crate) progress: ProgressOutlet,
    /// Told when an agent has said something of itself.
    pub(crate) reported: Notify,
}

/// What a context is made of.
pub(crate) struct ContextParts {
    pub(crate) scope: RunScope,
    pub(crate) task: TaskId,
    pub(crate) attempt: Attempt,
    pub(crate) times_opened: u32,
    pub(crate) key: Arc<str>,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) token: CancellationToken,
    pub(crate) services: Arc<Services>,
    /// None where the task came over the bus, and for requests.
    pub(crate) siblings: Option<Siblings>,
    pub(crate) slot: Slot,
    /// None for requests.
    pub(crate) counted: Option<Counted>,
    /// Counts what the call costs, where that is limited.
    pub(crate) meter: Option<Arc<RateGate>>,
}

impl TaskContext {
    pub(crate) fn new(parts: ContextParts) -> Self {
        Self {
            inner: Arc::new(Inner {
                scope: parts.scope,
                task: parts.task,
                attempt: parts.attempt,
                times_opened: parts.times_opened,
                key: parts.key,
                deadline: parts.deadline,
                token: parts.token,
                services: parts.services,
                siblings: parts.siblings,
                hosted: Arc::clone(parts.slot.hosted()),
                slot: HeldSlot::new(parts.slot, parts.counted),
                meter: parts.meter,
            }),
        }
    }

    /// The run that the task belongs to; none for a request that was made outside of runs.
    #[must_use]
    pub fn run(&self) -> Option<RunId> {
        self.inner.scope.fields().run
    }

    /// The task's position in its run.
    #[must_use]
    pub fn task(&self) -> TaskId {
        self.inner.task
    }

    /// The task's key in its plan.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.inner.key
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.inner.attempt.get()
    }

    /// On whose behalf the run is made.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.inner.scope.fields().tenant
    }

    /// A key that all attempts of the task share and no other task has: what makes effects outside
    /// harmless to repeat.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        match self.run() {
            Some(run) => format!("{run}/{}", self.inner.task),
            None => format!("request/{}", self.inner.key),
        }
    }

    /// When the task must have ended, by the clock of this machine.
    #[must_use]
    pub fn deadline(&self) -> Option<SystemTime> {
        self.inner.deadline.map(SystemTime::from)
    }

    /// How long it is until the deadline; zero if it has passed.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        let clock = &self.inner.services.ports.clock;
        self.inner.deadline.map(|deadline| clock.until(deadline))
    }

    /// The W3C trace context of the run, for calls to systems outside.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        TraceContext::current().or_else(|| self.inner.scope.fields().trace.clone())
    }

    /// Waits until the attempt is to stop: it was cancelled, timed out, or its connection was lost.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn cancelled(&self) {
        self.inner.token.cancelled().await;
    }

    /// Says whether the attempt is to stop. A handler that computes for long should ask now and then.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.inner.token.is_cancelled()
    }

    /// The token behind [`cancelled`](Self::cancelled), for libraries that take one.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.inner.token
    }

    /// Tells whoever follows the run how far the task is: a share from 0 to 1, and a text.
    ///
    /// Never waits and never fails: where nobody listens, or reports come too fast, they are dropped.
    pub fn progress(&self, fraction: f64, message: impl Into<String>) {
        if let Some(run) = self.run() {
            self.inner.services.progress.tell(Progress {
                run,
                task: self.inner.task,
                attempt: self.inner.attempt,
                fraction: fraction.clamp(0.0, 1.0),
                message: message.into(),
            });
        }
    }

    /// Reads what another task of the same plan has answered with, by its key.
    ///
    /// What a task always needs should be wired into its input; this is for the rest. A task that came
    /// over the bus finds the other by reading the run's journal, which takes longer the more has
    /// happened in the run.
    ///
    /// # Errors
    ///
    /// When the plan has no such task, the journal cannot be read, or the output is no `T`. A task that
    /// has not succeeded is `None`.
    pub async fn upstream<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, AgentError> {
        let run = self.run_or_error("upstream")?;
        let inner = &self.inner;
        let task = match &inner.siblings {
            Some(siblings) => siblings.find(key),
            None => sibling(run, inner.task, key, &inner.services.ports).await?,
        };
        let Some(task) = task else {
            let text = format!("the plan of this task has no task `{key}`");
            return Err(AgentError::permanent(text));
        };
        let output = inner.services.ports.journal.output(run, task).await?;
        Ok(output
            .map(|output| serde_json::from_slice(&output))
            .transpose()?)
    }

    /// The values that the agents of this run share. They are kept as long as the run is, and go when it is
    /// [forgotten](crate::RuntimeBuilder::retention).
    ///
    /// # Errors
    ///
    /// Outside of a run there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use coditect_core::prelude::*;
    /// async fn note(context: TaskContext, place: String) -> Result<(), AgentError> {
    ///     context.blackboard()?.put("last-seen", &place).await?;
    ///     Ok(())
    /// }
    /// # let _ = Runtime::builder().agent(agent("note", note));
    /// ```
    pub fn blackboard(&self) -> Result<Blackboard, AgentError> {
        let run = self.run_or_error("blackboard")?;
        Ok(Blackboard::new(
            Arc::clone(&self.inner.services.ports.for_agents),
            belonging::blackboard(run),
        ))
    }

    /// Does a step whose result is kept: a later attempt of the task is given the result, and the step
    /// is not done again.
    ///
    /// Results are kept as long as the run is, so that a task which is redriven finds them, and go when it is
    /// [forgotten](crate::RuntimeBuilder::retention). A step that fails is not kept. A process that dies between the step's effect and the moment its
    /// result is kept leaves the step to be done again.
    ///
    /// # Errors
    ///
    /// The step's own, or that of the state store.
    ///
    /// # Examples
    ///
    /// ```
    /// # use coditect_core::prelude::*;
    /// async fn pay(context: TaskContext, cents: u64) -> Result<String, AgentError> {
    ///     let receipt = context
    ///         .once("charge", || async move { Ok::<_, AgentError>(format!("charged {cents}")) })
    ///         .await?;
    ///     Ok(receipt)
    /// }
    /// # let _ = Runtime::builder().agent(agent("pay", pay));
    /// ```
    pub async fn once<T, F, Fut, E>(&self, name: &str, step: F) -> Result<T, AgentError>
    where
        T: Serialize + DeserializeOwned + Send,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        E: Into<AgentError>,
    {
        let run = self.run_or_error("once")?;
        let steps = Steps::new(
            Arc::clone(&self.inner.services.ports.for_agents),
            belonging::steps(run, self.inner.task),
        );
        steps
            .once(name, || async { step().await.map_err(Into::into) })
            .await
    }

    /// Asks another agent and waits for its answer, giving up this task's slot meanwhile.
    ///
    /// The question is a run of its own, keyed by this task and `name`: a later attempt of this task
    /// that asks under the same name meets the first one's run and its answer. It ends with this
    /// attempt's cancellation or timeout, after which a later attempt asks anew, and has no later
    /// deadline. Outside of a run, in the answer to a mere
    /// [`Runtime::request`](crate::Runtime::request), it fails.
    ///
    /// # Examples
    ///
    /// Two questions at once; `join!` and its like take futures, so they are made ones first:
    ///
    /// ```
    /// # use std::future::IntoFuture;
    /// # use coditect_core::prelude::*;
    /// const COUNT: Call<String, u64> = Call::new("count");
    ///
    /// async fn compare(context: TaskContext, (a, b): (String, String)) -> Result<bool, AgentError> {
    ///     let (a, b) = tokio::try_join!(
    ///         context.request("a", &COUNT, a).into_future(),
    ///         context.request("b", &COUNT, b).into_future(),
    ///     )?;
    ///     Ok(a == b)
    /// }
    /// # let _ = Runtime::builder().agent(agent("compare", compare));
    /// ```
    pub fn request<I, O>(&self, name: &str, call: &Call<I, O>, input: I) -> ChildRequest<O>
    where
        I: Serialize,
    {
        ChildRequest::new(self.clone(), name, call, &input)
    }

    fn run_or_error(&self, what: &str) -> Result<RunId, AgentError> {
        self.run().ok_or_else(|| {
            AgentError::of(
                FailureKind::Permanent,
                format!("`{what}` needs a run, and this is a mere request: submit a run instead"),
            )
        })
    }
}

impl fmt::Debug for TaskContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskContext")
            .field("run", &self.run())
            .field("task", &self.task())
            .field("key", &self.key())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}
