//! One audit as a run: submitted, followed, and turned into what the report shows.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use coditect_core::prelude::*;
use coditect_core::{RunReport, TaskReport, TaskState, shutdown_signal};

use crate::code_audit::agents::{self, AUDIT, AuditTask, FILE, PACKAGE};
use crate::code_audit::cli::Cli;
use crate::code_audit::language::Language;
use crate::code_audit::model::{AuditReport, FileReport, PackageTask};
use crate::code_audit::progress::Progress;
use crate::code_audit::run::{NodeKind, NodeState, RunNode, RunStatistics};
use crate::code_audit::summary;

/// What an audit came to.
pub(crate) struct Audited {
    pub(crate) report: AuditReport,
    pub(crate) run: RunStatistics,
    pub(crate) nodes: Vec<RunNode>,
}

/// Audits what the command line asks for. Ctrl-C cancels the run, and what was done is reported.
pub(crate) async fn audit(cli: &Cli) -> anyhow::Result<Audited> {
    let interrupt = shutdown_signal();
    let runtime = agents::start(cli.jobs, cli.shown_path()).await?;
    let path = cli
        .path
        .canonicalize()
        .with_context(|| format!("cannot audit {}", cli.path.display()))?;
    let run = runtime.submit(&AUDIT, AuditTask { path }).await?;
    let progress = Progress::start(cli.json);
    let interrupted = tokio::select! {
        shown = show(&run, &progress) => shown.map(|()| false)?,
        () = interrupt => {
            run.cancel("interrupted by the user").await?;
            run.settled().await?;
            true
        }
    };
    progress.finish();
    let done = run.report().await?;
    let report = if interrupted {
        partial(&runtime, &run, &done, cli).await?
    } else {
        run.result().await.map_err(explain)?
    };
    // Files that are being analysed at the moment of an interruption are analysed to their end.
    runtime.shutdown().await?;
    Ok(Audited {
        report,
        run: statistics(&done, cli.jobs, interrupted),
        nodes: nodes(&done),
    })
}

/// Moves the bar with the run's events until the run has ended.
async fn show(run: &RunHandle<AuditReport>, progress: &Progress) -> anyhow::Result<()> {
    let mut events = run.events().await?;
    progress.planned(1);
    while let Some(event) = events.next().await? {
        match event.kind {
            RunEventKind::Expanded(_, tasks) => progress.planned(tasks as u64),
            RunEventKind::Settled(task, ..) => progress.ended(label(&task.path)),
            _ => {}
        }
    }
    Ok(())
}

/// The error of a run, with its causes in one line.
fn explain(error: coditect_core::Error) -> anyhow::Error {
    match error.failure() {
        Some(failure) => anyhow::anyhow!("{failure}"),
        None => error.into(),
    }
}

/// The report about the files that had been analysed when the run was interrupted.
async fn partial(
    runtime: &Runtime,
    run: &RunHandle<AuditReport>,
    done: &RunReport,
    cli: &Cli,
) -> anyhow::Result<AuditReport> {
    let mut packages: BTreeMap<String, Vec<FileReport>> = BTreeMap::new();
    for (position, task) in (0..).zip(&done.tasks) {
        let is_file = label(&task.path).starts_with(FILE);
        if !is_file || task.state != TaskState::Succeeded {
            continue;
        }
        let id = coditect_core::TaskId::new(position);
        if let Some(output) = runtime.journal().output(run.id(), id).await? {
            let report: FileReport = serde_json::from_slice(&output)?;
            packages
                .entry(report.package.clone())
                .or_default()
                .push(report);
        }
    }
    let mut report = AuditReport::new(cli.shown_path());
    for (package, files) in packages {
        report.add(summary::summarise(PackageTask { package, files }));
    }
    Ok(report.finish())
}

fn statistics(done: &RunReport, jobs: usize, cancelled: bool) -> RunStatistics {
    let succeeded = done.count(TaskState::Succeeded);
    // More slots than there are tasks cannot be used by anybody.
    let slots = jobs.min(done.tasks.len()).max(1);
    RunStatistics {
        tasks: done.tasks.len() as u64,
        failed: (done.tasks.len() - succeeded) as u64,
        autonomy: done.autonomy(),
        utilisation: done.utilisation(slots),
        wall_ms: millis(done.wall),
        max_concurrency: done.peak as u64,
        cancelled,
    }
}

/// The tasks of the run as the picture shows them, and the aggregator behind them.
fn nodes(done: &RunReport) -> Vec<RunNode> {
    let mut nodes: Vec<RunNode> = done.tasks.iter().map(node).collect();
    let mut summaries = Vec::new();
    for (index, task) in done.tasks.iter().enumerate() {
        if nodes[index].kind != NodeKind::Summarise {
            continue;
        }
        summaries.push(index);
        for upstream in &task.upstream {
            nodes[upstream.index()].package = nodes[index].package.clone();
        }
    }
    nodes.push(RunNode {
        label: "report".to_owned(),
        kind: NodeKind::Report,
        state: nodes.first().map_or(NodeState::Skipped, |plan| plan.state),
        duration_us: 0,
        package: None,
        language: None,
        upstream: summaries,
    });
    nodes
}

fn node(task: &TaskReport) -> RunNode {
    let label = label(&task.path);
    let mut upstream: Vec<_> = task.upstream.iter().map(|id| id.index()).collect();
    // What waits for nothing in its plan waited for the plan.
    if upstream.is_empty() {
        upstream.extend(task.parent.map(|id| id.index()));
    }
    RunNode {
        label: label.trim_start_matches(FILE).to_owned(),
        kind: match &task.capability {
            capability if capability.starts_with("analyse-") => NodeKind::Analyse,
            capability if capability == "summarise" => NodeKind::Summarise,
            _ => NodeKind::Plan,
        },
        state: match task.state {
            TaskState::Succeeded => NodeState::Succeeded,
            TaskState::Failed => NodeState::Failed,
            TaskState::Skipped => NodeState::Skipped,
            _ => NodeState::Cancelled,
        },
        duration_us: u64::try_from(task.busy.as_micros()).unwrap_or(u64::MAX),
        package: label.strip_prefix(PACKAGE).map(str::to_owned),
        language: Language::ALL
            .into_iter()
            .find(|language| agents::analyse(*language).requirement() == task.capability),
        upstream,
    }
}

/// A task's path without the key of the task that planned it.
fn label(path: &str) -> &str {
    path.split_once('/').map_or(path, |(_, rest)| rest)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
