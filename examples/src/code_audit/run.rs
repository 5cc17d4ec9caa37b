//! What is known of the run itself: its statistics and the tasks that make up its graph.

use serde::{Deserialize, Serialize};

use crate::code_audit::language::Language;
use crate::code_audit::work::WorkerFigures;

/// How the run went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunStatistics {
    /// Tasks that ended, in whatever state.
    pub(crate) tasks: u64,
    /// Tasks that ended with their result.
    pub(crate) succeeded: u64,
    /// Tasks that ended with an error, after their last attempt.
    pub(crate) failed: u64,
    /// Tasks that were cancelled, or skipped as what they waited for did not succeed.
    pub(crate) not_done: u64,
    /// The share of tasks that needed no human, from 0 to 1.
    pub(crate) autonomy: f64,
    /// The share of the agents' time that was spent on tasks, from 0 to 1.
    pub(crate) utilisation: f64,
    /// From the submission of the run to its result, in milliseconds.
    pub(crate) wall_ms: u64,
    /// The most tasks that were dispatched and had not ended at once: those that wait in queues for an agent count too.
    pub(crate) max_concurrency: u64,
    /// Whether the run was cancelled, so that the report is about a part of the tree.
    pub(crate) cancelled: bool,
    /// Who analysed, where that may have been other processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) workers: Vec<WorkerFigures>,
}

/// A task of the run, as far as its picture shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunNode {
    /// Its name.
    pub(crate) label: String,
    /// What it does.
    pub(crate) kind: NodeKind,
    /// How it ended.
    pub(crate) state: NodeState,
    /// How long its agent worked on it, in microseconds.
    pub(crate) duration_us: u64,
    /// The package it is about, if it is about one.
    pub(crate) package: Option<String>,
    /// The language it is about, if it is about one.
    pub(crate) language: Option<Language>,
    /// The tasks it waited for, by their index in the list.
    pub(crate) upstream: Vec<usize>,
}

/// The kinds of task in an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum NodeKind {
    /// The orchestrator that walks the tree.
    Plan,
    /// The analysis of a file.
    Analyse,
    /// The summary of a package.
    Summarise,
    /// The aggregator that makes the report.
    Report,
}

impl NodeKind {
    /// The name in the picture.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Analyse => "analyse",
            Self::Summarise => "summarise",
            Self::Report => "report",
        }
    }
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum NodeState {
    /// With its result.
    Succeeded,
    /// With an error, after its last attempt.
    Failed,
    /// On request.
    Cancelled,
    /// Not at all: what it waited for did not succeed.
    Skipped,
}

impl NodeState {
    /// The name in the picture.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}
