//! The agents of the audit: who plans it, who analyses, who summarises, and what becomes of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use coditect_core::prelude::*;
use coditect_core::{Error, TaskRef};
use serde::{Deserialize, Serialize};

use crate::code_audit::analysis;
use crate::code_audit::language::Language;
use crate::code_audit::model::{AuditReport, FileReport, FileTask, PackageSummary, PackageTask};
use crate::code_audit::summary;
use crate::code_audit::walk::Walk;

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

/// What the user asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AuditTask {
    /// The tree, or one file.
    pub(crate) path: PathBuf,
}

/// Starts a runtime with every agent of the audit, which work on up to `jobs` tasks at once.
pub(crate) async fn start(jobs: usize, shown_path: String) -> Result<Runtime, Error> {
    Runtime::builder()
        .orchestrator(orchestrator("audit", plan))
        .agent(Analyst { jobs })
        .agent(agent("summarise", summarise).with_concurrency(jobs))
        .aggregator(REPORT, move || Report(AuditReport::new(shown_path.clone())))
        .max_payload(MAX_PAYLOAD)
        .start()
        .await
}

/// Walks the tree and plans one analysis for each file, by its language, and one summary for each
/// package, which waits for the package's files.
async fn plan(_: TaskContext, task: AuditTask) -> Result<Plan<AuditReport>, AgentError> {
    let files = tokio::task::spawn_blocking(move || {
        let walk = Walk::new(&task.path)
            .with_context(|| format!("cannot audit {}", task.path.display()))?;
        anyhow::Ok(walk.collect::<Vec<_>>())
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

/// Analyses files of every language; its slots are what `--jobs` bounds.
struct Analyst {
    jobs: usize,
}

impl Agent for Analyst {
    type Input = FileTask;
    type Output = FileReport;

    fn card(&self) -> AgentCard {
        let card = AgentCard::new("analyst").with_concurrency(self.jobs);
        let capabilities = Language::ALL.map(analyse);
        capabilities
            .iter()
            .fold(card, |card, call| card.with_capability(call.requirement()))
    }

    async fn handle(&self, _: TaskContext, file: FileTask) -> Result<FileReport, AgentError> {
        // Parsing computes: it has threads of its own, so that the runtime's stay responsive.
        Ok(tokio::task::spawn_blocking(move || analysis::analyse(&file)).await?)
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
