//! Describing a run to be submitted.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coditect_bus::Priority;
use coditect_dag::Timestamp;
use coditect_telemetry::TraceContext;

use super::RunLimits;
use super::handle::RunHandle;
use super::submitter::{Deadline, Start, SubmitOptions, Submitter};
use crate::error::Error;
use crate::plan::Plan;
use crate::schedule::{NewSchedule, Timing};

/// A run about to be submitted; awaiting it submits it.
///
/// Made by [`Runtime::submit`](crate::Runtime::submit) and
/// [`Runtime::submit_plan`](crate::Runtime::submit_plan).
///
/// # Errors
///
/// Awaiting it fails with [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for a plan that is unsound, goes
/// over a limit, or has an input that an agent of this process does not take, with
/// [`ErrorKind::Closed`](crate::ErrorKind::Closed) for a runtime that has shut down, with
/// [`ErrorKind::Overloaded`](crate::ErrorKind::Overloaded) while [too many runs wait](crate::RuntimeBuilder::shed_above), and with
/// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the journal cannot be reached.
///
/// # Cancel safety
///
/// A dropped future may have submitted the run. With an
/// [idempotency key](Submit::idempotency_key) it can be submitted again, and is the same run.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use coditect_core::prelude::*;
///
/// # async fn example(runtime: Runtime) -> Result<(), coditect_core::Error> {
/// const REPORT: Call<String, String> = Call::new("report");
/// let run = runtime
///     .submit(&REPORT, "2026-01".to_owned())
///     .idempotency_key("report-2026-01")
///     .tenant("acme")
///     .label("kind", "monthly")
///     .priority(Priority::P2)
///     .deadline(Duration::from_secs(3600))
///     .await?;
/// println!("{}", run.id());
/// # Ok(())
/// # }
/// ```
#[must_use = "a run is submitted when this is awaited"]
pub struct Submit<O> {
    submitter: Result<Submitter, Error>,
    plan: Result<Plan<O>, Error>,
    options: SubmitOptions,
    output: PhantomData<fn() -> O>,
}

impl<O> Submit<O> {
    pub(crate) fn new(submitter: Result<Submitter, Error>, plan: Result<Plan<O>, Error>) -> Self {
        Self {
            submitter,
            plan,
            options: SubmitOptions::default(),
            output: PhantomData,
        }
    }

    /// Makes repeated submissions with the same key, for the same tenant, the same run.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.options.idempotency_key = Some(key.into());
        self
    }

    /// Says on whose behalf the run is made; `default` where nothing is said.
    pub fn tenant(mut self, tenant: impl Into<Arc<str>>) -> Self {
        self.options.tenant = Some(tenant.into());
        self
    }

    /// Adds a label by which the run can be listed.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.labels.insert(name.into(), value.into());
        self
    }

    /// Sets the priority of tasks for which the plan says none.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.options.priority = priority;
        self
    }

    /// Limits the time from the submission until the run has ended, or from its [start](Self::start_at) where that is
    /// later; without it a run may wait for ever.
    pub fn deadline(mut self, after: Duration) -> Self {
        self.options.deadline = Some(Deadline::Within(after));
        self
    }

    /// Puts the start of the run off until an instant; at once if that has passed.
    ///
    /// The run is accepted and kept as any other, has its idempotency key, and is listed as
    /// [`Scheduled`](crate::RunState::Scheduled). It can be [cancelled](RunHandle::cancel) and
    /// [put off](RunHandle::reschedule) while it waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use coditect_core::prelude::*;
    /// use coditect_core::RunState;
    ///
    /// const REMIND: Call<String, ()> = Call::new("remind");
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), coditect_core::Error> {
    /// # let runtime = Runtime::builder().start().await?;
    /// let run = runtime
    ///     .submit(&REMIND, "water the plants".to_owned())
    ///     .start_after(Duration::from_secs(3600))
    ///     .await?;
    /// assert_eq!(run.state().await?, RunState::Scheduled);
    /// run.cancel("it rains").await?;
    /// assert_eq!(run.settled().await?.state, RunState::Cancelled);
    /// # runtime.shutdown().await
    /// # }
    /// ```
    pub fn start_at(mut self, at: SystemTime) -> Self {
        self.options.start = Some(Start::At(Timestamp::from(at)));
        self
    }

    /// Puts the start of the run off for a while, counted from its submission; see [`start_at`](Self::start_at).
    pub fn start_after(mut self, span: Duration) -> Self {
        self.options.start = Some(Start::After(span));
        self
    }

    /// Bounds what plans may add to the run.
    pub fn limits(mut self, limits: RunLimits) -> Self {
        self.options.limits = limits;
        self
    }

    /// Makes a schedule of it: a run of this is submitted for every time that the timing names.
    ///
    /// Whoever coordinates submits them, exactly one for each occurrence, under a key of its own; the run's labels
    /// ([`Occasion`](crate::Occasion)) and its tasks' [context](crate::TaskContext::occasion) say which one it is for. Everything else that was said of the run
    /// holds for each of them; a deadline counts from when it is submitted. To make a schedule that is there already and does the same changes nothing,
    /// so that every start of a program may do it.
    ///
    /// # Examples
    ///
    /// ```
    /// use coditect_core::prelude::*;
    /// use coditect_core::{Missed, Overlap, Timing};
    ///
    /// const REPORT: Call<String, ()> = Call::new("report");
    ///
    /// async fn report(context: TaskContext, team: String) -> Result<(), AgentError> {
    ///     let night = context.occasion().map(|occasion| occasion.nominal());
    ///     println!("{team}: {night:?}");
    ///     Ok(())
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), coditect_core::Error> {
    /// let runtime = Runtime::builder().agent(agent("report", report)).start().await?;
    /// let nightly = runtime
    ///     .submit(&REPORT, "all".to_owned())
    ///     .tenant("acme")
    ///     .on_schedule("nightly-report", Timing::cron("30 2 * * *").with_zone("Europe/Berlin"))
    ///     .missed(Missed::Last)
    ///     .overlap(Overlap::Skip)
    ///     .await?;
    /// assert!(nightly.info().await?.next.is_some());
    ///
    /// let run = nightly.trigger().await?;
    /// runtime.attach::<()>(run).result().await?;
    /// nightly.pause("nobody reads it").await?;
    /// assert_eq!(nightly.info().await?.next, None);
    /// nightly.delete().await?;
    /// # runtime.shutdown().await
    /// # }
    /// ```
    pub fn on_schedule(self, name: impl Into<String>, timing: Timing) -> NewSchedule<O> {
        NewSchedule::new(self.submitter, self.plan, self.options, name.into(), timing)
    }

    /// Limits how many tasks of the run are dispatched at once; 0 is refused.
    ///
    /// A task counts from its dispatch until its attempt has ended, wherever it is meanwhile; one that answered with a plan, is
    /// backing off or waits for a signal does not. The limit holds whichever coordinators carry the run out. A child run is a run of its
    /// own and has none, so that a task which waits for its child never waits for itself.
    ///
    /// # Examples
    ///
    /// ```
    /// # use coditect_core::prelude::*;
    /// # async fn example(runtime: Runtime) -> Result<(), coditect_core::Error> {
    /// const AUDIT: Call<String, u64> = Call::new("audit");
    /// let run = runtime.submit(&AUDIT, "src".to_owned()).max_concurrency(8).await?;
    /// # let _ = run;
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_concurrency(mut self, tasks: u32) -> Self {
        self.options.max_concurrency = Some(tasks);
        self
    }

    /// Makes the run part of a trace that began elsewhere.
    pub fn trace(mut self, trace: TraceContext) -> Self {
        self.options.trace = Some(trace);
        self
    }
}

impl<O: Send + 'static> IntoFuture for Submit<O> {
    type Output = Result<RunHandle<O>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let plan = self.plan?;
            self.submitter?.submit(plan, self.options).await
        })
    }
}

impl<O> fmt::Debug for Submit<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submit")
            .field("plan", &self.plan)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
