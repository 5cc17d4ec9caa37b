//! What a run is submitted as.

use std::num::NonZeroU32;

use coditect_bus::Priority;
use coditect_dag::{RunId, TaskId, Timestamp};
use coditect_telemetry::TraceContext;
use serde::{Deserialize, Serialize};

use super::{Occasion, RunLimits};
use crate::plan::spec::PlanSpec;

/// A run as its submission keeps it, beside what the journal itself knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunSpec<P = PlanSpec> {
    pub(crate) plan: P,
    #[serde(default)]
    pub(crate) terms: RunTerms,
}

/// How a run is to be carried out, as a whole.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RunTerms {
    /// The priority of tasks for which the plan says none.
    #[serde(default)]
    pub(crate) priority: Priority,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deadline: Option<Timestamp>,
    #[serde(default)]
    pub(crate) limits: RunLimits,
    /// How many of its tasks may be dispatched at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_concurrency: Option<NonZeroU32>,
    /// The task that started the run, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<Parent>,
    /// The occurrence of a schedule that the run is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) occasion: Option<Occasion>,
    /// How many child requests led here.
    #[serde(default)]
    pub(crate) depth: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tracestate: Option<String>,
}

/// The task that started a run, and with whose run it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parent {
    pub(crate) run: RunId,
    pub(crate) task: TaskId,
}

impl Parent {
    /// The label by which the children of a run are listed, with the run as its value.
    pub(crate) const LABEL: &'static str = coditect_dag::journal::PARENT_LABEL;
}

impl RunTerms {
    pub(crate) fn with_trace(mut self, trace: Option<&TraceContext>) -> Self {
        if let Some(trace) = trace {
            self.traceparent = Some(trace.traceparent());
            self.tracestate = trace.tracestate().map(str::to_owned);
        }
        self
    }

    pub(crate) fn trace(&self) -> Option<TraceContext> {
        TraceContext::extract(|name| match name {
            coditect_telemetry::TRACEPARENT => self.traceparent.as_deref(),
            coditect_telemetry::TRACESTATE => self.tracestate.as_deref(),
            _ => None,
        })
    }
}
