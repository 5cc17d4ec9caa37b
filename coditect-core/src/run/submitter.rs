//! Accepting a run: checked, written down, and then told to the caller.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coditect_bus::Priority;
use coditect_dag::journal::{Submission, Submitted};
use coditect_dag::{RunId, Timestamp};
use coditect_telemetry::TraceContext;
use parking_lot::Mutex;

use super::RunLimits;
use super::admission::Admission;
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
    /// None where every run is let in.
    admission: Option<Arc<Admission>>,
}

/// How a run is to be carried out.
#[derive(Clone, Debug, Default)]
pub(crate) struct SubmitOptions {
    pub(crate) idempotency_key: Option<String>,
    pub(crate) tenant: Option<Arc<str>>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) priority: Priority,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) start: Option<Start>,
    pub(crate) limits: RunLimits,
    pub(crate) max_concurrency: Option<u32>,
    pub(crate) depth: u32,
    pub(crate) parent: Option<Parent>,
    pub(crate) trace: Option<TraceContext>,
}

/// When a run must have ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deadline {
    At(Timestamp),
    /// After its start.
    Within(Duration),
}

/// When a run starts that does not start at once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    At(Timestamp),
    After(Duration),
}

impl Start {
    /// The instant; none if it has come.
    pub(crate) fn later_than(self, now: Timestamp) -> Option<Timestamp> {
        let at = match self {
            Self::At(at) => at,
            Self::After(span) => now.saturating_add(span),
        };
        (at > now).then_some(at)
    }
}

impl Deadline {
    /// How long a run may take that has no instant to end at.
    pub(crate) fn span(self) -> Option<Duration> {
        match self {
            Self::At(_) => None,
            Self::Within(span) => Some(span),
        }
    }

    pub(crate) fn of_start(self, start: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Within(span) => start.saturating_add(span),
        }
    }
}

impl Submitter {
    pub(crate) fn new(
        ports: Arc<Ports>,
        hosted: Arc<[Arc<Hosted>]>,
        prepared: Option<Arc<PreparedRuns>>,
        admission: Option<Arc<Admission>>,
    ) -> Self {
        Self {
            ports,
            hosted,
            prepared,
            admission,
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
        let (handle, _) = self.submit_or_meet(plan, options).await?;
        Ok(handle)
    }

    /// The same, and says whether there was such a run before.
    pub(crate) async fn submit_or_meet<O>(
        &self,
        plan: Plan<O>,
        options: SubmitOptions,
    ) -> Result<(RunHandle<O>, bool), Error> {
        self.check_carried()?;
        let max_concurrency = match options.max_concurrency.map(NonZeroU32::new) {
            Some(None) => {
                let text = "a run of which no task may be dispatched would never end; \
                            give `max_concurrency` 1 at least, or pause the run";
                return Err(Error::invalid(text));
            }
            limit => limit.flatten(),
        };
        let plan = self.check(plan, &options.limits)?;
        let now = self.ports.clock.now();
        let start_at = options.start.and_then(|start| start.later_than(now));
        let deadline = options
            .deadline
            .map(|deadline| deadline.of_start(start_at.unwrap_or(now)));
        let trace = options
            .trace
            .or_else(TraceContext::current)
            .unwrap_or_else(TraceContext::generate);
        let terms = RunTerms {
            priority: options.priority,
            deadline,
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
        // What a run needs to end is let in whatever waits: the run that asks for it was accepted.
        let admission = self.admission.as_ref();
        let admission = admission.filter(|_| options.parent.is_none());
        if let Some(admission) = admission {
            admission.admit(run, options.priority)?;
        }
        let mut submission = Submission::new(run, Bytes::from(spec), now);
        submission.start_at = start_at;
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
            if let Some(admission) = admission {
                admission.seen(run);
            }
        }
        let Submitted { run, existed } = submitted?;
        Ok((RunHandle::new(run, Arc::clone(&self.ports)), existed))
    }

    /// Checks that somebody may carry out what is submitted.
    pub(crate) fn check_carried(&self) -> Result<(), Error> {
        if self.prepared.is_none() && self.ports.private.is_some() {
            return Err(Error::invalid(
                "this runtime only works and keeps its journal to itself, so nobody would carry the run out; \
                 give it the state of its coordinators, or leave `worker_only` out",
            ));
        }
        Ok(())
    }

    /// Checks a plan as far as this process can.
    pub(crate) fn check<O>(
        &self,
        plan: Plan<O>,
        limits: &RunLimits,
    ) -> Result<Arc<PreparedPlan>, Error> {
        let plan = Arc::new(PreparedPlan::new(plan.into_spec())?);
        self.check_width(&plan, limits)?;
        self.check_inputs(&plan)?;
        Ok(plan)
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
