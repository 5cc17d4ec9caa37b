//! Submitting a run: checked, written down, and then told to the caller.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coditect_bus::Priority;
use coditect_dag::journal::Submission;
use coditect_dag::{RunId, Timestamp};
use coditect_telemetry::TraceContext;
use parking_lot::Mutex;

use super::RunLimits;
use super::handle::RunHandle;
use super::spec::{Parent, RunSpec, RunTerms};
use crate::error::Error;
use crate::failure::FailureKind;
use crate::plan::spec::Binding;
use crate::plan::{Plan, PreparedPlan};
use crate::ports::Ports;
use crate::worker::Hosted;

/// How many submitted plans are kept for the coordinator of the same process to pick up.
const KEPT_PLANS: usize = 256;

/// Submits runs.
#[derive(Clone)]
pub(crate) struct Submitter {
    ports: Arc<Ports>,
    hosted: Arc<[Arc<Hosted>]>,
    /// None where this process leaves runs to others.
    prepared: Option<Arc<PreparedRuns>>,
}

/// How a run is to be carried out.
#[derive(Clone, Debug, Default)]
pub(crate) struct SubmitOptions {
    pub(crate) idempotency_key: Option<String>,
    pub(crate) tenant: Option<Arc<str>>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) priority: Priority,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) limits: RunLimits,
    pub(crate) max_concurrency: Option<u32>,
    pub(crate) depth: u32,
    pub(crate) parent: Option<Parent>,
    pub(crate) trace: Option<TraceContext>,
}

impl Submitter {
    pub(crate) fn new(
        ports: Arc<Ports>,
        hosted: Arc<[Arc<Hosted>]>,
        prepared: Option<Arc<PreparedRuns>>,
    ) -> Self {
        Self {
            ports,
            hosted,
            prepared,
        }
    }

    pub(crate) fn ports(&self) -> &Arc<Ports> {
        &self.ports
    }

    pub(crate) async fn submit<O>(
        &self,
        plan: Plan<O>,
        options: SubmitOptions,
    ) -> Result<RunHandle<O>, Error> {
        if self.prepared.is_none() && self.ports.private.is_some() {
            return Err(Error::invalid(
                "this runtime only works and keeps its journal to itself, so nobody would carry the run out; \
                 give it the state of its coordinators, or leave `worker_only` out",
            ));
        }
        let max_concurrency = match options.max_concurrency.map(NonZeroU32::new) {
            Some(None) => {
                let text = "a run of which no task may be dispatched would never end; \
                            give `max_concurrency` 1 at least, or pause the run";
                return Err(Error::invalid(text));
            }
            limit => limit.flatten(),
        };
        let plan = Arc::new(PreparedPlan::new(plan.into_spec())?);
        self.check_width(&plan, &options.limits)?;
        self.check_inputs(&plan)?;
        let trace = options
            .trace
            .or_else(TraceContext::current)
            .unwrap_or_else(TraceContext::generate);
        let terms = RunTerms {
            priority: options.priority,
            deadline: options.deadline,
            limits: options.limits,
            max_concurrency,
            depth: options.depth,
            parent: options.parent,
            ..RunTerms::default()
        }
        .with_trace(Some(&trace));
        let spec = serde_json::to_vec(&RunSpec {
            plan: plan.spec(),
            terms: terms.clone(),
        })
        .map_err(|error| Error::invalid("the run cannot be written as JSON").with_source(error))?;
        let run = self.ports.chance.run();
        let mut submission = Submission::new(run, Bytes::from(spec), self.ports.clock.now());
        submission.idempotency_key = options.idempotency_key;
        submission.labels = options.labels;
        if let Some(parent) = options.parent {
            let label = (Parent::LABEL.to_owned(), parent.run.to_string());
            submission.labels.extend([label]);
        }
        if let Some(tenant) = options.tenant {
            submission.tenant = tenant;
        }
        if let Some(prepared) = &self.prepared {
            prepared.keep(run, plan, terms);
        }
        let submitted = self.ports.journal.submit(submission).await;
        if !matches!(&submitted, Ok(submitted) if submitted.run == run) {
            self.prepared
                .as_ref()
                .and_then(|prepared| prepared.take(run));
        }
        Ok(RunHandle::new(submitted?.run, Arc::clone(&self.ports)))
    }

    fn check_width(&self, plan: &PreparedPlan, limits: &RunLimits) -> Result<(), Error> {
        let count = plan.spec().tasks.len();
        let limit = limits.max_width.min(limits.max_tasks) as usize;
        if count > limit {
            let text =
                format!("the plan has {count} tasks, {limit} are allowed by the run's limits");
            return Err(Error::invalid(text));
        }
        Ok(())
    }

    /// Compares inputs that are plain values with what agents of this process take.
    fn check_inputs(&self, plan: &PreparedPlan) -> Result<(), Error> {
        let agents: Vec<_> = plan
            .requirements()
            .iter()
            .map(|requirement| self.hosted.iter().find(|hosted| hosted.offers(requirement)))
            .collect();
        for task in &plan.spec().tasks {
            let (Some(hosted), Binding::Value(value)) = (agents[task.call as usize], &task.input)
            else {
                continue;
            };
            if let Err(failure) = hosted.agent.check(value.get().as_bytes()) {
                debug_assert_eq!(failure.kind, FailureKind::InvalidInput);
                return Err(Error::of_run(failure.with_task(&*task.key)));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Submitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submitter").finish_non_exhaustive()
    }
}

/// Plans that were checked in this process, so that its coordinator need not read them again.
#[derive(Debug, Default)]
pub(crate) struct PreparedRuns(Mutex<VecDeque<(RunId, Arc<PreparedPlan>, RunTerms)>>);

impl PreparedRuns {
    fn keep(&self, run: RunId, plan: Arc<PreparedPlan>, terms: RunTerms) {
        let mut plans = self.0.lock();
        if plans.len() >= KEPT_PLANS {
            plans.pop_front();
        }
        plans.push_back((run, plan, terms));
    }

    pub(crate) fn take(&self, run: RunId) -> Option<(Arc<PreparedPlan>, RunTerms)> {
        let mut plans = self.0.lock();
        let index = plans.iter().position(|(known, ..)| *known == run)?;
        plans.remove(index).map(|(_, plan, terms)| (plan, terms))
    }
}

/// A run about to be submitted; awaiting it submits it.
///
/// Made by [`Runtime::submit`](crate::Runtime::submit) and
/// [`Runtime::submit_plan`](crate::Runtime::submit_plan).
///
/// # Errors
///
/// Awaiting it fails with [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for a plan that is unsound, goes
/// over a limit, or has an input that an agent of this process does not take, with
/// [`ErrorKind::Closed`](crate::ErrorKind::Closed) for a runtime that has shut down, and with
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

    /// Limits the time from now until the run has ended; without it a run may wait for ever.
    pub fn deadline(mut self, after: Duration) -> Self {
        if let Ok(submitter) = &self.submitter {
            self.options.deadline = Some(submitter.ports.clock.now().saturating_add(after));
        }
        self
    }

    /// Bounds what plans may add to the run.
    pub fn limits(mut self, limits: RunLimits) -> Self {
        self.options.limits = limits;
        self
    }

    /// Limits how many tasks of the run are dispatched at once; 0 is refused.
    ///
    /// A task counts from the moment it is handed out until its attempt has ended, wherever it is meanwhile; one that answered
    /// with a plan, is backing off or waits for a signal does not. The limit holds whichever coordinators carry the run out. A child run is a run of its own and has
    /// none, so that a task which waits for its child never waits for itself.
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
