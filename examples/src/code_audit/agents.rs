//! The agents of the audit: who plans it, who analyses, who summarises, and what becomes of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use coditect_core::prelude::*;
use coditect_core::{RuntimeBuilder, TaskRef};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::code_audit::analysis;
use crate::code_audit::language::Language;
use crate::code_audit::material::{self, MAX_CARRIED_BYTES, TooMuch};
use crate::code_audit::model::{AuditReport, FileReport, FileTask, PackageSummary, PackageTask};
use crate::code_audit::summary;
use crate::code_audit::walk::Walk;
use crate::code_audit::work::{Work, WorkerFigures, process_name};

/// The whole job: from a path to a report.
pub(crate) const AUDIT: Call<AuditTask, AuditReport> = Call::new("audit");
const SUMMARISE: Call<(String, Vec<FileReport>), PackageSummary> = Call::new("summarise");
/// The aggregator that makes the report.
const REPORT: &str = "audit-report";
/// How keys of tasks begin, by what the task is about.
pub(crate) const FILE: &str = "file:";
pub(crate) const PACKAGE: &str = "package:";

/// The packages of a large tree may be far above what a message should hold.
const MAX_PAYLOAD: usize = 256 << 20;
/// What computes next to nothing has a slot at once.
const MANY: usize = 10_000;

/// What the user asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AuditTask {
    /// The tree, or one file.
    pub(crate) path: PathBuf,
    /// Whether the files travel with their tasks, because agents may be on machines that do not see the tree.
    pub(crate) carried: bool,
}

/// Adds who needs the tree or the whole report: they stay with the process that was asked for the audit.
///
/// What summaries are made of comes back to this process anyway, and is often too much for a message.
pub(crate) fn orchestrating(runtime: RuntimeBuilder, shown_path: String) -> RuntimeBuilder {
    runtime
        .orchestrator(orchestrator("audit", plan))
        .agent(agent("summarise", summarise).with_concurrency(MANY))
        .aggregator(REPORT, move || Report(AuditReport::new(shown_path.clone())))
        .max_payload(MAX_PAYLOAD)
}

/// Adds who analyses, which may be any number of processes anywhere.
pub(crate) fn analysing(runtime: RuntimeBuilder, analyst: Analyst) -> RuntimeBuilder {
    runtime.agent(analyst).max_payload(MAX_PAYLOAD)
}

/// Walks the tree and plans one analysis for each file, by its language, and one summary for each
/// package, which waits for the package's files.
async fn plan(_: TaskContext, task: AuditTask) -> Result<Plan<AuditReport>, AgentError> {
    let files = tokio::task::spawn_blocking(move || {
        let walk = Walk::new(&task.path)
            .with_context(|| format!("cannot audit {}", task.path.display()))?;
        let mut files: Vec<_> = walk.collect();
        if task.carried {
            material::carry(&mut files, MAX_CARRIED_BYTES).map_err(|TooMuch| {
                let limit = MAX_CARRIED_BYTES >> 20;
                anyhow!("the files are more than the {limit} MiB that go over a bus in one audit: audit parts of the tree, or leave `--bus` out")
            })?;
        }
        anyhow::Ok(files)
    });
    let files = files
        .await?
        .map_err(|error| AgentError::permanent(format!("{error:#}")))?;
    let mut plan = Plan::builder();
    let mut packages: BTreeMap<String, Vec<TaskRef<FileReport>>> = BTreeMap::new();
    for file in files {
        let package = file.package.clone();
        let key = format!("{FILE}{}", file.path);
        let report = plan.task(key, &analyse(file.language), file);
        packages.entry(package).or_default().push(report);
    }
    let mut summaries = Vec::with_capacity(packages.len());
    for (package, reports) in packages {
        let name = plan.value(package.clone());
        let reports = plan.list(reports);
        let summary = plan.task(format!("{PACKAGE}{package}"), &SUMMARISE, (name, reports));
        // A file whose analysis fails is missing in the summary, and does not cost the package.
        plan.configure(&summary, |task| task.run_after_failure());
        summaries.push(summary);
    }
    Ok(plan.aggregate(Aggregation::named(REPORT), summaries)?)
}

/// The capability that analyses a language.
pub(crate) fn analyse(language: Language) -> Call<FileTask, FileReport> {
    Call::new(match language {
        Language::Rust => "analyse-rust",
        Language::Markdown => "analyse-markdown",
        Language::Toml => "analyse-toml",
        Language::Text => "analyse-text",
        Language::Opaque => "analyse-opaque",
    })
}

/// Analyses files of some languages, or of all.
pub(crate) struct Analyst {
    languages: Vec<Language>,
    jobs: usize,
    done: Arc<Mutex<WorkerFigures>>,
}

impl Analyst {
    /// Makes an agent that analyses up to `jobs` files at once.
    pub(crate) fn new(languages: Vec<Language>, jobs: usize) -> Self {
        let done = WorkerFigures::new(process_name(), jobs);
        Self {
            languages,
            jobs,
            done: Arc::new(Mutex::new(done)),
        }
    }

    /// Follows what this agent has done so far.
    pub(crate) fn done(&self) -> Arc<Mutex<WorkerFigures>> {
        Arc::clone(&self.done)
    }
}

impl Agent for Analyst {
    type Input = FileTask;
    type Output = FileReport;

    fn card(&self) -> AgentCard {
        let card = AgentCard::new("analyst").with_concurrency(self.jobs);
        let capabilities = self.languages.iter().copied().map(analyse);
        capabilities.fold(card, |card, call| card.with_capability(call.requirement()))
    }

    async fn handle(&self, _: TaskContext, file: FileTask) -> Result<FileReport, AgentError> {
        let began = Instant::now();
        tracing::debug!(path = file.path, "analysing");
        // Parsing computes: it has threads of its own, so that the runtime's stay responsive.
        let mut report = tokio::task::spawn_blocking(move || analysis::analyse(&file)).await?;
        let busy_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        tracing::debug!(path = report.path, busy_us, "analysed");
        let mut done = self.done.lock();
        done.add(busy_us);
        report.work = Some(Work {
            worker: Arc::clone(&done.worker),
            slots: self.jobs,
            busy_us,
        });
        Ok(report)
    }
}

async fn summarise(
    (package, files): (String, Vec<FileReport>),
) -> Result<PackageSummary, AgentError> {
    Ok(summary::summarise(PackageTask { package, files }))
}

/// Takes package after package into the report.
struct Report(AuditReport);

impl ResultAggregator for Report {
    type Input = PackageSummary;
    type Output = AuditReport;

    fn absorb(&mut self, outcome: TaskOutcome<PackageSummary>) -> Verdict {
        if let Ok(package) = outcome.result {
            self.0.add(package);
        }
        Verdict::Continue
    }

    async fn finish(self) -> Result<AuditReport, AgentError> {
        Ok(self.0.finish())
    }
}
